"""Aligned faces: from a pose to five points, to a template, to a crop."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.strategies import similarities
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError
from unfussy.models._alignment import invert_alignment, moved, similarity
from unfussy.models.img2pose.aligning import (
    align_faces,
    align_faces_batch,
    five_points,
    poses_of,
    with_crops,
)
from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.inputs import Reading
from unfussy.models.img2pose.points import default_points, five_of
from unfussy.models.img2pose.poses import project
from unfussy.models.img2pose.templates import alignment_of, face_templates

POSES = ((0.1, 0.2, 0.1, 0.3, 0.2, 9), (0, 0.9, 0, -1, -1, 12), (0, -0.9, 0, 0, 0, 12))

fits = st.sampled_from(["least_squares", "rms"])
seeds = st.integers(0, 2**16)


def face(pose):
    return Face.of((0, 0, 1, 1), 0.9, pose, [(0, 0)] * 5)


FACES = [face(pose) for pose in POSES]


def photo(height=60, width=80):
    shape = (height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def noisy_points(seed, n=1, noise=4.0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    frontal = face_templates()[2]
    return 2 * frontal + 50 + noise * torch.randn(n, 5, 2, **draw)


# --- the transform -----------------------------------------------------------------


@pytest.mark.property
@given(matrix=similarities(), template=st.integers(0, 4), fit=fits)
def test_a_moved_template_is_brought_back_exactly(matrix, template, fit):
    landmarks = moved(face_templates()[template], invert_alignment(matrix))[None]

    found = alignment_of(landmarks, fit=fit)

    assert_close(
        moved(landmarks, found)[0], face_templates()[template], rtol=0, atol=1e-6
    )


@pytest.mark.property
@given(seed=seeds, nudge=similarities())
def test_no_similarity_has_a_smaller_squared_error(seed, nudge):
    landmarks, template = noisy_points(seed)[0], face_templates()[2]
    identity = torch.eye(2, 3, dtype=torch.float64)
    nudge = identity + 1e-3 * (nudge - identity)

    best = moved(landmarks, similarity(landmarks, template))

    error = (best - template).square().sum()
    assert error <= (moved(best, nudge) - template).square().sum() + 1e-9


@pytest.mark.property
@given(seed=seeds, noise=st.floats(0, 40))
def test_with_the_rms_rule_points_spread_as_the_template_does(seed, noise):
    landmarks, template = noisy_points(seed, noise=noise)[0], face_templates()[2]

    matrices = [similarity(landmarks, template, x) for x in ("rms", "least_squares")]

    def spread(points):
        return (points - points.mean(0)).square().sum()

    by_rms, by_squares = (moved(landmarks, matrix) for matrix in matrices)
    assert_close(spread(by_rms), spread(template))
    assert spread(by_rms) >= spread(by_squares) - 1e-9
    assert_close(by_rms.mean(0), by_squares.mean(0))


@pytest.mark.property
@given(seed=seeds, turns=st.lists(st.integers(0, 4), max_size=4), fit=fits)
def test_faces_are_aligned_one_by_one(seed, turns, fit):
    n = len(turns)
    landmarks = noisy_points(seed, n) + face_templates()[turns]

    together = alignment_of(landmarks, fit=fit)

    assert together.shape == (n, 2, 3)
    for points, matrix in zip(landmarks, together):
        assert_close(alignment_of(points[None], fit=fit)[0], matrix)


@pytest.mark.property
@given(yaw=st.floats(-1.2, 1.2), pitch=st.floats(-0.4, 0.4), roll=st.floats(-3, 3))
def test_eyes_end_up_level_and_above_the_mouth(yaw, pitch, roll):
    turned = (pitch, yaw, 0.0)
    # The roll comes last: about the line of sight, where the head is in the middle.
    points = torch.from_numpy(
        project(five_points(), np.array([[*turned, 0, 0, 12]]), 1000, (0, 0))
    )
    c, s = math.cos(roll), math.sin(roll)
    points = points @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)

    left_eye, right_eye, _, *mouth = moved(points, alignment_of(points))[0]

    assert abs(left_eye[1] - right_eye[1]) < 12
    assert left_eye[0] < right_eye[0]
    assert min(corner[1] for corner in mouth) > max(left_eye[1], right_eye[1])


def test_a_head_turned_aside_goes_to_a_template_of_that_side():
    yaws = np.array([[0, yaw, 0, 0, 0, 12] for yaw in (1.0, 0.5, 0, -0.5, -1.0)])
    landmarks = torch.from_numpy(project(five_points(), yaws, 1000, (0, 0)))

    aligned = moved(landmarks, alignment_of(landmarks))

    noses = aligned[:, 2, 0] - face_templates()[:, 2, 0]
    others = aligned[:, 2, 0] - face_templates().flip(0)[:, 2, 0]
    assert noses.abs().max() < 10
    assert others[[0, 1, 3, 4]].abs().min() > 15


def test_the_templates_mirror_each_other_and_scale():
    templates = face_templates()

    mirrored = templates.flip(0)[:, [1, 0, 2, 4, 3]]
    mirrored[..., 0] = 112.412 - mirrored[..., 0]
    assert_close(templates[[0, 1, 3, 4]], mirrored[[0, 1, 3, 4]], rtol=0, atol=1e-2)
    assert_close(face_templates(224), 2 * templates)
    wide = templates + torch.tensor([10.0, 0], dtype=torch.float64)
    assert_close(face_templates((112, 132)), wide)


@pytest.mark.parametrize(
    "landmarks", [torch.ones(1, 5, 2), torch.full((1, 5, 2), math.nan)]
)
def test_a_pose_that_shows_no_face_is_refused(landmarks):
    good = noisy_points(0)

    with pytest.raises(InputValueError, match="face 1 cannot be aligned"):
        alignment_of(torch.cat((good, landmarks)))


# --- the crops ---------------------------------------------------------------------


def test_crops_are_pillow_pictures_or_arrays():
    arrays = align_faces(photo(), FACES, 112, return_array=True)
    pictures = align_faces(photo(), FACES, 112)

    assert [crop.shape for crop in arrays] == [(112, 112, 3)] * 3
    assert [crop.size for crop in pictures] == [(112, 112)] * 3
    for array, picture in zip(arrays, pictures):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(np.asarray(picture), array)


def test_sizes_are_224_or_any():
    assert align_faces(photo(), FACES[:1])[0].size == (224, 224)
    assert align_faces(photo(), FACES[:1], 40)[0].size == (40, 40)
    assert align_faces(photo(), FACES[:1], (60, 50))[0].size == (50, 60)


def test_a_face_is_found_again_in_its_crop():
    # Black but for white squares where the eyes are.
    pose = np.array([POSES[0]])
    eyes = project(five_points(), pose, 600 + 800, (400, 300))[0, :2]
    picture = np.zeros((600, 800, 3), np.uint8)
    for x, y in eyes.round().astype(int):
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255

    crop = align_faces(picture, FACES[:1], 112, return_array=True)[0]

    rows, columns = crop[..., 0].nonzero()
    left = columns < 56
    for side, eye in zip((left, ~left), face_templates()[2][:2].tolist()):
        assert columns[side].mean() == pytest.approx(eye[0], abs=3)
        assert rows[side].mean() == pytest.approx(eye[1], abs=3)


def test_a_face_outside_of_the_picture_is_black():
    far = face((0, 0, 0, 50, 50, 10))

    assert not align_faces(photo(), [far], return_array=True)[0].any()


def test_pictures_come_in_every_kind():
    expected = align_faces(photo(), FACES, 32, return_array=True)
    floats = torch.from_numpy(photo()).movedim(-1, 0) / 255
    blue_first = photo()[..., ::-1].copy()

    unit = Reading(value_range=(0, 1))
    from_floats = align_faces(floats, FACES, 32, return_array=True, reading=unit)
    bgr = Reading(channels="bgr")
    from_bgr = align_faces(blue_first, FACES, 32, return_array=True, reading=bgr)

    for crop, one, other in zip(expected, from_floats, from_bgr):
        np.testing.assert_allclose(one.astype(int), crop, atol=1)
        np.testing.assert_array_equal(other, crop)


def test_faces_may_be_dictionaries():
    plain = [found.to_dict() for found in FACES]

    np.testing.assert_array_equal(poses_of(plain), poses_of(FACES))
    np.testing.assert_array_equal(
        align_faces(photo(), plain, 32, return_array=True),
        align_faces(photo(), FACES, 32, return_array=True),
    )


def test_no_faces_make_no_crops():
    assert align_faces(photo(), []) == []


def test_other_reference_points_move_the_face(tmp_path):
    lower = five_of(default_points()) + np.float32([0, 0.2, 0])
    np.save(tmp_path / "five.npy", lower)

    usual = align_faces(photo(), FACES, 32, return_array=True)
    moved_up = align_faces(
        photo(), FACES, 32, return_array=True, reference_points=tmp_path / "five.npy"
    )

    assert not np.array_equal(usual, moved_up)
    np.testing.assert_array_equal(five_points(lower), lower)


def test_several_pictures_are_aligned_as_one_by_one():
    photos, faces = [photo(), photo(90, 50)], [FACES, FACES[:1]]

    together = align_faces_batch(photos, faces, 32, return_array=True)

    for picture, found, crops in zip(photos, faces, together):
        alone = align_faces(picture, found, 32, return_array=True)
        np.testing.assert_array_equal(crops, alone)
    assert align_faces_batch([], []) == []


def test_each_picture_has_its_own_faces():
    with pytest.raises(InputValueError, match="1 pictures and 2 lists of faces"):
        align_faces_batch([photo()], [FACES, []])
    with pytest.raises(InputTypeError, match="picture 1: .*face 0 is 'a'"):
        align_faces_batch([photo()] * 2, [FACES, ["a"]])


def test_crops_go_with_their_faces():
    crops = align_faces(photo(), FACES)

    both = with_crops(FACES, crops)

    assert [one["image"] for one in both] == crops
    assert [one["pose"] for one in both] == [list(pose) for pose in POSES]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "umeyama"}, "'least_squares' or 'rms', got 'umeyama'"),
        ({"output_size": 0}, "side in pixels .* got 0"),
        ({"reference_points": np.zeros((68, 3))}, r"5 finite points .* \(68, 3\)"),
    ],
)
def test_what_makes_no_crop_is_refused(options, message):
    with pytest.raises(InputValueError, match=message):
        align_faces(photo(), FACES, **options)


def test_without_pillow_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        align_faces(photo(), FACES)
