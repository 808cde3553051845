"""Faces in any form become official inputs, or the error says what is not known."""

import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.adafaces import faces, official_inputs
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError
from unfussy.models.adaface import UnreadableImageError, to_input

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")


def face(i=0):
    return faces()[i]


def official(i=0):
    return official_inputs(faces())[i : i + 1]


def grey():
    return Image.fromarray(face()).convert("L")


# --- official values ---------------------------------------------------------------


def test_every_level_is_scaled_as_officially():
    levels = np.zeros((112, 112, 3), np.uint8)
    levels[..., 0].flat[:256] = np.arange(256)

    found = to_input(levels)

    assert torch.equal(found, official_inputs(levels[None]))
    assert found.dtype == torch.float32
    assert found.is_contiguous()


def forms():
    pixels = face()
    planes = torch.from_numpy(pixels).permute(2, 0, 1)
    return {
        "picture": (Image.fromarray(pixels), {}),
        "array": (pixels, {}),
        "array of OpenCV": (pixels[..., ::-1], {"channels": "bgr"}),
        "read-only array": (np.asarray(Image.fromarray(pixels)), {}),
        "array with transparency": (np.dstack((pixels, pixels[..., 0])), {}),
        "tensor": (planes, {"channels": "rgb"}),
        "tensor, blue first": (planes.flip(0), {"channels": "bgr"}),
        "unit floats": (planes / 255, {"channels": "rgb", "value_range": (0, 1)}),
        "floats of levels": (pixels.astype(float), {"value_range": (0, 255)}),
        "whole numbers": (pixels.astype(int), {"value_range": (0, 255)}),
        "input": (official()[0], {"channels": "bgr", "value_range": (-1, 1)}),
    }


@pytest.mark.parametrize("name", forms())
def test_a_face_in_any_form_is_the_same_input(name):
    image, said = forms()[name]

    assert_close(to_input(image, **said), official(), rtol=0, atol=1e-6)


def test_the_image_is_left_alone():
    image = torch.rand(3, 112, 112)
    before = image.clone()

    to_input(image, channels="bgr", value_range=(0, 1))

    assert torch.equal(image, before)


def test_larger_faces_are_taken_where_the_network_wants_them():
    assert to_input(np.zeros((224, 224, 3), np.uint8), size=224).shape[-1] == 224


# --- pictures ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "YCbCr", "1", "LA"])
def test_pictures_of_any_mode_are_read_as_pillow_converts_them(mode):
    picture = Image.fromarray(face()).convert(mode)

    converted = np.asarray(picture.convert("RGB"))
    assert_close(to_input(picture), official_inputs(converted[None]))


def test_grey_levels_of_16_bits_keep_their_range():
    levels = np.linspace(0, 65535, 112 * 112).astype(np.uint16).reshape(112, 112)

    found = to_input(Image.fromarray(levels))

    assert_close(found[0, 1], torch.from_numpy(levels / 32767.5 - 1).float())
    assert torch.equal(found[:, 0], found[:, 2])


def test_arrays_of_grey_levels_are_taken():
    levels = np.asarray(grey())

    assert_close(to_input(levels), to_input(grey()))
    assert_close(to_input(levels[..., None]), to_input(grey()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_and_files_are_turned_as_their_exif_data_say(tmp_path, orientation):
    turned = Image.fromarray(face())
    opposite = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    opposite |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180}
    opposite |= {4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE}
    opposite |= {7: Image.Transpose.TRANSVERSE}
    if orientation > 1:
        turned = turned.transpose(opposite[orientation])
    exif = turned.getexif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "x.png", exif=exif)

    found = to_input(tmp_path / "x.png")

    assert_close(found, official())
    with Image.open(tmp_path / "x.png") as picture:
        assert_close(to_input(picture), official())


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_files_are_read(tmp_path, kind):
    Image.fromarray(face()).save(tmp_path / "x.png")

    assert torch.equal(to_input(kind(tmp_path / "x.png")), official())


# --- files that cannot be read -----------------------------------------------------


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        to_input(tmp_path / "x.png")


def test_damaged_files_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()

    for content in (b"", b"no picture", whole[:2000]):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r"x\.png cannot be read as a"):
            to_input(tmp_path / "x.png")


def test_files_of_another_size_are_named(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "x.png")

    message = r"x\.png: faces are 112 x 112 pixels, got 640 x 480; align faces first"
    with pytest.raises(InputValueError, match=message):
        to_input(tmp_path / "x.png")


def test_files_need_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        to_input("x.png")


# --- images of which something is not known ----------------------------------------

PLANES = torch.zeros(3, 112, 112)
PIXELS = np.zeros((112, 112, 3))


@pytest.mark.parametrize(
    ("image", "said", "message"),
    [
        (PLANES.byte(), {}, "write channels='rgb' or channels='bgr'"),
        (PIXELS, {}, r"float64 does not tell .* value_range=\(0, 1\), \(-1, 1\) or"),
        (PLANES, {"channels": "rgb"}, "float32 does not tell"),
        (PIXELS.astype(bool), {}, "bool does not tell"),
        (PIXELS + 254, {"value_range": (0, 1)}, r"254 to 254, which does not go with"),
        (PIXELS - 1, {"value_range": (0, 1)}, r"-1 to -1, which does not go with"),
        (PIXELS, {"channels": "gbr"}, "channels is 'rgb' or 'bgr', got 'gbr'"),
        (PIXELS, {"value_range": (1, 0)}, r"such as \(0, 1\), got \(1, 0\)"),
        (PIXELS, {"value_range": 255}, r"such as \(0, 1\), got 255"),
        (PIXELS[:, :96], {}, "faces are 112 x 112 pixels, got 96 x 112; align"),
        (np.zeros((3, 112, 112)), {}, r"got \(3, 112, 112\); colours come last"),
        (np.zeros((112, 112, 2)), {}, r"\(B, H, W, 3\), got \(112, 112, 2\)$"),
        (np.zeros(3), {}, r"\(H, W, 3\) or \(B, H, W, 3\), got \(3,\)$"),
        (torch.zeros(112, 112, 3), {}, r"\(112, 112, 3\); .* x.movedim\(-1, -3\)"),
        (torch.zeros(112, 112), {}, r"\(B, 3, H, W\), got \(112, 112\)$"),
        (np.zeros((2, 112, 112, 3), np.uint8), {}, "one face, got 2; easy_embed"),
    ],
)
def test_what_is_not_known_or_not_right_is_refused(image, said, message):
    with pytest.raises(InputValueError, match=message):
        to_input(image, **said)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "None is no face: perhaps the detector has found none"),
        (object(), r"an array or a tensor, got object; unfussy.stream\(\) takes"),
        ({"face": PIXELS}, "got dict"),
        (np.array(["x"]), "dtype"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(InputTypeError, match=message):
        to_input(image)


def test_a_little_overshoot_is_no_error():
    image = torch.full((3, 112, 112), 1.02)

    found = to_input(image, channels="rgb", value_range=(0, 1))

    assert_close(found, torch.full((1, 3, 112, 112), 1.04))
