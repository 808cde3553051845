"""Faces: the record, and how it comes from what the network found."""

import json
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from tests.models.img2poses import reference
from unfussy.errors import InputTypeError, InputValueError, UnknownNameError
from unfussy.models.img2pose.faces import Face, Keypoints
from unfussy.models.img2pose.points import default_points
from unfussy.models.img2pose.postprocessing import postprocess
from unfussy.models.img2pose.raw import RawDetections

MEAN = np.array([-0.0238, 0.0275, -0.0144, 0.0664, 0.2380, 3.4813], np.float32)
STDDEV = np.array([0.2353, 0.5395, 0.1767, 0.1320, 0.1358, 0.3663], np.float32)
STATISTICS = {
    "pose_mean": MEAN,
    "pose_stddev": STDDEV,
    "reference_points": default_points(),
}
POINTS = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
FACE = Face.of((10, 20, 30, 40), 0.75, (0.1, 0.2, 0.3, 1, 2, 3), POINTS)


@pytest.fixture(scope="module")
def official():
    """What the official code finds in a picture, with the rule of singular values."""
    return reference("poses")


def raw_of(official):
    names = ("proposals", "scores", "dofs")
    return RawDetections(*(torch.from_numpy(official[name]) for name in names))


def found(official, **options):
    sizes = (tuple(official[x].tolist()) for x in ("size", "original_size"))
    options = {**STATISTICS, "rotation": "svd", **options}
    return postprocess(raw_of(official), *sizes, **options)


def three_faces(scores=(0.3, 0.9, 0.6)):
    left = torch.tensor([0.0, 100, 200])
    top = torch.zeros(3)
    proposals = torch.stack((left, top, left + 60, top + 60), -1)
    return RawDetections(proposals, torch.tensor(scores), torch.zeros(3, 6))


# --- the record --------------------------------------------------------------------


def test_a_face_reads_like_a_dictionary():
    assert FACE["box"] == [10.0, 20.0, 30.0, 40.0]
    assert FACE["confidence"] == 0.75
    assert FACE["pose"] == [0.1, 0.2, 0.3, 1.0, 2.0, 3.0]
    assert FACE["keypoints"]["nose"] == [5.0, 6.0]
    assert list(FACE["keypoints"]) == list(Keypoints._fields)
    assert dict(FACE) == FACE.to_dict() == dict(FACE.items())
    assert list(FACE) == list(FACE.keys())
    assert list(FACE.values()) == [FACE[name] for name in FACE]
    assert ("box" in FACE, "image" in FACE, len(FACE)) == (True, False, 4)
    assert (FACE.get("image"), FACE.get("image", 7)) == (None, 7)
    assert FACE.get("confidence") == 0.75


def test_a_face_has_typed_attributes():
    assert FACE.box.right == 30.0
    assert FACE.keypoints.mouth_left == (7.0, 8.0)
    assert FACE.keypoints.mouth_left.y == 8.0
    assert FACE.pose.tz == 3.0


def test_another_name_is_refused():
    with pytest.raises(UnknownNameError, match="box, confidence, pose, .*'score'"):
        FACE["score"]


def test_a_face_is_a_value():
    same = pickle.loads(pickle.dumps(FACE))  # noqa: S301

    assert same == FACE
    assert hash(same) == hash(FACE)
    with pytest.raises(FrozenInstanceError):
        same.confidence = 1.0


def test_faces_go_through_json():
    text = json.dumps([face.to_dict() for face in [FACE, FACE]])

    assert [Face.from_dict(plain) for plain in json.loads(text)] == [FACE, FACE]


@pytest.mark.parametrize(
    "plain", [{}, None, {**FACE.to_dict(), "box": [1, 2]}, {"box": "here"}]
)
def test_what_is_no_face_is_refused(plain):
    with pytest.raises(InputTypeError, match="a face is a dictionary of box, conf"):
        Face.from_dict(plain)


def test_numbers_of_numpy_and_torch_become_pythons_own():
    face = Face.of(torch.ones(4), np.float32(0.5), np.zeros(6), torch.ones(5, 2))

    numbers = [*face.box, face.confidence, *face.pose, *face.keypoints.nose]
    assert {type(x) for x in numbers} == {float}


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        # The head of the reference looks at the camera, which sees y going down.
        ((0.2, 0, 0), (-0.2, 0, 0)),
        ((0, 0.2, 0), (0, 0.2, 0)),
        ((0, 0, 0.2), (0, 0, 0.2)),
    ],
)
def test_turns_about_one_axis_are_pitch_yaw_and_roll(turn, expected):
    face = Face.of((0, 0, 1, 1), 1, (*turn, 0, 0, 5), POINTS)

    assert face.as_euler(degrees=False) == pytest.approx(expected, abs=1e-12)
    in_degrees = np.degrees(expected)
    assert face.as_euler() == pytest.approx(in_degrees, abs=1e-9)


def test_the_matrix_turns_the_way_the_vector_says():
    face = Face.of((0, 0, 1, 1), 1, (0, 0, np.pi / 2, 0, 0, 5), POINTS)

    np.testing.assert_allclose(
        face.rotation_matrix(), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15
    )


# --- from what the network found ---------------------------------------------------


def test_faces_are_those_of_the_original(official):
    faces = found(official)

    # Of the points four decimals are published; boxes are in whole pixels.
    tolerances = {"box": 0, "confidence": 0, "pose": 1e-5, "keypoints": 0.01}
    for name, tolerance in tolerances.items():
        values = np.array([getattr(face, name) for face in faces])
        expected = official[f"face_{name}"]
        np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)


def test_the_other_rule_of_rotations_moves_poses_and_boxes(official):
    faces = {face.confidence: face for face in found(official, rotation="quaternion")}
    others = {face.confidence: face for face in found(official, rotation="svd")}

    both = [(faces[key], others[key]) for key in faces.keys() & others.keys()]
    apart = [abs(np.subtract(a.pose, b.pose)[:3]).max() for a, b in both]
    assert 0.003 < np.median(apart) < 0.1
    assert sum(a.box != b.box for a, b in both) > len(both) / 8


def test_a_threshold_and_a_limit_leave_the_best(official):
    everything = found(official, score_threshold=0)

    best = found(official, score_threshold=0.8)

    assert best == [face for face in everything if face.confidence >= 0.8]
    assert found(official, max_faces=7) == everything[:7]
    assert found(official, max_faces=0, score_threshold=0) == everything


def test_a_score_at_the_threshold_stays_and_one_at_the_least_does_not():
    raw = three_faces(scores=(0.05, 0.6, 0.0501))
    sizes = (240, 320), (240, 320)

    at_threshold = postprocess(raw, *sizes, **STATISTICS, score_threshold=0.6)
    lowest = postprocess(raw, *sizes, **STATISTICS, score_threshold=0)

    assert len(at_threshold) == 1
    assert [round(face.confidence, 4) for face in lowest] == [0.6, 0.0501]


def test_boxes_are_told_in_the_original_size_and_poses_stay():
    sizes = (240, 320), (480, 960)

    small = postprocess(three_faces(), sizes[0], sizes[0], **STATISTICS)
    large = postprocess(three_faces(), *sizes, **STATISTICS)

    for one, other in zip(small, large):
        assert other.pose == one.pose
        left, top, right, bottom = one.box
        assert other.box == (3 * left, 2 * top, 3 * right, 2 * bottom)


def test_overlapping_boxes_leave_the_more_confident_face():
    raw = three_faces()
    twice = RawDetections(
        torch.cat((raw.proposals, raw.proposals + 1)),
        torch.cat((raw.scores, raw.scores + 0.05)),
        torch.cat((raw.dofs, raw.dofs)),
    )
    sizes = (240, 320), (240, 320)

    faces = postprocess(twice, *sizes, **STATISTICS, score_threshold=0)
    all_of_them = postprocess(
        twice, *sizes, **STATISTICS, score_threshold=0, nms_threshold=1.0
    )

    assert [round(face.confidence, 2) for face in faces] == [0.95, 0.65, 0.35]
    assert len(all_of_them) == 6


def test_no_proposals_make_no_faces():
    raw = RawDetections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 6))

    for rotation in ("quaternion", "svd"):
        faces = postprocess(raw, (10, 10), (5, 5), **STATISTICS, rotation=rotation)
        assert faces == []


@pytest.mark.parametrize("numbers", [torch.nan, -torch.inf, 3e38])
@pytest.mark.parametrize("rotation", ["quaternion", "svd"])
def test_proposals_without_area_or_sense_are_dropped(rotation, numbers):
    raw = three_faces(scores=(0.9, 0.9, 0.9))
    raw.proposals[0, 2] = raw.proposals[0, 0]
    raw.dofs[1, 3] = numbers
    sizes = (240, 320), (240, 320)

    faces = postprocess(raw, *sizes, **STATISTICS, rotation=rotation)

    assert len(faces) == 1


def test_low_precision_and_the_other_device_make_no_difference():
    raw = three_faces()
    low = RawDetections(
        *(x.bfloat16().requires_grad_() for x in (raw.proposals, raw.scores, raw.dofs))
    )
    sizes = (240, 320), (240, 320)

    faces = postprocess(low, *sizes, **STATISTICS)

    assert len(faces) == 2


def test_another_rule_of_rotations_is_refused():
    with pytest.raises(InputValueError, match="'quaternion' or 'svd'"):
        postprocess(three_faces(), (9, 9), (9, 9), **STATISTICS, rotation="polar")
