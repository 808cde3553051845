"""Laws of poses: what a face becomes depends on nothing but itself and its picture."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.points import default_points
from unfussy.models.img2pose.poses import picture_poses, project
from unfussy.models.img2pose.postprocessing import postprocess
from unfussy.models.img2pose.raw import RawDetections
from unfussy.models.img2pose.rotations import matrices_of, rotation_vectors_of

pytestmark = pytest.mark.property

MEAN = np.array([-0.0238, 0.0275, -0.0144, 0.0664, 0.2380, 3.4813])
STDDEV = np.array([0.2353, 0.5395, 0.1767, 0.1320, 0.1358, 0.3663])
STATISTICS = {
    "pose_mean": MEAN,
    "pose_stddev": STDDEV,
    "reference_points": default_points(),
}

rules = st.sampled_from(["quaternion", "svd"])
sizes = st.tuples(st.integers(32, 900), st.integers(32, 900))
seeds = st.integers(0, 2**16)
unit = st.floats(-1, 1)
finite = st.floats(-1e6, 1e6)


@st.composite
def turns(draw, most=math.pi - 1e-6):
    axis = np.array(draw(st.tuples(unit, unit, unit)))
    length = np.linalg.norm(axis)
    direction = axis / length if length > 1e-3 else np.array([0.0, 0.0, 1.0])
    return direction * draw(st.floats(0, most) | st.sampled_from([0, 1e-9, 1e-3, most]))


@st.composite
def detections(draw, most=6, spread=1.0):
    """Return proposals in a picture, all of other scores, and the picture's size."""
    size = draw(sizes)
    rng = np.random.default_rng(draw(seeds))
    k = draw(st.integers(0, most))
    corners = np.sort(rng.uniform(0, 1, (k, 2, 2)), 1) * (size[1], size[0])
    scores = rng.permutation(np.linspace(0.06, 0.99, k))
    dofs = rng.normal(0, spread, (k, 6))
    arrays = (corners.reshape(k, 4), scores, dofs)
    return RawDetections(*(torch.tensor(x).float() for x in arrays)), size


def some(raw, index):
    return RawDetections(raw.proposals[index], raw.scores[index], raw.dofs[index])


def faces_of(raw, size, original=None, **options):
    options = {**STATISTICS, "score_threshold": 0, **options}
    return postprocess(raw, size, original or size, **options)


@given(vector=turns(), rule=rules)
def test_a_rotation_comes_back_from_its_matrix(vector, rule):
    matrices = matrices_of(vector[None])

    back = rotation_vectors_of(matrices, rule)

    np.testing.assert_allclose(back[0], vector, rtol=0, atol=1e-7)
    np.testing.assert_allclose(matrices[0] @ matrices[0].T, np.eye(3), atol=1e-14)


@given(vector=turns(), shear=st.tuples(unit, unit))
def test_no_rotation_is_nearer_than_that_of_the_singular_values(vector, shear):
    tilted = matrices_of(vector[None])
    tilted[:, :2] += np.array(shear)[:, None] * tilted[:, 2:]

    nearest = matrices_of(rotation_vectors_of(tilted, "svd"))

    # What is left of a matrix without its nearest rotation stretches and turns nothing.
    stretch = nearest[0].T @ tilted[0]
    np.testing.assert_allclose(stretch, stretch.T, rtol=0, atol=1e-7)
    assert (np.linalg.eigvalsh(stretch) > 0).all()


@given(found=detections(), rule=rules)
def test_the_head_is_seen_where_its_box_saw_it(found, rule):
    raw, size = found
    boxes, local = raw.proposals.numpy(), raw.dofs.numpy() + np.float32([0] * 5 + [5])

    poses = picture_poses(local, boxes, size, rotation=rule)

    # The middle of the head, with the camera's axis moved to the middle of the box.
    focal = sum(size)
    sides = boxes[:, 2:] - boxes[:, :2]
    middles = np.trunc(boxes[:, :2] + sides // 2)
    depths = local[:, 5:] * (focal / sides.sum(-1, keepdims=True).astype(float))
    by_box = focal * local[:, 3:5] / depths + middles
    middle = (size[1] // 2, size[0] // 2)
    seen = project([[0.0, 0, 0]], poses, focal, middle)[:, 0]
    np.testing.assert_allclose(seen, by_box, rtol=1e-5, atol=1e-3)


@given(found=detections(), rule=rules)
def test_poses_are_made_one_by_one(found, rule):
    raw, size = found
    boxes, local = raw.proposals.numpy(), raw.dofs.numpy()

    together = picture_poses(local, boxes, size, rotation=rule)

    for i, pose in enumerate(together):
        one = slice(i, i + 1)
        alone = picture_poses(local[one], boxes[one], size, rotation=rule)[0]
        np.testing.assert_allclose(alone, pose, rtol=1e-12, atol=1e-12)


@given(found=detections(spread=20.0), original=sizes, rule=rules)
def test_boxes_are_inside_the_picture(found, original, rule):
    raw, size = found

    faces = faces_of(raw, size, original, rotation=rule)

    height, width = original
    for box in (face.box for face in faces):
        assert 0 <= box.left <= width + 1e-3
        assert 0 <= box.right <= width + 1e-3
        assert 0 <= box.top <= height + 1e-3
        assert 0 <= box.bottom <= height + 1e-3


@given(found=detections(), order=st.randoms(use_true_random=False), rule=rules)
def test_the_order_of_proposals_changes_nothing(found, order, rule):
    raw, size = found
    index = list(range(len(raw.scores)))
    order.shuffle(index)

    shuffled = faces_of(some(raw, index), size, rotation=rule)

    faces = faces_of(raw, size, rotation=rule)
    assert [face.box for face in shuffled] == [face.box for face in faces]
    for face, other in zip(faces, shuffled):
        np.testing.assert_allclose(other.pose, face.pose, rtol=1e-6, atol=1e-6)


@given(found=detections(), threshold=st.floats(0.05, 1))
def test_a_higher_threshold_takes_faces_away_and_changes_none(found, threshold):
    raw, size = found

    faces = faces_of(raw, size, score_threshold=threshold)

    at_least = np.float32(threshold)
    assert faces == [
        face for face in faces_of(raw, size) if face.confidence >= at_least
    ]


@given(found=detections(), limit=st.integers(-1, 7))
def test_a_limit_leaves_the_most_confident(found, limit):
    raw, size = found
    faces = faces_of(raw, size)
    confidences = [face.confidence for face in faces]

    assert confidences == sorted(confidences, reverse=True)
    expected = faces[:limit] if limit > 0 else faces
    assert faces_of(raw, size, max_faces=limit) == expected


@given(
    box=st.tuples(*[finite] * 4),
    confidence=st.floats(0, 1),
    pose=st.tuples(*[finite] * 6),
    points=st.lists(st.tuples(finite, finite), min_size=5, max_size=5),
)
def test_a_face_comes_back_from_json(box, confidence, pose, points):
    face = Face.of(box, confidence, pose, points)

    back = Face.from_dict(json.loads(json.dumps(face.to_dict())))

    assert back == face
