"""Poor frames are named with what is wrong with them, and dropped when it is asked."""

import numpy as np
import pytest

from tests.models.walkers import camera, walk
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing import (
    KeptFrames,
    KeptSequence,
    QualityLimits,
    assess_quality,
    drop_poor_frames,
    normalize_sequence,
)
from unfussy.models.gait.preprocessing.shapes import border_share, hole_share

WALK = camera(walk()["silhouettes"])


def spoilt(index, change):
    masks = WALK.copy()
    change(masks[index])
    return masks


def poor(masks, **options):
    return {f.index: f.reason for f in assess_quality(masks, **options).poor}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clothes", ["plain", "coat", "dress"])
def test_good_walks_keep_all_frames(seed, clothes):
    masks = walk(seed, clothes=clothes)["silhouettes"]

    assert poor(camera(masks)) == {}
    assert poor(masks, normalized=True) == {}


# --- what is wrong -----------------------------------------------------------------


def cover_top(frame):
    frame[:45] = 0


def cover_all(frame):
    frame[:] = 0


def fill_a_square(frame):
    frame[20:60, 20:110] = 255


def pierce(frame):
    rows, columns = np.nonzero(frame)
    frame[rows.min() + 8 : rows.max() - 30, columns.min() - 2 : columns.max() + 3] = 255
    frame[rows.min() + 10 : rows.max() - 32, columns.min() : columns.max()] = 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (cover_top, "area"),
        (cover_all, "completeness"),
        (fill_a_square, "aspect"),
        (fill_a_square, "consistency"),
        (pierce, "completeness"),
    ],
)
def test_a_spoilt_frame_is_found_and_the_fault_named(change, fault):
    found = poor(spoilt(5, change))

    assert list(found) == [5]
    assert f"{fault}: it" in found[5]


def test_a_walker_who_leaves_the_frame_is_cut_off():
    masks = camera(walk()["silhouettes"], (96, 80), x=0, stride=4)

    found = poor(masks)

    assert list(found) == [11]
    assert "completeness" in found[11]


def test_squares_may_touch_top_and_bottom():
    square = np.zeros((64, 64), np.uint8)
    square[:, 22:42] = 255

    assert border_share(square, vertical=True) == 1
    assert border_share(square, vertical=False) == 0
    assert poor([square] * 3, normalized=True) == {}
    assert list(poor([square] * 3)) == [0, 1, 2]


def test_holes_are_what_cannot_be_reached_from_outside():
    ring = np.zeros((50, 60), np.uint8)
    ring[10:40, 10:40] = 255
    ring[15:35, 15:35] = 0
    ring[20:30, 20:30] = 255
    open_ring = ring.copy()
    open_ring[24:26, 10:15] = 0

    assert hole_share(ring) == 300 / 900
    assert hole_share(open_ring) == 0


def test_holes_of_large_masks_are_found_at_a_smaller_size():
    ring = np.zeros((500, 600), np.uint8)
    ring[100:400, 100:400] = 255
    ring[150:350, 150:350] = 0

    assert abs(hole_share(ring) - 4 / 9) < 0.03


def test_winding_ways_out_are_followed():
    spiral = np.zeros((41, 41), np.uint8)
    for i in range(0, 20, 4):
        spiral[i, i : -i or None] = spiral[-1 - i, i : -i or None] = 255
        spiral[i : -i or None, i] = spiral[i : -i or None, -1 - i] = 255
        spiral[i + 2 if i % 8 else -3 - i, i if i % 8 else -1 - i] = 0

    assert hole_share(spiral) == 0


# --- the report --------------------------------------------------------------------


def test_reports_say_how_good_a_walk_is():
    report = assess_quality(spoilt(5, cover_all))

    lines = str(report).splitlines()
    assert lines[0] == "11 of 12 frames are good"
    assert lines[1] == "  area          least 0.00, median 0.91, limit 0.60"
    assert lines[5].startswith("frame 5: area: it fills much more or less than")
    assert len(lines) == 6
    assert len(report) == 12
    assert report.kept.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_scores_are_from_0_to_1():
    report = assess_quality(spoilt(5, fill_a_square))

    for scores in (report.area, report.aspect, report.completeness, report.consistency):
        assert scores.shape == (12,)
        assert (scores >= 0).all()
        assert (scores <= 1).all()


def test_limits_decide_what_is_poor():
    strict = QualityLimits(area=1.0)
    lenient = QualityLimits(0, 0, 0, 0)

    assert len(poor(WALK, limits=strict)) > 5
    assert poor(spoilt(5, cover_all), limits=lenient) == {}


@pytest.mark.parametrize("limit", [-0.1, 1.5, np.nan])
def test_limits_are_from_0_to_1(limit):
    with pytest.raises(InputValueError, match=f"got area={limit}"):
        QualityLimits(area=limit)


def test_one_frame_is_like_itself():
    assert assess_quality(WALK[:1]).consistency.tolist() == [1]


def test_no_frames_give_an_empty_report():
    report = assess_quality(WALK[:0])

    assert str(report) == "0 of 0 frames are good"
    assert report.kept.tolist() == []


# --- dropping ----------------------------------------------------------------------


def test_the_frames_of_all_parts_are_dropped_together():
    parts = normalize_sequence(walk()).parts
    parts["silhouettes"][4] = 0

    found = drop_poor_frames(parts, normalized=True)

    assert isinstance(found, KeptSequence)
    kept = [i for i in range(12) if i != 4]
    assert found.kept.tolist() == kept
    assert [frame.index for frame in found.dropped] == [4]
    assert found.parts.keys() == parts.keys()
    for name, part in parts.items():
        assert np.array_equal(found.parts[name], part[kept])


def test_silhouettes_alone_stay_silhouettes():
    masks = spoilt(5, cover_all)

    found = drop_poor_frames(masks)

    assert isinstance(found, KeptFrames)
    assert np.array_equal(found.frames, np.delete(masks, 5, axis=0))
    assert found.dropped[0].index == 5


def test_parsing_is_judged_where_there_are_no_silhouettes():
    labels = camera(walk()["parsing"])
    labels[3] = 0

    found = drop_poor_frames({"parsing": labels})

    assert [frame.index for frame in found.dropped] == [3]


def test_a_report_can_be_looked_at_first():
    masks = spoilt(5, cover_top)
    report = assess_quality(masks)

    assert drop_poor_frames(masks, report=report).kept.tolist() == report.kept.tolist()
    with pytest.raises(InputValueError, match="pass only one of them"):
        drop_poor_frames(masks, report=report, limits=QualityLimits())
    with pytest.raises(InputValueError, match="as many frames, got silhouettes 11"):
        drop_poor_frames(masks[1:], report=report)


def test_dropping_everything_leaves_nothing():
    found = drop_poor_frames(np.zeros((3, 40, 40), bool))

    assert found.shape == (0, 40, 40)
    assert len(found.dropped) == 3


@pytest.mark.parametrize(
    ("sequence", "error", "message"),
    [
        ({"skeleton_maps": WALK}, InputTypeError, "and the sequence has 'skeleton_m"),
        ({}, InputTypeError, "has nothing"),
        ({"silhouettes": WALK, "parsing": WALK[1:]}, InputValueError, "parsing 11$"),
        (WALK / 255, InputValueError, "write value_range"),
    ],
)
def test_what_cannot_be_judged_is_refused(sequence, error, message):
    with pytest.raises(error, match=message):
        drop_poor_frames(sequence)


def test_nothing_is_dropped_unless_asked():
    raw = walk()
    raw["silhouettes"][4, 20:] = 0  # poor, but there

    assert len(normalize_sequence(raw)) == 12
