"""MTCNN as a model: photos of any size and kind in, faces and crops out."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from unfussy import configure, stream
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface.align import get_aligned_face
from unfussy.models.adaface.mtcnn import MTCNN, Faces, NoFaceError, Settings, cascade
from unfussy.models.adaface.mtcnn.faces import choose_face

# Random weights see faces nowhere; let through, they see them everywhere.
EASY = Settings(min_face_size=14, factor=0.7, thresholds=(0, 0, 0))
MODEL = MTCNN.from_config(EASY, seed=1)
CLOSE = {"rtol": 1e-4, "atol": 1e-3}

seeds = st.integers(0, 2**16)
sizes = st.sampled_from([(24, 31), (31, 24), (24, 24), (9, 40)])


def photo(seed, height=24, width=31):
    """Draw squares of a few pixels: what is all noise looks the same everywhere."""
    squares = np.random.default_rng(seed).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return squares.repeat(5, axis=0).repeat(5, axis=1)[:height, :width].copy()


def assert_same(faces, others):
    assert_close(faces.boxes, others.boxes, **CLOSE)
    assert_close(faces.scores, others.scores, **CLOSE)
    assert_close(faces.landmarks, others.landmarks, **CLOSE)


# --- laws --------------------------------------------------------------------------


@pytest.mark.property
@given(scenes=st.lists(st.tuples(seeds, sizes), max_size=3))
def test_a_batch_of_any_sizes_is_its_photos_one_by_one(scenes):
    photos = [photo(seed, *size) for seed, size in scenes]

    found = MODEL.detect(photos)

    assert len(found) == len(photos)
    for faces, one in zip(found, photos):
        assert_same(faces, MODEL.detect(one))


@pytest.mark.property
@given(seed=seeds, size=sizes)
def test_boxes_are_inside_the_photo_and_the_surest_comes_first(seed, size):
    height, width = size

    faces = MODEL.detect(photo(seed, *size))

    assert isinstance(faces, Faces)
    assert len(faces) == len(faces.boxes) == len(faces.landmarks)
    corners = faces.boxes.reshape(-1, 2)
    assert ((corners >= 0) & (corners <= torch.tensor([width - 1, height - 1]))).all()
    assert torch.equal(faces.scores, faces.scores.sort(descending=True).values)


def test_the_laws_are_about_faces_that_are_found():
    found = MODEL.detect([photo(seed) for seed in range(4)])

    assert all(len(faces) > 1 for faces in found)


class FixedPNet(torch.nn.Linear):
    """Sees one clear face in its first row, and three less clear ones in another."""

    def forward(self, x):
        logits = torch.zeros(1, 2, 11, 20)
        logits[0, 1, 0, 0] = 9
        logits[0, 1, 10, [0, 10, 19]] = 5
        return logits, torch.zeros(1, 4, 11, 20)


@pytest.mark.parametrize(
    ("official", "corners"),
    [(True, [[2, 2]]), (False, [[2, 2], [2, 42], [42, 42], [78, 42]])],
)
def test_the_official_slip_leaves_one_window_a_row(official, corners):
    pictures = torch.zeros(1, 3, 60, 90, dtype=torch.uint8)
    settings = Settings(official=official)

    windows = cascade._look(FixedPNet(1, 1), pictures, 0.5, settings)

    assert sorted(windows.boxes[:, :2].tolist(), key=lambda xy: xy[::-1]) == corners
    assert torch.equal(windows.boxes[:, 2:], windows.boxes[:, :2] + 24)


@pytest.mark.parametrize("official", [True, False])
def test_the_official_slip_moves_windows_into_the_photo(official):
    pictures = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    settings = Settings(thresholds=(0, 0, 0), official=official)
    boxes = torch.tensor([[-5.0, -6, 18, 17]], dtype=torch.float64)
    ones = torch.ones(1, dtype=torch.float64)
    windows = cascade.Windows(boxes, ones, ones.long() - 1, torch.zeros(1, 4).double())

    with torch.no_grad():
        seen = cascade._sift(
            MODEL.rnet, pictures, windows, settings, side=24, threshold=0
        )

    assert seen.boxes.tolist() == [[0, 0, 18, 17] if official else [-5, -6, 18, 17]]


# --- inputs ------------------------------------------------------------------------


def test_photos_of_every_kind_give_the_same_faces(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = photo(0)
    picture = image.fromarray(pixels)
    picture.save(tmp_path / "photo.png")
    alpha = np.concatenate((pixels, pixels[..., :1]), axis=-1)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [pixels, picture, tmp_path / "photo.png", alpha, tensor]

    found = [*MODEL.detect(kinds), *map(MODEL.detect, kinds)]
    found += [MODEL.detect(str(tmp_path / "photo.png")), *MODEL.detect(pixels[None])]

    assert len(found[0]) > 0
    for faces in found:
        assert_same(faces, found[0])


def test_grey_photos_are_taken():
    grey = photo(0)[..., 0]
    coloured = np.repeat(grey[..., None], 3, axis=-1)

    found = MODEL.detect([grey, grey[..., None], torch.from_numpy(grey), coloured])

    for faces in found:
        assert_same(faces, found[-1])


def test_photos_are_turned_as_the_camera_was(tmp_path):
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right
    sideways = image.fromarray(np.rot90(photo(0)).copy())
    sideways.save(tmp_path / "photo.png", exif=exif)

    assert_same(MODEL.detect(tmp_path / "photo.png"), MODEL.detect(photo(0)))


def test_16_bit_grey_levels_are_taken():
    image = pytest.importorskip("PIL.Image")
    grey = photo(0)[..., 0]
    picture = image.fromarray(grey.astype(np.uint16) * 257)

    assert_same(MODEL.detect(picture), MODEL.detect([grey])[0])


def test_no_photos_give_no_results_and_small_ones_no_faces():
    assert MODEL.detect([]) == []
    faces = MODEL.detect(np.zeros((5, 300, 3), np.uint8))
    assert (faces.boxes.shape, faces.scores.shape) == ((0, 4), (0,))
    assert faces.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize(
    ("photos", "error", "message"),
    [
        (photo(0) / 255, InputTypeError, "8-bit levels, 0 to 255, got float64"),
        ([torch.zeros(3, 24, 24)], InputTypeError, r"got float32; .*\(255 \* x\)"),
        ([None], InputTypeError, "got NoneType"),
        (
            [np.zeros((3, 24, 24), np.uint8)],
            InputValueError,
            r"array .*\(H, W, 3\), got",
        ),
        ([torch.zeros(24, 24, 3)], InputValueError, r"tensor .*\(3, H, W\), got"),
        ([np.zeros(24, np.uint8)], InputValueError, r"got \(24,\)"),
    ],
)
def test_what_is_no_photo_is_refused(photos, error, message):
    with pytest.raises(error, match=message):
        MODEL.detect(photos)


def test_a_bad_photo_does_not_stop_the_others():
    photos = [photo(0), "nowhere.jpg", photo(1)]

    outcome = configure(MODEL.detect, on_error="return")(photos)

    assert outcome.indices == (0, 2)
    assert "nowhere.jpg" in str(outcome.failures[0])
    assert_same(outcome.result[1], MODEL.detect(photos[2]))


def test_photos_are_streamed():
    photos = [photo(seed, 24, 24 + seed % 2) for seed in range(40)]

    found = list(stream(MODEL.detect, iter(photos)))

    assert len(found) == 40
    assert_same(found[39], MODEL.detect(photos[39]))


def test_a_call_leaves_no_trace():
    model = MTCNN.from_config(EASY).train()
    pixels = photo(0)
    before = pixels.copy()

    faces = model.detect(pixels)

    assert model.training
    assert model.onet.features.drop5.training
    assert np.array_equal(pixels, before)
    assert not faces.boxes.requires_grad
    assert not faces.boxes.is_inference()


# --- crops -------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["confident", "largest", "central"])
def test_the_face_that_was_asked_for_is_cut_out(which):
    one, all_of_them = (
        MODEL.align(photo(0), which=which),
        MODEL.align(photo(0), which="all"),
    )

    assert one.shape == (3, 112, 112)
    assert one.dtype == torch.uint8
    assert all_of_them.shape == (len(MODEL.detect(photo(0))), 3, 112, 112)
    meant = choose_face(MODEL.detect(photo(0)), which, 24, 31)
    assert torch.equal(one, all_of_them[meant])
    assert meant > 0 or which == "confident"


def test_crops_come_in_the_size_and_fit_that_were_asked_for():
    narrow = MODEL.align([photo(0)], size=(56, 48))[0]

    assert narrow.shape == (3, 56, 48)
    other = MODEL.align([photo(0)], size=(56, 48), fit="crop")[0]
    assert not torch.equal(other, narrow)


def test_a_photo_without_a_face_gives_none_or_an_error_as_asked_for():
    photos = [photo(0), np.zeros((5, 5, 3), np.uint8)]

    crops = MODEL.align(photos)

    assert crops[0] is not None
    assert crops[1] is None
    assert [len(all_of) > 0 for all_of in MODEL.align(photos, which="all")] == [1, 0]
    with pytest.raises(NoFaceError, match="no face in a photo of 5 x 5 pixels"):
        MODEL.align(photos, missing="raise")
    outcome = configure(MODEL.align, on_error="return")(photos, missing="raise")
    assert outcome.indices == (0,)


def test_one_path_is_one_photo(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(photo(0)).save(tmp_path / "photo.png")

    crop = MODEL.align(tmp_path / "photo.png", size=20)

    assert torch.equal(crop, MODEL.align(photo(0), size=20))


def test_wrong_options_are_refused():
    with pytest.raises(InputValueError, match="'central', got 'best'"):
        MODEL.align(photo(0), which="best")
    with pytest.raises(InputValueError, match="'none' or 'raise', got 'skip'"):
        MODEL.align(photo(0), missing="skip")


# --- with trained weights ----------------------------------------------------------

needs_weights = pytest.mark.skipif(
    find_spec("facenet_pytorch") is None or find_spec("skimage") is None,
    reason="needs pip install --no-deps facenet-pytorch, and scikit-image for a photo",
)
# What the official code finds in skimage.data.astronaut(), as it is and with the
# probabilities of its first network over the two classes: box, score, landmarks.
OFFICIAL = (
    [181.205567, 60.251687, 266.200805, 173.712513],
    0.99952185,
    [
        [204.25087, 100.956192],
        [247.024933, 103.260849],
        [225.361832, 129.035217],
        [201.91803, 139.79631],
        [245.167648, 141.736359],
    ],
)
CORRECTED = (
    [176.411838, 59.343823, 266.479954, 173.867404],
    0.99992609,
    [
        [204.282089, 100.533745],
        [246.58815, 102.516717],
        [224.609848, 128.870895],
        [201.35321, 139.69754],
        [244.558899, 141.580505],
    ],
)


@needs_weights
@pytest.mark.parametrize(
    ("official", "expected", "tolerance"),
    [(True, OFFICIAL, 1e-4), (False, CORRECTED, 0.05)],
)
def test_an_astronaut_is_found_where_the_official_code_finds_her(
    official, expected, tolerance
):
    mtcnn = MTCNN.from_pretrained(None, Settings(official=official))

    faces = mtcnn.detect(import_module("skimage.data").astronaut())

    box, score, landmarks = map(torch.tensor, expected)
    assert len(faces) == 1
    assert_close(faces.boxes[0], box, rtol=0, atol=tolerance)
    assert_close(faces.scores[0], score, rtol=0, atol=1e-5)
    assert_close(faces.landmarks[0], landmarks, rtol=0, atol=tolerance)


@needs_weights
def test_an_astronaut_is_aligned():
    photo = import_module("skimage.data").astronaut()

    face = get_aligned_face(photo)

    assert face.size == (112, 112)
    again = get_aligned_face(np.asarray(face))  # an aligned face is one
    assert again is not None
    assert get_aligned_face(photo[200:260]) is None
