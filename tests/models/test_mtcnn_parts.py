"""The parts of MTCNN: boxes, windows, and pictures at other sizes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from unfussy.errors import InputValueError
from unfussy.models.adaface.mtcnn import Faces, Settings, resizing
from unfussy.models.adaface.mtcnn.boxes import clip, keep_best, moved_by, sides, squared
from unfussy.models.adaface.mtcnn.cascade import pyramid
from unfussy.models.adaface.mtcnn.faces import choose_face
from unfussy.models.adaface.mtcnn.resizing import cut_windows, resized
from unfussy.models.adaface.mtcnn.windows import Windows

Image = pytest.importorskip("PIL.Image")

seeds = st.integers(0, 2**16)
rules = st.sampled_from(["union", "smaller"])


def some_boxes(seed, n, reach=60):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-20, reach, (n, 2), generator=generator)
    size = torch.randint(0, 40, (n, 2), generator=generator)
    scores = torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.cat((corners, corners + size), 1).double(), scores


def some_pictures(seed, n, height, width):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, 3, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def as_pillow(picture):
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def from_pillow(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


# --- boxes -------------------------------------------------------------------------


def overlap(a, b, rule):
    """Count the pixels of two boxes."""
    pixels = [
        {
            (x, y)
            for x in range(int(x1), int(x2) + 1)
            for y in range(int(y1), int(y2) + 1)
        }
        for x1, y1, x2, y2 in (a.tolist(), b.tolist())
    ]
    of = min(map(len, pixels)) if rule == "smaller" else len(pixels[0] | pixels[1])
    return len(pixels[0] & pixels[1]) / of


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 12), threshold=st.floats(0, 1), rule=rules)
def test_a_box_is_kept_if_no_better_kept_one_overlaps_it(seed, n, threshold, rule):
    boxes, scores = some_boxes(seed, n)
    expected = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap(boxes[i], boxes[j], rule) <= threshold for j in expected):
            expected.append(i)

    assert keep_best(boxes, scores, threshold, rule).tolist() == expected


def test_many_boxes_are_kept_as_few_are(monkeypatch):
    boxes, scores = some_boxes(0, 300, reach=200)
    at_once = keep_best(boxes, scores, 0.3)
    monkeypatch.setattr("unfussy.models.adaface.mtcnn.boxes._BLOCK", 7)

    assert torch.equal(keep_best(boxes, scores, 0.3), at_once)
    assert 7 < len(at_once) < 300


def test_of_equal_boxes_the_later_is_kept():
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(3, 1)

    assert keep_best(boxes, torch.tensor([0.5, 0.9, 0.9]), 0.5).tolist() == [2]


@pytest.mark.parametrize("block", [1, 256])
def test_boxes_that_touch_the_threshold_are_both_kept(block, monkeypatch):
    monkeypatch.setattr("unfussy.models.adaface.mtcnn.boxes._BLOCK", block)
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 4, 9]])

    assert keep_best(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 9))
def test_squares_hold_the_middles_of_their_boxes(seed, n):
    boxes, _ = some_boxes(seed, n)

    square = squared(boxes)

    longer = sides(boxes).amax(1, keepdim=True).repeat(1, 2)
    assert_close(sides(square), longer, rtol=0, atol=1)
    middles = boxes.view(n, 2, 2).mean(1), square.view(n, 2, 2).mean(1)
    assert_close(*middles, rtol=0, atol=0.5)


def test_offsets_are_in_sides_of_the_box():
    boxes = torch.tensor([[10.0, 10, 19, 29]])

    moved = moved_by(boxes, torch.tensor([[0.1, 0.1, -0.2, 0.0]]))

    assert_close(moved, torch.tensor([[11.0, 12, 17, 29]]))


def test_clipped_boxes_are_inside_the_picture():
    boxes = torch.tensor([[-5.0, 3, 50, 50], [90, 90, 99, 99]])

    assert clip(boxes, 30, 40).tolist() == [[0, 3, 39, 29], [39, 29, 39, 29]]


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 20), n_owners=st.integers(1, 3))
def test_windows_compete_within_their_picture_only(seed, n, n_owners):
    boxes, scores = some_boxes(seed, n)
    owners = torch.arange(n) % n_owners
    windows = Windows(boxes, scores, owners, torch.arange(n))

    kept = windows.kept(0.3)

    expected = [
        mine[keep_best(boxes[mine], scores[mine], 0.3)]
        for mine in (torch.arange(n)[i::n_owners] for i in range(n_owners))
    ]
    assert torch.equal(kept.outputs, torch.cat(expected))
    assert torch.equal(kept.boxes, boxes[kept.outputs])
    assert torch.equal(kept.owners, owners[kept.outputs])


# --- pictures ----------------------------------------------------------------------


@st.composite
def sizes(draw):
    """Draw heights and widths, the same scene larger and smaller."""
    width = draw(st.integers(2, 70))
    height = draw(st.integers(1, width + width // 2))
    scale = draw(st.floats(0.05, 1.5))
    after = (max(2, math.ceil(side * scale)) for side in (height, width))
    return (height, width), tuple(after)


@pytest.mark.property
@given(seed=seeds, sizes=sizes())
def test_exact_resizing_is_pillows_bit_by_bit(seed, sizes):
    before, after = sizes
    picture = some_pictures(seed, 1, *before)

    small = resized(picture, *after, exact=True)

    theirs = as_pillow(picture[0]).resize(after[::-1], Image.Resampling.BILINEAR)
    assert torch.equal(small[0], from_pillow(theirs))


@pytest.mark.property
@given(seed=seeds, sizes=sizes())
def test_resizing_is_pillows_but_for_two_levels(seed, sizes):
    before, after = sizes
    picture = some_pictures(seed, 2, *before)
    exact = resized(picture, *after, exact=True).short()

    small = resized(picture, *after)
    elsewhere = resizing._in_two_passes(picture, *after)

    assert small.dtype == elsewhere.dtype == torch.uint8
    assert (small.short() - exact).abs().max() <= 2
    assert (elsewhere.short() - exact).abs().max() <= 2


@pytest.mark.parametrize("resize", [resized, resizing._in_two_passes])
def test_resizing_is_mostly_pillows_level_for_level(resize):
    picture = some_pictures(0, 1, 90, 120)
    exact = resized(picture, 55, 74, exact=True)

    small = resize(picture, 55, 74)

    assert (small != exact).float().mean() < 0.01


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 6), side=st.integers(1, 30), exact=st.booleans())
def test_windows_are_cut_as_pillow_crops_them(seed, n, side, exact):
    pictures, (boxes, _) = some_pictures(seed, 3, 35, 50), some_boxes(seed, n)
    boxes = squared(boxes)
    owners = torch.arange(n) % 3

    windows = cut_windows(pictures, boxes, owners, side=side, exact=exact)

    assert windows.shape == (n, 3, side, side)
    for window, box, owner in zip(windows, boxes.int().tolist(), owners):
        crop = as_pillow(pictures[owner]).crop((*box[:2], box[2] + 1, box[3] + 1))
        theirs = from_pillow(crop.resize((side, side), Image.Resampling.BILINEAR))
        assert (window.short() - theirs.short()).abs().max() <= (0 if exact else 2)


def test_the_pyramid_ends_where_a_face_fills_the_picture():
    assert pyramid(20, 500, Settings()) == []
    assert pyramid(21, 500, Settings()) == [0.6]
    scales = pyramid(300, 200, Settings(min_face_size=24, factor=0.5))
    assert scales == [0.5, 0.25, 0.125, 0.0625]


# --- settings and faces ------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_face_size": 0}, "min_face_size .* got 0"),
        ({"factor": 1}, "factor is between 0 and 1, got 1"),
        ({"thresholds": (0.6, 0.7)}, r"thresholds are three.*got \(0.6, 0.7\)"),
        ({"overlaps": ()}, "overlaps are three"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputValueError, match=message):
        Settings(**settings)


def test_one_face_is_chosen_by_what_was_asked_for():
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 0, 99, 30], [45, 45, 54, 54]])
    faces = Faces(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, 5, 2))

    ways = ("confident", "largest", "central")

    assert [choose_face(faces, which, 100, 100) for which in ways] == [0, 1, 2]
    none = Faces(boxes[:0], torch.zeros(0), torch.zeros(0, 5, 2))
    assert [choose_face(none, which, 100, 100) for which in ways] == [None] * 3
    with pytest.raises(InputValueError, match="'central', got 'best'"):
        choose_face(faces, "best", 100, 100)
