"""Pictures for the detector: every kind, its size unread, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models.detectors import photo, save
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError
from unfussy.models.img2pose import UnreadableImageError
from unfussy.models.img2pose.inputs import Photo, Reading, is_one_photo, listed

PIXELS = photo(30, 40)
CHW = torch.from_numpy(PIXELS).movedim(-1, 0)


def read(source, **reading):
    return Photo(source, Reading(**reading)).read()


def size(source, **reading):
    return Photo(source, Reading(**reading)).size


# --- kinds -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: save(folder / "a.png", PIXELS),
        lambda folder: str(save(folder / "a.png", PIXELS)),
        lambda _: Image.fromarray(PIXELS),
        lambda _: PIXELS,
        lambda _: np.flip(PIXELS, 1)[:, ::-1],
        lambda _: CHW,
    ],
    ids=["path", "text", "pillow", "array", "strided", "tensor"],
)
def test_every_kind_gives_the_same_pixels_and_tells_its_size(make, tmp_path):
    source = make(tmp_path)

    assert torch.equal(read(source), CHW)
    assert size(source) == (30, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_pillow_pictures_of_any_mode_become_colours(mode):
    grey = Image.fromarray(PIXELS[..., 0])
    picture = (
        Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else (grey if mode in {"1", "L", "LA"} else Image.fromarray(PIXELS)).convert(
            mode
        )
    )

    pixels = read(picture)

    assert pixels.shape == (3, 30, 40)
    assert pixels.dtype is torch.uint8
    assert 50 < pixels.float().mean() < 200


def test_sixteen_bits_keep_their_levels():
    picture = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)

    assert torch.equal(read(picture)[0], CHW[0])


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (0, 255)])
def test_floats_whose_range_is_said_come_from_0_to_1(value_range):
    low, high = value_range
    floats = CHW / 255 * (high - low) + low

    torch.testing.assert_close(read(floats, value_range=value_range), CHW / 255)
    array = floats.movedim(0, -1).numpy()
    torch.testing.assert_close(read(array, value_range=value_range), CHW / 255)


def test_blue_first_is_turned_round():
    assert torch.equal(read(PIXELS[..., ::-1], channels="bgr"), CHW)
    assert torch.equal(read(CHW.flip(0), channels="bgr"), CHW)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9)])
def test_the_smallest_pictures_are_pictures(width, height):
    assert read(np.zeros((height, width, 3), np.uint8)).shape == (3, height, width)


# --- EXIF --------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_size_before_reading_is_the_size_after_it(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(tmp_path / f"a.{suffix}", PIXELS, exif=exif)

    for source in (file, Image.open(file)):
        assert size(source) == tuple(read(source).shape[1:])
        assert size(source) == ((40, 30) if orientation > 4 else (30, 40))


def test_pictures_are_turned_unless_it_is_not_wanted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = save(tmp_path / "a.png", PIXELS, exif=exif)

    assert torch.equal(read(file), CHW.rot90(-1, (1, 2)))
    assert torch.equal(read(file, exif=False), CHW)
    assert size(file, exif=False) == (30, 40)


def test_the_size_of_a_file_is_told_without_its_pixels(tmp_path, monkeypatch):
    files = [
        save(tmp_path / f"a.{suffix}", PIXELS) for suffix in ("jpg", "png", "webp")
    ]

    def refuse(self):
        raise AssertionError("decoded")

    for name in ("JpegImagePlugin.JpegImageFile", "PngImagePlugin.PngImageFile"):
        monkeypatch.setattr(f"PIL.{name}.load", refuse)

    assert [size(file) for file in files] == 3 * [(30, 40)]


# --- what is no picture ------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PIXELS[..., 0], r"shaped \(H, W, 3\), got \(30, 40\).*grey levels"),
        (np.zeros((4, 4, 4), np.uint8), r"without transparency x\[\.\.\., :3\]"),
        (CHW.numpy(), r"colours come last in arrays"),
        (PIXELS[None], r"several are a list"),
        (CHW.movedim(0, -1), r"colours come first in tensors"),
        (CHW[None][None], r"shaped \(3, H, W\), got \(1, 1, 3, 30, 40\)"),
        (PIXELS / 255, "float64 does not tell what is black"),
        (CHW / 255, "float32 does not tell what is black"),
        (np.zeros((0, 5, 3), np.uint8), "0 x 5 pixels has none"),
        (Image.new("F", (4, 4)), "would lose levels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_be_misread_is_refused(source, message):
    with pytest.raises(InputValueError, match=message):
        read(source)


@pytest.mark.parametrize(
    "floats", [torch.full((3, 4, 4), 2.0), torch.full((3, 4, 4), torch.nan)]
)
def test_floats_beyond_their_range_are_refused(floats):
    with pytest.raises(InputValueError, match="does not go with value_range"):
        read(floats, value_range=(0, 1))


@pytest.mark.parametrize("source", [None, b"bytes", 3, (PIXELS,), {"a": PIXELS}])
def test_other_kinds_are_refused(source):
    with pytest.raises(InputTypeError, match="a picture is a path, a Pillow picture"):
        read(source)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*lost.jpg"):
        read(tmp_path / "lost.jpg")


@pytest.mark.parametrize("look", [read, size])
def test_a_file_that_is_no_picture_is_named(tmp_path, look):
    (tmp_path / "text.jpg").write_text("text")

    with pytest.raises(UnreadableImageError, match=r"text.jpg cannot be read"):
        look(tmp_path / "text.jpg")


def test_a_file_that_is_cut_short_has_a_size_and_no_pixels(tmp_path):
    whole = save(tmp_path / "a.jpg", photo(160, 160)).read_bytes()
    Path(tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])

    assert size(tmp_path / "a.jpg") == (160, 160)
    with pytest.raises(UnreadableImageError, match=r"a.jpg cannot be read"):
        read(tmp_path / "a.jpg")


def test_files_need_pillow(tmp_path, monkeypatch):
    file = save(tmp_path / "a.jpg", PIXELS)
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtraError, match=r"unfussy\[images\]"):
        size(file)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"channels": "gbr"}, "channels is 'rgb' or 'bgr', got 'gbr'"),
        ({"value_range": (1, 0)}, "value_range is the numbers of black and white"),
        ({"value_range": 255}, "value_range is the numbers of black and white"),
    ],
)
def test_what_is_said_has_to_make_sense(setting, message):
    with pytest.raises(InputValueError, match=message):
        Reading(**setting)


# --- several -----------------------------------------------------------------------


def test_pictures_of_a_list_have_names_for_errors():
    photos = listed([PIXELS, None], Reading())

    with pytest.raises(InputTypeError, match=r"^picture 1: a picture is"):
        photos[1].read()
    with pytest.raises(InputTypeError, match=r"^picture 1: a picture is"):
        _ = photos[1].size


def test_a_tensor_of_several_is_a_list_of_them():
    photos = listed(torch.stack([CHW, CHW]), Reading())

    assert [torch.equal(each.read(), CHW) for each in photos] == [True, True]


@pytest.mark.parametrize("several", [(PIXELS,), {"a": PIXELS}, b"bytes", 3, None])
def test_what_is_neither_one_nor_several_is_refused(several):
    with pytest.raises(InputTypeError, match="several are a list"):
        listed(several, Reading())


def test_one_picture_is_told_from_several():
    assert is_one_photo(PIXELS)
    assert is_one_photo(CHW)
    assert is_one_photo("a.jpg")
    assert is_one_photo(PIXELS[None])  # which is refused, not cut
    assert not is_one_photo(CHW[None])
    assert not is_one_photo([PIXELS])
