"""Laws of the operators of Img2Pose, each against a slow and obvious twin."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.models.img2poses import filled_network, picture, ready
from unfussy.models.img2pose.anchors import RATIOS, SIZES, make_anchors
from unfussy.models.img2pose.nms import nms
from unfussy.models.img2pose.proposals import clip_boxes, decode_boxes
from unfussy.models.img2pose.roi_align import own_roi_align
from unfussy.models.img2pose.transform import canvas_of, resized_size

pytestmark = pytest.mark.property

# Coarse, so that boxes and scores are often equal and overlaps just the threshold.
corners = st.integers(-4, 12)
sides = st.integers(0, 8)
scored_boxes = st.lists(st.tuples(corners, corners, sides, sides, st.integers(0, 4)))
thresholds = st.sampled_from([0.0, 0.2, 1 / 3, 0.4, 0.5, 0.6, 1.0])


def separate(scored):
    rows = torch.tensor(scored, dtype=torch.float32).reshape(-1, 5)
    x, y, width, height, scores = rows.unbind(1)
    return torch.stack((x, y, x + width, y + height), 1), scores


# --- suppression ---------------------------------------------------------------------


def slow_nms(boxes, scores, threshold):
    """Suppress one by one, with the float32 numbers of the usual operator."""
    suppresses = overlaps(boxes.numpy()[:, None], boxes.numpy()) > threshold
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not suppresses[kept, i].any():
            kept.append(i)
    return kept


def overlaps(one, other):
    start, end = np.maximum(one, other)[..., :2], np.minimum(one, other)[..., 2:]
    shared = np.maximum(end - start, 0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, other)]
    with np.errstate(invalid="ignore"):
        return (shared / (areas[0] + areas[1] - shared)).astype(np.float64)


@given(scored=scored_boxes, threshold=thresholds)
def test_boxes_are_suppressed_as_one_by_one(scored, threshold):
    boxes, scores = separate(scored)

    assert nms(boxes, scores, threshold).tolist() == slow_nms(boxes, scores, threshold)


@given(seed=st.integers(0, 99), threshold=thresholds)
def test_many_boxes_are_suppressed_as_one_by_one(seed, threshold):
    numbers = np.random.default_rng(seed)
    boxes, scores = separate(numbers.integers(0, [30, 30, 9, 9, 50], (300, 5)).tolist())

    assert nms(boxes, scores, threshold).tolist() == slow_nms(boxes, scores, threshold)


@given(seed=st.integers(0, 99), limit=st.integers(0, 400))
def test_a_limit_leaves_the_first(seed, limit):
    numbers = np.random.default_rng(seed)
    boxes, scores = separate(numbers.integers(0, [99, 99, 9, 9, 50], (700, 5)).tolist())

    kept = nms(boxes, scores, 0.4, limit)

    assert kept.tolist() == nms(boxes, scores, 0.4)[:limit].tolist()


# --- pooling -------------------------------------------------------------------------


def slow_roi_align(features, region, scale):
    """Pool one region of ``(C, H, W)`` sample by sample."""
    left, top, right, bottom = (float(x) * scale for x in region)
    height, width = max(bottom - top, 1) / 7, max(right - left, 1) / 7
    pooled = torch.zeros(len(features), 7, 7)
    for row, column in np.ndindex(7, 7):
        for i, j in np.ndindex(2, 2):
            y = top + (row + (i + 0.5) / 2) * height
            x = left + (column + (j + 0.5) / 2) * width
            pooled[:, row, column] += sample(features, y, x) / 4
    return pooled


def sample(features, y, x):
    height, width = features.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(features))
    y, x = (min(max(place, 0), n - 1) for place, n in ((y, height), (x, width)))
    rows = (int(y), 1 - (y - int(y))), (min(int(y) + 1, height - 1), y - int(y))
    columns = (int(x), 1 - (x - int(x))), (min(int(x) + 1, width - 1), x - int(x))
    return sum(features[:, r, c] * a * b for r, a in rows for c, b in columns)


# Not at multiples of a bin, where rounding decides whether a sample is on the map.
places = st.integers(-60, 90).map(lambda n: n + 0.137)


@given(
    regions=st.lists(
        st.tuples(places, places, st.integers(0, 80), st.integers(0, 80)),
        min_size=1,
        max_size=3,
    ),
    scale=st.sampled_from([1 / 4, 1 / 8, 1 / 32]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_regions_are_pooled_as_sample_by_sample(regions, scale, height, width):
    generator = torch.Generator().manual_seed(height * 10 + width)
    features = torch.randn(2, 3, height, width, generator=generator)
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in regions])
    owners = torch.arange(len(boxes)) % 2

    pooled = own_roi_align(features, boxes, owners, scale)

    wanted = [
        slow_roi_align(features[owner], box, scale) for owner, box in zip(owners, boxes)
    ]
    assert_close(pooled, torch.stack(wanted), rtol=0, atol=1e-4)


# --- boxes ---------------------------------------------------------------------------


@given(scored=scored_boxes, height=st.integers(1, 20), width=st.integers(1, 20))
def test_clipped_boxes_are_inside_and_clipping_them_again_changes_nothing(
    scored, height, width
):
    boxes, _ = separate(scored)

    clipped = clip_boxes(boxes, (height, width))

    assert ((clipped >= 0) & (clipped <= torch.tensor([width, height] * 2))).all()
    assert torch.equal(clip_boxes(clipped, (height, width)), clipped)


@given(scored=scored_boxes)
def test_boxes_that_do_not_move_stay(scored):
    boxes, _ = separate(scored)

    assert torch.equal(decode_boxes(torch.zeros_like(boxes), boxes), boxes)


@given(canvas=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_anchors_come_row_by_row_and_ratio_by_ratio(canvas):
    height, width = (32 * side for side in canvas)
    maps = [(-(-height // step), -(-width // step)) for step in (4, 8, 16, 32, 64)]

    found = make_anchors((height, width), maps)

    for (rows, columns), size, anchors in zip(maps, SIZES, found):
        wanted = [
            (x * (width // columns), y * (height // rows), size, ratio)
            for y in range(rows)
            for x in range(columns)
            for ratio in RATIOS
        ]
        assert anchors.tolist() == [slow_anchor(*each) for each in wanted]


def slow_anchor(x, y, size, ratio):
    right, bottom = (
        round(size / math.sqrt(ratio) / 2),
        round(size * math.sqrt(ratio) / 2),
    )
    return [x - right, y - bottom, x + right, y + bottom]


# --- sizes ---------------------------------------------------------------------------


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    min_size=st.integers(32, 900),
    more=st.integers(0, 900),
)
def test_a_resized_picture_fits_its_limits_and_its_canvas(
    height, width, min_size, more
):
    max_size = min_size + more

    size = resized_size(height, width, min_size, max_size)

    assert 1 <= min(size) <= min_size
    assert max(size) <= max_size
    assert min(size) >= min_size - 1 or max(size) >= max_size - 1
    for side, whole in zip(size, canvas_of(*size)):
        assert whole % 32 == 0
        assert side <= whole < side + 32


# --- batches -------------------------------------------------------------------------

KINDS = 4


@functools.cache
def network():
    return filled_network(n_candidates=60, n_proposals=20)


@functools.cache
def alone(kind):
    images, size = ready(picture(40, 60, kind), 32, 64)
    with torch.no_grad():
        return images, size, network().detect(images, [size])[0]


@given(kinds=st.lists(st.integers(0, KINDS - 1), min_size=1, max_size=3))
def test_a_picture_gets_what_it_gets_alone_whatever_is_beside_it(kinds):
    pictures = [alone(kind) for kind in kinds]

    with torch.no_grad():
        together = network().detect(
            torch.cat([images for images, _, _ in pictures]),
            [size for _, size, _ in pictures],
        )

    for found, (_, _, wanted) in zip(together, pictures):
        assert_close(found.proposals, wanted.proposals, rtol=0, atol=1e-3)
        assert_close(found.scores, wanted.scores, rtol=0, atol=1e-6)
        assert_close(found.dofs, wanted.dofs, rtol=0, atol=1e-5)
