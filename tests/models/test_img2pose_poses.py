"""Poses and boxes: rotations, poses of the whole picture, heads in boxes."""

import math

import numpy as np
import pytest
import torch

from tests.models.img2poses import reference
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.img2pose.boxes import boxes_around
from unfussy.models.img2pose.points import (
    KEYPOINTS,
    default_points,
    five_of,
    points_beside,
    read_points,
)
from unfussy.models.img2pose.poses import picture_poses, project
from unfussy.models.img2pose.rotations import (
    check_rotation,
    euler_angles,
    matrices_of,
    rotation_vectors_of,
)

MEAN = np.array([-0.0238, 0.0275, -0.0144, 0.0664, 0.2380, 3.4813], np.float32)
STDDEV = np.array([0.2353, 0.5395, 0.1767, 0.1320, 0.1358, 0.3663], np.float32)


@pytest.fixture(scope="module")
def official():
    """What the official code makes of 96 proposals, with the quaternions' rule."""
    return reference("poses")


def poses_of(official):
    local = official["unit_dofs"] * STDDEV + MEAN
    return picture_poses(local, official["unit_boxes"], size_of(official))


def size_of(official):
    return tuple(official["unit_size"].tolist())


def in_picture(points, poses, size):
    height, width = size
    return project(points, poses, height + width, (width // 2, height // 2))


# --- rotations ---------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0, 1e-9, 9e-4, 1.1e-3, 0.5, 2, 3.1, math.pi, 5])
def test_matrices_agree_with_the_exponential(angle):
    axes = np.random.default_rng(0).normal(size=(50, 3))
    vectors = axes / np.linalg.norm(axes, axis=-1, keepdims=True) * angle
    x, y, z = torch.from_numpy(vectors).T
    o = torch.zeros_like(x)

    matrices = matrices_of(vectors)

    skew = torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).reshape(-1, 3, 3)
    np.testing.assert_allclose(matrices, skew.matrix_exp(), rtol=0, atol=2e-15)


def test_half_turns_about_every_axis_are_found():
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, 0.8]])

    vectors = rotation_vectors_of(matrices_of(math.pi * axes), "quaternion")

    np.testing.assert_allclose(abs(vectors), math.pi * axes, atol=1e-7)


def test_the_two_rules_differ_where_a_matrix_is_no_rotation():
    sheared = np.array([[[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]]])

    by_quaternion = rotation_vectors_of(sheared, "quaternion")
    by_svd = rotation_vectors_of(sheared, "svd")

    # The quaternion is (0, 0, -0.5, 4); the polar factor turns by atan(0.5 / 2).
    np.testing.assert_allclose(by_quaternion, [[0, 0, -2 * math.atan(0.125)]])
    np.testing.assert_allclose(by_svd, [[0, 0, -math.atan(0.25)]], atol=1e-15)


def test_another_rule_is_refused():
    with pytest.raises(InputValueError, match="'quaternion' or 'svd', got 'polar'"):
        check_rotation("polar")


def test_angles_about_fixed_axes_are_told_one_after_the_other():
    x, y, z = (matrices_of(angle * np.eye(3)) for angle in (0.3, -0.4, 0.5))

    angles = euler_angles((z[2] @ y[1] @ x[0])[None])

    np.testing.assert_allclose(angles, [[0.3, -0.4, 0.5]], atol=1e-15)


@pytest.mark.parametrize("sign", [1, -1])
def test_with_a_quarter_turn_about_y_the_last_angle_is_zero(sign):
    x, z = (matrices_of(angle * np.eye(3)) for angle in (0.3, 0.5))
    y = np.array([[0.0, 0, sign], [0, 1, 0], [-sign, 0, 0]])

    angles = euler_angles((z[2] @ y @ x[0])[None])

    expected = [[0.3 - sign * 0.5, sign * math.pi / 2, 0]]
    np.testing.assert_allclose(angles, expected, atol=1e-12)


# --- poses -------------------------------------------------------------------------


def test_poses_are_those_of_the_original(official):
    poses = poses_of(official)

    np.testing.assert_allclose(poses, official["unit_poses"], rtol=0, atol=1e-13)


def test_points_are_seen_where_the_original_sees_them(official):
    poses = poses_of(official)[:2]

    points = in_picture(default_points(), poses, size_of(official))

    # The published table has four decimals.
    np.testing.assert_allclose(points, official["unit_points"], rtol=0, atol=0.02)


def test_boxes_are_those_of_the_original(official):
    poses, size = poses_of(official), size_of(official)

    boxes = boxes_around(in_picture(default_points(), poses, size), poses[:, 2], size)

    # The published table has four decimals: one box moves by a pixel.
    differences = abs(boxes - official["unit_proj_boxes"])
    assert differences.max() <= 1
    assert (differences > 0).any(-1).sum() <= 1


def test_the_middle_of_a_box_is_in_whole_pixels():
    pose = np.array([[0.1, 0.2, 0.3, 0, 0, 2]], np.float32)
    boxes = np.array([[10.9, 20.9, 41.8, 51.8], [10, 20, 40, 50]], np.float32)

    one, other = (picture_poses(pose, box, (100, 120))[0] for box in boxes[:, None])

    # 10.9 + 30.9 // 2 is 25.9, which is cut to 25, as is 10 + 30 // 2.
    np.testing.assert_array_equal(one[:3], other[:3])


def test_a_point_beside_the_camera_is_no_error():
    pose = np.array([[0, 0, 0, 0, 0, 0]])

    places = project([[1.0, -1.0, 0]], pose, 100, (50, 50))

    assert (abs(places) > 1e20).all()


# --- boxes -------------------------------------------------------------------------

SQUARE = np.array([[[40.0, 30.0], [60.0, 50.0]]])  # two points that span 20 by 20


@pytest.mark.parametrize(
    ("roll", "box"),
    [
        (0.0, [39, 23, 61, 51]),
        (1.0, [39, 23, 61, 51]),
        (1.1, [39, 29, 67, 51]),
        (-1.1, [33, 29, 61, 51]),
        (2.5, [39, 29, 67, 51]),
        (2.6, [39, 29, 61, 57]),
        (-2.6, [39, 29, 61, 57]),
    ],
)
def test_the_box_reaches_up_the_forehead(roll, box):
    boxes = boxes_around(SQUARE, np.array([roll]), (100, 100))

    assert boxes.tolist() == [box]


def test_boxes_are_cut_off_at_the_edges():
    boxes = boxes_around(SQUARE - 35, np.array([0.0]), (10, 20))

    assert boxes.tolist() == [[4, 0, 20, 10]]


def test_a_box_outside_the_picture_lies_beyond_its_edge():
    boxes = boxes_around(SQUARE - 70.5, np.array([0.0]), (10, 20))

    # From -31.5 to -9.5 and from -47.5 to -19.5, cut to whole pixels towards zero.
    assert boxes.tolist() == [[0, 0, -9, -19]]


def test_what_is_not_in_the_picture_is_no_error():
    points = np.array([[[1e300, 0.0], [1.0, 1.0]], [[math.nan, 0], [0, 0]]])

    boxes = boxes_around(points, np.zeros(2), (10, 20))

    assert np.isfinite(boxes).all()


# --- reference points --------------------------------------------------------------


def test_the_published_points_are_68_and_about_as_large_as_one():
    points = default_points()

    assert points.shape == (68, 3)
    assert points.dtype == np.float32
    assert points[30].tolist() == pytest.approx([-0.0181, -0.0620, -0.7463])
    assert points[36].tolist() == pytest.approx([-0.4233, -0.3598, -0.2748])
    assert np.abs(points).max() < 0.8


def test_the_five_points_are_eyes_nose_and_mouth():
    points = default_points()

    eye, other_eye, *rest = five_of(points)

    np.testing.assert_allclose(eye, points[36:42].mean(0))
    np.testing.assert_allclose(other_eye, points[42:48].mean(0))
    np.testing.assert_array_equal(rest, points[list(KEYPOINTS[2:])])


def test_points_come_from_numbers_tensors_and_files(tmp_path):
    points = default_points() / 2
    np.save(tmp_path / "points.npy", points)

    for given in (points, points.tolist(), torch.tensor(points)):
        np.testing.assert_array_equal(read_points(given), points)
    np.testing.assert_array_equal(read_points(tmp_path / "points.npy"), points)
    np.testing.assert_array_equal(read_points(str(tmp_path / "points.npy")), points)


def test_points_lie_beside_a_checkpoint(tmp_path):
    points = default_points() / 2
    np.save(tmp_path / "reference_3d_68_points_trans.npy", points)
    np.save(tmp_path / "reference_3d_5_points_trans.npy", points[:5])
    checkpoint = tmp_path / "img2pose_v1.pth"
    checkpoint.touch()

    np.testing.assert_array_equal(points_beside(checkpoint), points)
    np.testing.assert_array_equal(points_beside(tmp_path), points)
    np.testing.assert_array_equal(points_beside(tmp_path, 5), points[:5])
    assert points_beside(tmp_path / "elsewhere" / "img2pose_v1.pth") is None


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.zeros((5, 3)), InputValueError, r"68 finite points .* shaped \(5, 3\)"),
        (np.full((68, 3), np.nan), InputValueError, "finite"),
        ([["a"]], InputTypeError, r"\(68, 3\) or a .npy file, got list"),
        (object(), InputTypeError, "got object"),
    ],
)
def test_what_is_no_set_of_points_is_refused(points, error, message):
    with pytest.raises(error, match=message):
        read_points(points)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    np.save(tmp_path / "points.npy", np.array([object()]), allow_pickle=True)

    with pytest.raises(InputTypeError, match="points.npy"):
        read_points(tmp_path / "points.npy")


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match="nowhere.npy"):
        read_points("nowhere.npy")
