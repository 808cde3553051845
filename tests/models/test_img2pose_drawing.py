"""Pictures with faces drawn on: what is drawn, where, and what is left alone."""

import sys

import numpy as np
import pytest
import torch

from unfussy.errors import InputTypeError, MissingExtraError
from unfussy.models.img2pose.drawing import visualize
from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.inputs import Reading
from unfussy.models.img2pose.points import default_points
from unfussy.models.img2pose.poses import project

NOTHING = {"boxes": False, "landmarks": False, "axes": False, "confidences": False}
POSE = (0, 0, 0, 0, 0, 14)
FACE = Face.of((100, 70, 220, 190), 0.9, POSE, [(0, 0)] * 5)
GREY = np.full((240, 320, 3), 90, np.uint8)


def drawn(face=FACE, picture=GREY, **options):
    """Return which pixels of *picture* are others afterwards, ``(H, W)``."""
    return (visualize(picture, [face], **{**NOTHING, **options}) != picture).any(-1)


def extent(mask):
    rows, columns = mask.nonzero()
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_the_picture_itself_is_left_alone():
    picture = GREY.copy()

    result = visualize(picture, [FACE])

    assert result.shape == picture.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(picture, GREY)


def test_nothing_to_draw_changes_nothing():
    np.testing.assert_array_equal(visualize(GREY, []), GREY)
    assert not drawn().any()


def test_boxes_are_drawn_along_their_sides():
    mask = drawn(boxes=True)

    assert extent(mask) == (100, 70, 219, 189)
    assert not mask[80:180, 110:210].any()


def test_a_wider_line_covers_more():
    assert drawn(boxes=True, line_width=5).sum() > 4 * drawn(boxes=True).sum()


def test_confidences_are_written_above_boxes_or_inside():
    above = drawn(boxes=True, confidences=True)
    at_edge = Face.of((100, 0, 220, 190), 0.9, POSE, [(0, 0)] * 5)
    inside = drawn(at_edge, boxes=True, confidences=True)

    assert above[55:70].any()
    assert not drawn(boxes=True)[55:69].any()
    assert inside[2:10, 105:115].any()


def test_landmarks_are_drawn_where_the_head_is_seen():
    mask = drawn(landmarks=True)

    points = project(default_points(), np.array([POSE]), 240 + 320, (160, 120))[0]
    for x, y in points:
        assert mask[int(y), int(x)]
    assert mask.sum() < 68 * 30


def test_axes_start_at_the_nose_in_three_colours():
    picture = visualize(GREY, [FACE], **{**NOTHING, "axes": True}).astype(int)

    red, green = (
        (picture[..., c] - picture.max(-1, where=np.arange(3) != c, initial=0)) > 60
        for c in (0, 1)
    )
    x, y = project(default_points()[30:31], np.array([POSE]), 560, (160, 120))[0, 0]
    left, top, right, bottom = extent(red)
    assert left >= x - 3
    assert right > x + 15
    assert abs(top - y) < 4
    assert abs(bottom - y) < 4
    left, top, right, bottom = extent(green)
    assert top >= y - 3
    assert bottom > y + 15
    assert abs(left - x) < 4


def test_the_blue_axis_shows_where_a_face_looks():
    # The head turns to its right, which is the left of the picture.
    aside = Face.of((0, 0, 1, 1), 0.9, (0, 0.8, 0, 0, 0, 14), [(0, 0)] * 5)

    picture = visualize(GREY, [aside], **{**NOTHING, "axes": True}).astype(int)

    blue = picture[..., 2] - picture[..., :2].max(-1) > 60
    nose = project(default_points()[30:31], np.array([aside.pose]), 560, (160, 120))
    left, _, right, _ = extent(blue)
    assert left < nose[0, 0, 0] - 10
    assert right <= nose[0, 0, 0] + 4


def test_the_most_confident_box_is_on_top():
    # Its confidence would cross the upper side of the other box.
    other = Face.of((130, 76, 230, 200), 0.5, POSE, [(0, 0)] * 5)
    options = {**NOTHING, "boxes": True, "confidences": True}

    together = visualize(GREY, [FACE, other], **options)

    alone = visualize(GREY, [FACE], **options)
    np.testing.assert_array_equal(together[70, 100:220], alone[70, 100:220])


@pytest.mark.parametrize(
    "face",
    [
        Face.of((300, 0, 20, 10), 0.9, POSE, [(0, 0)] * 5),
        Face.of((0, 0, 5, 5), 0.9, (0, 0, 0, 0, 0, 0), [(0, 0)] * 5),
        Face.of((0, 0, 5, 5), 0.9, (0, 0, 0, 1e9, 0, 1e-9), [(0, 0)] * 5),
        Face.of((0, 0, 5, 5), 0.9, [np.nan] * 6, [(0, 0)] * 5),
        Face.of([np.nan] * 4, 0.9, POSE, [(0, 0)] * 5),
    ],
)
def test_faces_that_cannot_be_seen_are_no_error(face):
    assert visualize(GREY, [face]).shape == GREY.shape


def test_large_pictures_are_drawn_on_too():
    wide = np.zeros((40, 3000, 3), np.uint8)

    assert drawn(
        Face.of((10, 5, 2000, 30), 1, POSE, [(0, 0)] * 5), wide, boxes=True
    ).any()


def test_tensors_of_numbers_become_levels():
    picture = torch.full((3, 40, 50), 0.2)

    result = visualize(picture, [], reading=Reading(value_range=(0, 1)))

    assert result.shape == (40, 50, 3)
    assert (result == 51).all()


def test_faces_may_be_dictionaries():
    np.testing.assert_array_equal(
        visualize(GREY, [FACE.to_dict()]), visualize(GREY, [FACE])
    )


def test_what_is_no_face_is_refused():
    with pytest.raises(InputTypeError, match="face 0 is 7"):
        visualize(GREY, [7])


def test_without_pillow_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        visualize(GREY, [FACE])
