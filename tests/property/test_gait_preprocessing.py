"""Laws of gait preprocessing: what moves a walker in the frame moves no pixel of it."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.walkers import walk
from unfussy.models.gait.preprocessing import (
    assess_quality,
    cut_sides,
    drop_poor_frames,
    impute_keypoints,
    normalize_parsing,
    normalize_sequence,
    normalize_silhouettes,
    skeleton_maps,
    to_model_input,
)
from unfussy.models.gait.preprocessing.resizing import (
    resize_area,
    resize_bicubic,
    resize_nearest,
)

pytestmark = pytest.mark.property


@functools.cache
def drawn(seed, height, clothes):
    return walk(seed, 3, height=height, clothes=clothes)


@functools.cache
def normalized(seed):
    return normalize_sequence(drawn(seed, 40, "plain"), 32)


seeds, sides = st.integers(0, 4), st.sampled_from([40, 64, 91])
walks = st.builds(drawn, seeds, sides, st.sampled_from(["plain", "dress"]))
sizes = st.sampled_from([32, 64, 128])


@st.composite
def pictures(draw, largest=24):
    shape = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    seed, levels = draw(st.integers(0, 99)), draw(st.sampled_from([2, 256]))
    picture = np.random.default_rng(seed).integers(0, levels, shape)
    return (picture * (255 // (levels - 1))).astype(np.uint8)


# --- resizing ----------------------------------------------------------------------


def kernel(x):
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0


def cubic_row(old, new, i):
    """Return how much of each of *old* pixels is in pixel *i* of *new* ones."""
    centre = (i + 0.5) * old / new - 0.5
    row = np.zeros(old)
    for k in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
        row[min(max(k, 0), old - 1)] += kernel(centre - k)
    return row


@given(picture=pictures(), height=st.integers(1, 40), width=st.integers(1, 40))
def test_bicubic_resizing_is_cubic_convolution(picture, height, width):
    found = resize_bicubic(picture, height, width)

    down = np.stack([cubic_row(picture.shape[0], height, i) for i in range(height)])
    across = np.stack([cubic_row(picture.shape[1], width, i) for i in range(width)])
    exact = np.clip(down @ picture @ across.T, 0, 255)
    assert np.abs(found - exact).max() <= 0.5 + 1e-3


@given(picture=pictures(), height=st.integers(1, 40), width=st.integers(1, 40))
def test_nearest_resizing_picks_the_pixel_that_a_corner_lies_in(picture, height, width):
    found = resize_nearest(picture, height, width)

    rows, columns = picture.shape
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        # Where a corner lies on an edge, rounding decides between both.
        near = {
            picture[int(y * rows / height - a), int(x * columns / width - b)]
            for a in (0, 1e-9 * (y > 0))
            for b in (0, 1e-9 * (x > 0))
        }
        assert found[y, x] in near


@given(side=st.integers(1, 24), times=st.integers(1, 5), seed=st.integers(0, 99))
def test_area_resizing_undoes_repeating(side, times, seed):
    square = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)

    repeated = square.repeat(times, 0).repeat(times, 1)

    assert np.array_equal(resize_area(repeated, side), square)


@given(old=st.integers(2, 40), data=st.data(), seed=st.integers(0, 99))
def test_area_resizing_is_the_mean_of_what_is_covered(old, data, seed):
    new = data.draw(st.integers(1, old))
    square = np.random.default_rng(seed).integers(0, 256, (old, old), dtype=np.uint8)

    found = resize_area(square, new)

    fine = square.repeat(new, 0).repeat(new, 1).astype(float)
    exact = fine.reshape(new, old, new, old).mean((1, 3))
    assert np.abs(found - exact).max() <= 0.5 + 0.3  # slivers are left out


# --- squares -----------------------------------------------------------------------


@given(walk=walks, size=sizes, above=st.integers(0, 30), below=st.integers(0, 30))
def test_how_high_a_walker_stands_changes_nothing(walk, size, above, below):
    pad = (0, 0), (above, below), (0, 0)
    found = normalize_silhouettes(walk["silhouettes"], size)

    shifted = normalize_silhouettes(np.pad(walk["silhouettes"], pad), size)

    assert np.array_equal(shifted.frames, found.frames)


@given(seed=seeds, size=sizes, left=st.integers(0, 70), right=st.integers(0, 70))
def test_walkers_of_the_right_height_can_stand_anywhere(seed, size, left, right):
    squares = normalize_silhouettes(drawn(seed, 91, "plain")["silhouettes"], size)
    pad = (0, 0), (0, 0), (left, right)

    shifted = normalize_silhouettes(np.pad(squares.frames, pad), size)

    assert np.array_equal(shifted.frames, normalize_silhouettes(squares, size).frames)


@given(walk=walks, size=sizes)
def test_the_middle_of_the_walker_is_the_middle_of_the_square(walk, size):
    squares = normalize_silhouettes(np.pad(walk["silhouettes"], 60), size).frames

    for square in squares:
        if not square[:, [0, 1, -1]].any():  # nothing is cut off
            sums = square.sum(axis=0, dtype=int).cumsum()
            assert np.argmax(sums > sums[-1] / 2) == size // 2
    assert squares.any(axis=2).all(axis=1).mean() > 0.5  # from top to bottom


@given(walk=walks, size=sizes)
def test_normalizing_twice_is_normalizing_once(walk, size):
    once = normalize_silhouettes(walk["silhouettes"], size).frames

    twice = normalize_silhouettes(once, size).frames

    for first, second in zip(once, twice):
        if first[[0, -1]].any(axis=1).all():  # a faint row may be lost at the edge
            assert np.array_equal(first, second)


@given(walk=walks, size=sizes, times=st.integers(2, 4))
def test_the_size_of_a_walker_changes_little(walk, size, times):
    larger = walk["silhouettes"].repeat(times, 1).repeat(times, 2)

    found = normalize_silhouettes(larger, size).frames > 127

    expected = normalize_silhouettes(walk["silhouettes"], size).frames > 127
    for one, other in zip(found, expected):
        # The middle may fall into the next column.
        moved = [np.roll(other, step, axis=1) for step in (-1, 0, 1)]
        assert max((one & x).sum() / (one | x).sum() for x in moved) > 0.85


@given(walk=walks, size=sizes)
def test_label_maps_lie_where_their_masks_do(walk, size):
    labels = walk["parsing"]
    masks = labels > 0

    squares = normalize_silhouettes(masks, size)
    maps = normalize_parsing(labels, size)

    assert np.array_equal(maps.kept, squares.kept)
    assert set(np.unique(maps)) <= set(np.unique(labels))
    ones = normalize_parsing(masks.astype(np.uint8), size)
    assert np.array_equal(np.asarray(maps) > 0, np.asarray(ones) > 0)
    both, either = (maps.frames > 0) & (squares.frames > 127), maps.frames > 0
    assert both.sum() / either.sum() > 0.8


@given(seed=seeds, empty=st.sets(st.integers(0, 2)), missing=st.sets(st.integers(0, 2)))
def test_every_frame_is_kept_or_dropped_and_in_order(seed, empty, missing):
    raw = {name: part.copy() for name, part in drawn(seed, 40, "plain").items()}
    raw["silhouettes"][sorted(empty)] = 0
    raw["parsing"][sorted(missing)] = 0

    found = normalize_sequence(raw, 32)

    dropped = [frame.index for frame in found.dropped]
    assert dropped == sorted(empty | missing)
    assert sorted([*found.kept, *dropped]) == [0, 1, 2]
    assert (np.diff(found.kept) > 0).all()
    whole = normalized(seed)
    for name, part in found.parts.items():
        assert np.array_equal(part, whole.parts[name][found.kept])


# --- key points --------------------------------------------------------------------


@given(seed=seeds, order=st.permutations(range(3)), step=st.integers(-40, 40))
def test_skeletons_depend_on_no_place_and_no_other_frame(seed, order, step):
    points = drawn(seed, 91, "plain")["keypoints"]
    moved = points + np.arange(3)[:, None, None] * np.array([step, -step, 0])

    found = skeleton_maps(moved[order]).frames

    expected = skeleton_maps(points).frames[order]
    assert np.abs(found.astype(int) - expected).max() <= 1  # places are rounded


@given(seed=seeds, gaps=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 16))))
def test_filling_in_changes_nothing_but_zeros(seed, gaps):
    points = drawn(seed, 91, "plain")["keypoints"].copy()
    for frame, joint in gaps:
        points[frame, joint] = 0

    found = impute_keypoints(points)

    assert np.array_equal(found[points != 0], points[points != 0])
    seen = (points != 0).any(axis=0)
    assert (found != 0).any(axis=0).tolist() == seen.tolist()
    assert ((found != 0) | ~seen).all()
    assert np.array_equal(impute_keypoints(found), found)


# --- inputs and quality ------------------------------------------------------------


@given(walk=walks, wide=st.booleans(), brightest=st.integers(2, 255))
def test_scaling_looks_at_no_other_frame(walk, wide, brightest):
    squares = normalize_silhouettes(walk["silhouettes"], 128 if wide else 64).frames
    squares = np.minimum(squares, brightest)

    together = to_model_input(squares, "GaitBase")

    for frame, alone in zip(squares, together):
        assert (to_model_input(frame[None], "GaitBase")[0] == alone).all()
    side = 20 if wide else 10
    kept = squares[..., side:-side]
    assert np.array_equal((together * 255).round().numpy(), kept)
    assert np.array_equal(cut_sides(squares), kept)


@given(seed=seeds, poor=st.sets(st.integers(0, 2)))
def test_quality_drops_what_it_reports_and_all_parts_alike(seed, poor):
    parts = {
        name: part.copy()
        for name, part in drawn(seed, 64, "plain").items()
        if name != "keypoints"
    }
    parts["silhouettes"][sorted(poor)] = 0
    report = assess_quality(parts["silhouettes"])

    found = drop_poor_frames(parts)

    dropped = [frame.index for frame in found.dropped]
    assert dropped == [frame.index for frame in report.poor]
    assert set(dropped) >= poor
    assert sorted([*found.kept, *dropped]) == [0, 1, 2]
    for name, part in parts.items():
        assert np.array_equal(found.parts[name], part[found.kept])
