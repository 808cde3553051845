"""Key points become skeleton maps, checked against a slow and obvious way to draw."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.walkers import moved, walk
from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing import (
    from_openpose,
    impute_keypoints,
    skeleton_maps,
)
from unfussy.models.gait.preprocessing.resizing import resize_area
from unfussy.models.gait.preprocessing.skeletons import LIMBS

with np.load(Path(__file__).parent / "data" / "gaitpre_imputed.npz") as numbers:
    IMPUTED = dict(numbers)  # what KNNImputer of scikit-learn 1.9 gives


def keypoints(n_frames=5, **options):
    return walk(0, n_frames, height=300, **options)["keypoints"]


def segment_distance(x, y, a, b):
    squared = (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2
    part = 0.0
    if squared >= 1:
        part = ((x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])) / squared
        part = min(max(part, 0.0), 1.0)
    return math.hypot(x - a[0] - part * (b[0] - a[0]), y - a[1] - part * (b[1] - a[1]))


def drawn(points, pairs):
    """Return one picture (128, 128), pixel by pixel."""
    picture = np.zeros((128, 128), np.float32)
    for first, second in pairs:
        a, b = points[first], points[second]
        xs, ys = sorted((a[0], b[0])), sorted((a[1], b[1]))
        for y in range(max(int(ys[0] - 24), 0), min(int(ys[1] + 24), 127) + 1):
            for x in range(max(int(xs[0] - 24), 0), min(int(xs[1] + 24), 127) + 1):
                gap = segment_distance(x, y, a, b)
                value = math.exp(-(gap**2) / 2 / 8**2) * min(a[2], b[2])
                picture[y, x] = max(picture[y, x], np.float32(value))
    return (picture * 255).astype(np.uint8)


def oracle(points):
    """Return the map of one frame (2, 64, 64), of key points none of which miss."""
    points = points.copy()
    points[:, :2] -= (points[11, :2] + points[12, :2]) / 2
    points[:, :2] *= 85 / (points[:, 1].max() - points[:, 1].min())
    points[:, :2] += 64
    maps = []
    for pairs in (LIMBS, [(i, i) for i in range(17)]):
        picture = drawn(points, pairs)
        rows = np.flatnonzero(picture.sum(1))
        height = rows[-1] - rows[0] + 1
        left = 64 - height // 2
        square = picture[rows[0] : rows[-1] + 1, left : left + height]
        maps.append(resize_area(square, 64))
    return np.stack(maps)


@pytest.mark.parametrize("lowest", [0.9, 0.1])
def test_maps_are_what_is_drawn_pixel_by_pixel(lowest):
    points = keypoints(1)
    points[..., 2] = np.random.default_rng(0).uniform(lowest, 1, (1, 17))

    found = skeleton_maps(points)

    assert found.shape == (1, 2, 64, 64)
    assert np.array_equal(found.frames[0], oracle(points[0]))


def test_walkers_are_drawn_alike_wherever_they_are_and_however_large():
    points = keypoints()
    larger = points * [2, 2, 1]

    found = skeleton_maps(moved(larger, x=100, y=50, stride=8)).frames

    assert np.abs(found.astype(int) - skeleton_maps(points).frames).max() <= 1


def test_tensors_are_taken():
    found = skeleton_maps(torch.from_numpy(keypoints()))

    assert np.array_equal(found.frames, skeleton_maps(keypoints()).frames)


def test_key_points_are_left_alone():
    points = keypoints()
    points[1, 4] = 0
    before = points.copy()

    skeleton_maps(points)

    assert np.array_equal(points, before)


def test_many_frames_are_drawn_as_each_alone():
    points = keypoints(9)

    together = skeleton_maps(points).frames

    alone = np.concatenate([skeleton_maps(frame[None]).frames for frame in points])
    assert np.array_equal(together, alone)


# --- what is missing ---------------------------------------------------------------


@pytest.mark.parametrize("weights", ["distance", "uniform"])
def test_zeros_are_filled_in_as_by_scikit_learn(weights):
    found = impute_keypoints(IMPUTED["keypoints"], weights=weights)

    np.testing.assert_allclose(found, IMPUTED[weights], rtol=1e-9, atol=1e-9)


def test_the_nearest_four_frames_are_what_fills_in():
    points = np.repeat(np.arange(1.0, 9)[:, None, None], 17, 1).repeat(3, 2)
    points[..., 2] = 1
    points[0, 3, 0] = 0

    found = impute_keypoints(points, weights="uniform")

    assert found[0, 3, 0] == (2 + 3 + 4 + 5) / 4


def test_what_no_frame_has_is_not_drawn():
    points = keypoints()
    points[:, :5] = 0  # the head

    found = skeleton_maps(points)

    assert len(found) == 5
    only = keypoints()
    only[:, :5, 2] = 0
    only[:, :5, :2] = only[:, 5:6, :2]
    assert np.array_equal(found.frames, skeleton_maps(only).frames)


def test_one_hip_is_enough():
    points = keypoints()
    points[:, 12] = 0

    found = skeleton_maps(points)

    assert len(found) == 5
    assert found.dropped == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((slice(None), [11, 12]), "no hip was seen in any frame"),
        ((slice(None), slice(None), 2), "no key point is certain enough to be drawn"),
        ((slice(None), slice(None), 1), "its key points are all at one height"),
    ],
)
def test_frames_that_cannot_be_drawn_are_dropped_with_the_reason(change, reason):
    points = keypoints(2)
    points[change] = 0

    found = skeleton_maps(points)

    assert found.shape == (0, 2, 64, 64)
    assert [frame.reason for frame in found.dropped] == [reason, reason]


def test_no_frames_give_no_maps():
    assert skeleton_maps(np.zeros((0, 17, 3))).shape == (0, 2, 64, 64)


# --- their order -------------------------------------------------------------------

COCO = (  # noqa: SIM905 - as a list it is half a page
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder "
    "left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee "
    "right_knee left_ankle right_ankle"
).split()
OPENPOSE = (  # noqa: SIM905
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow "
    "left_wrist right_hip right_knee right_ankle left_hip left_knee left_ankle "
    "right_eye left_eye right_ear left_ear"
).split()
BODY_25 = [*OPENPOSE[:8], "mid_hip", *OPENPOSE[8:], *["foot"] * 6]


@pytest.mark.parametrize("order", [OPENPOSE, BODY_25])
def test_key_points_of_openpose_are_put_in_order(order):
    points = np.zeros((1, len(order), 3))
    for i, name in enumerate(order):
        points[0, i] = COCO.index(name) if name in COCO else -1

    assert from_openpose(points)[0, :, 1].tolist() == list(range(17))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((2, 18, 3)), r"got \(2, 18, 3\); from_openpose\(\) puts them"),
        (np.zeros((2, 17, 2)), r"x, y and confidence, got \(2, 17, 2\)$"),
        (np.zeros((17, 3)), r"got \(17, 3\)$"),
        (np.full((2, 17, 3), np.nan), "missing are zeros, got NaN"),
        (np.full((2, 17, 3), 90), "from 0 to 1, got 90 to 90"),
    ],
)
def test_what_is_no_key_points_is_refused(points, message):
    with pytest.raises(InputValueError, match=message):
        skeleton_maps(points)


def test_other_forms_of_openpose_are_refused():
    with pytest.raises(InputValueError, match=r"or \(T, 25, 3\), got \(2, 17, 3\)"):
        from_openpose(np.zeros((2, 17, 3)))


def test_other_weights_are_refused():
    with pytest.raises(InputValueError, match="'distance' or 'uniform', got 'near'"):
        impute_keypoints(keypoints(), weights="near")
