"""Aligning faces: the transform from landmarks, and the crop along it."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.strategies import similarities
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError
from unfussy.models.adaface import align
from unfussy.models.adaface.align import get_aligned_face, to_picture
from unfussy.models.adaface.alignment import (
    estimate_alignment,
    face_template,
    invert_alignment,
)
from unfussy.models.adaface.mtcnn import MTCNN
from unfussy.models.adaface.warping import align_faces, warp

TEMPLATE = face_template()
IDENTITY = torch.eye(2, 3, dtype=torch.float64)

fits = st.sampled_from(["photo", "crop"])
seeds = st.integers(0, 2**16)


def moved(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def noisy_faces(seed, n, noise=4.0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return 2 * TEMPLATE + 50 + noise * torch.randn(n, 5, 2, **draw)


def photo(seed, height=9, width=12):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


# --- the transform -----------------------------------------------------------------


@pytest.mark.property
@given(matrix=similarities(), fit=fits, mirror=st.booleans())
def test_a_moved_template_is_brought_back_exactly(matrix, fit, mirror):
    landmarks = moved(TEMPLATE, matrix)

    found = estimate_alignment(landmarks, fit=fit, mirror=mirror)

    assert_close(moved(landmarks, found), TEMPLATE, rtol=0, atol=1e-7)
    assert_close(invert_alignment(found), matrix, rtol=1e-7, atol=1e-7)


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 4), fit=fits, order=st.randoms())
def test_faces_are_aligned_one_by_one(seed, n, fit, order):
    landmarks, index = noisy_faces(seed, n), list(range(n))
    order.shuffle(index)

    together = estimate_alignment(landmarks, fit=fit)

    assert together.shape == (n, 2, 3)
    assert_close(estimate_alignment(landmarks[index], fit=fit), together[index])
    for face, matrix in zip(landmarks, together):
        assert_close(estimate_alignment(face, fit=fit), matrix)


@pytest.mark.property
@given(seed=seeds, nudge=similarities())
def test_each_fit_has_the_least_error_where_it_says(seed, nudge):
    landmarks = noisy_faces(seed, 1)[0]
    nudge = IDENTITY + 1e-3 * (nudge - IDENTITY)
    crop_fit = estimate_alignment(landmarks, fit="crop")
    photo_fit = invert_alignment(estimate_alignment(landmarks, fit="photo"))

    def in_crop(points):
        return (points - TEMPLATE).square().sum()

    def in_photo(points):
        return (points - landmarks).square().sum()

    best = moved(landmarks, crop_fit)
    assert in_crop(best) <= in_crop(moved(best, nudge)) + 1e-9
    best = moved(TEMPLATE, photo_fit)
    assert in_photo(best) <= in_photo(moved(best, nudge)) + 1e-9


@pytest.mark.property
@given(seed=seeds, fit=fits, noise=st.floats(0, 100))
def test_a_face_is_mirrored_only_when_that_was_asked_for(seed, fit, noise):
    landmarks = noisy_faces(seed, 1, noise)[0]

    matrix = estimate_alignment(landmarks, fit=fit)

    assert torch.linalg.det(matrix[:, :2]) > 0


@pytest.mark.property
@given(matrix=similarities(), fit=fits)
def test_a_mirrored_face_is_mirrored_back_when_asked_for(matrix, fit):
    landmarks = moved(TEMPLATE * torch.tensor([-1.0, 1.0]), matrix)

    found = estimate_alignment(landmarks, fit=fit, mirror=True)

    assert torch.linalg.det(found[:, :2]) < 0
    assert_close(moved(landmarks, found), TEMPLATE, rtol=0, atol=1e-7)


# What the official inference code, and scikit-image, make of these landmarks.
LANDMARKS = [
    [-0.12645797431468964, 91.16252136230469],
    [37.25075149536133, 128.02381896972656],
    [-5.516441822052002, 119.070068359375],
    [-37.75301742553711, 127.50971221923828],
    [-19.701126098632812, 155.0553741455078],
]
OFFICIAL = {
    "photo": [
        [0.4315921460253288, 0.5872276599705365, -14.655540544092746],
        [-0.5872276599705366, 0.43159214602532875, 15.276913486529354],
    ],
    "crop": [
        [0.42280512127439507, 0.575271954107803, -13.216485728296831],
        [-0.5752719541078029, 0.4228051212743952, 16.429752505710546],
    ],
}


@pytest.mark.parametrize("fit", ["photo", "crop"])
def test_both_fits_give_the_official_numbers(fit):
    landmarks = torch.tensor(LANDMARKS, dtype=torch.float64)

    matrix = estimate_alignment(landmarks, fit=fit)

    # The official template is in single precision, or rounded to four digits.
    expected = torch.tensor(OFFICIAL[fit], dtype=torch.float64)
    assert_close(matrix, expected, rtol=0, atol=5e-5)


def test_single_precision_stays_single():
    landmarks = noisy_faces(0, 2).float()

    matrices = estimate_alignment(landmarks)

    assert matrices.dtype == torch.float32
    expected = estimate_alignment(landmarks.double())
    assert_close(matrices.double(), expected, rtol=1e-6, atol=1e-5)


def test_the_template_scales_with_the_height():
    assert_close(face_template(224), 2 * face_template(112))
    narrow = face_template((112, 96))
    assert_close(narrow, face_template() - torch.tensor([8.0, 0], dtype=torch.float64))
    assert_close(narrow[0], torch.tensor([30.29459953, 51.6963005]).double())


def test_landmarks_go_to_another_template_if_it_is_given():
    corners = torch.tensor([[0.0, 0], [10, 0], [5, 5], [0, 10], [10, 10]])

    matrix = estimate_alignment(corners.double() * 3 + 1, template=corners)

    assert_close(
        invert_alignment(matrix), torch.tensor([[3.0, 0, 1], [0, 3, 1]]).double()
    )


@pytest.mark.parametrize(
    ("landmarks", "options", "error", "message"),
    [
        (np.zeros((5, 2)), {}, InputTypeError, "floating tensor"),
        (torch.zeros(5, 2, dtype=torch.int64), {}, InputTypeError, "torch.int64"),
        (torch.zeros(10), {}, InputValueError, r"\(\.\.\., 5, 2\).*got \(10,\)"),
        (torch.ones(2, 5, 2), {}, InputValueError, "at one point"),
        (torch.full((5, 2), torch.nan), {}, InputValueError, "not finite"),
        (TEMPLATE, {"fit": "both"}, InputValueError, "'photo' or 'crop', got 'both'"),
        (TEMPLATE, {"size": 0}, InputValueError, "side in pixels .* got 0"),
        (TEMPLATE, {"size": 1.5}, InputValueError, "got 1.5"),
        (TEMPLATE, {"size": (112, 96, 3)}, InputValueError, "got"),
    ],
)
def test_what_does_not_tell_a_transform_is_refused(landmarks, options, error, message):
    with pytest.raises(error, match=message):
        estimate_alignment(landmarks, **options)


# --- the crop ----------------------------------------------------------------------


@pytest.mark.property
@given(seed=seeds, height=st.integers(1, 9), width=st.integers(1, 9))
def test_warping_by_the_identity_changes_nothing(seed, height, width):
    picture = photo(seed, height, width)

    assert torch.equal(warp(picture, IDENTITY, size=(height, width)), picture)


@pytest.mark.property
@given(seed=seeds, x=st.integers(-14, 14), y=st.integers(-14, 14))
def test_warping_by_whole_pixels_moves_them_and_leaves_black(seed, x, y):
    picture = photo(seed)
    shift = IDENTITY.clone()
    shift[:, 2] = torch.tensor([-x, -y])
    wide = torch.nn.functional.pad(picture, (30, 30, 30, 30))

    crop = warp(picture, shift, size=(7, 8))

    assert torch.equal(crop, wide[:, 30 + y : 37 + y, 30 + x : 38 + x])


@pytest.mark.property
@given(seed=seeds, matrix=similarities())
def test_warping_interpolates_as_torch_does(seed, matrix):
    picture = photo(seed).double()
    like = picture[None]
    columns, rows = torch.meshgrid(torch.arange(8.0), torch.arange(7.0), indexing="xy")
    points = moved(torch.stack((columns, rows), -1).double(), invert_alignment(matrix))
    grid = (2 * points + 1) / torch.tensor([12, 9]) - 1

    crop = warp(picture, matrix, size=(7, 8))

    options = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
    expected = torch.nn.functional.grid_sample(like, grid[None], **options)[0]
    assert_close(crop, expected, rtol=0, atol=1e-6)


@pytest.mark.property
@given(seed=seeds, n=st.integers(0, 3))
def test_faces_are_cut_out_one_by_one(seed, n):
    picture, landmarks = photo(seed, 90, 120), noisy_faces(seed, n) / 4

    together = align_faces(picture, landmarks, size=16)

    assert together.shape == (n, 3, 16, 16)
    assert together.dtype == torch.uint8
    for face, crop in zip(landmarks, together):
        assert torch.equal(align_faces(picture, face, size=16), crop)


def test_a_face_outside_of_the_photo_is_black():
    crop = align_faces(photo(0), TEMPLATE + 1000)

    assert crop.eq(0).all()


def test_levels_are_rounded_and_numbers_are_not():
    picture = torch.tensor([[[1, 2]]])
    half = torch.tensor([[1.0, 0, -0.5], [0, 1, 0]])

    assert warp(picture, half, size=1).tolist() == [[[2]]]
    assert warp(picture.float(), half, size=1).tolist() == [[[1.5]]]


def test_a_picture_of_numbers_keeps_its_gradient():
    picture = torch.zeros(1, 3, 3, requires_grad=True)

    warp(picture, IDENTITY, size=2).sum().backward()

    assert picture.grad.tolist() == [[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputTypeError, match="got a ndarray"):
        warp(np.zeros((3, 4, 4)), IDENTITY)
    with pytest.raises(InputValueError, match=r"got \(2, 3, 4, 4\)"):
        warp(torch.zeros(2, 3, 4, 4), IDENTITY)
    with pytest.raises(InputValueError, match=r"\(\.\.\., 2, 3\), got \(3, 3\)"):
        warp(torch.zeros(3, 4, 4), torch.eye(3))


# --- in one call -------------------------------------------------------------------


class FixedDetector(MTCNN):
    """Finds one crop in every photo but black ones."""

    def align(self, photos, **options):
        self.options = options
        return torch.full((3, 2, 2), 7, dtype=torch.uint8) if photos.any() else None


def test_an_aligned_face_is_a_picture():
    detector = FixedDetector()

    face = get_aligned_face(np.ones((4, 4, 3)), detector=detector, which="largest")

    assert (face.mode, face.size, face.getpixel((0, 0))) == ("RGB", (2, 2), (7, 7, 7))
    assert detector.options == {"which": "largest", "size": 112, "fit": "photo"}


def test_no_face_is_none():
    assert get_aligned_face(np.zeros((4, 4, 3)), detector=FixedDetector()) is None


def test_the_detector_of_the_package_is_made_once(monkeypatch):
    made = []

    def make():
        made.append(1)
        return FixedDetector()

    monkeypatch.setattr(align.MTCNN, "from_pretrained", make)
    align._default_detector.cache_clear()

    faces = [get_aligned_face(np.ones((4, 4, 3))) for _ in range(2)]

    align._default_detector.cache_clear()
    assert None not in faces
    assert made == [1]


def test_without_pillow_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        to_picture(torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_crops_become_pictures_with_red_first():
    crop = torch.zeros(3, 2, 4, dtype=torch.uint8)
    crop[0] = 255

    picture = to_picture(crop)

    assert (picture.size, picture.getpixel((3, 1))) == ((4, 2), (255, 0, 0))
