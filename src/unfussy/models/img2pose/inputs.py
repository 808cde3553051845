"""
Pictures as people have them, and as the detector takes them.

A picture in a file stays there until its turn comes: to plan a batch only its size is
looked at. What may be misread is refused: a network that sees black, or blue for red,
finds no faces and does not say why. H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array, is_picture
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._pictures import (
    read_file,
    read_picture,
    size_of_file,
    size_of_picture,
)
from unfussy.models._ranges import (
    BYTES,
    Channels,
    ValueRange,
    check_said,
    range_of,
)

__all__ = [
    "ADVICE",
    "Photo",
    "Reading",
    "is_one_photo",
    "listed",
]

_COLOURS: Final = 3
ADVICE: Final = (
    "a picture is a path, a Pillow picture, an array (H, W, 3) or a tensor (3, H, W); "
    "several are a list, a tensor (N, 3, H, W) or an iterator"
)
"""What pictures can be, for errors."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    How pictures are read.

    Attributes:
        channels: The order of colours in arrays and tensors.
        value_range: The numbers of black and white in arrays and tensors of floats,
            which do not tell.
        exif: Whether files and Pillow pictures are turned as their EXIF data say.

    Raises:
        InputValueError: If that is no order or no range.
    """

    channels: Channels = "rgb"
    value_range: ValueRange | None = None
    exif: bool = True

    def __post_init__(self) -> None:
        check_said(self.channels, self.value_range)


class Photo:
    """
    A picture that waits for its turn.

    Args:
        source: What was given.
        reading: How to read it.
        name: What errors call it, such as ``"picture 2"``.

    Attributes:
        nbytes: What it takes when its turn comes, as far as somebody has told.
    """

    __slots__ = ("_name", "_reading", "_size", "_source", "nbytes")

    def __init__(self, source: Any, reading: Reading, name: str = "") -> None:
        self._source, self._reading, self._name = source, reading, name
        self._size: tuple[int, int] | None = None
        self.nbytes = int(getattr(source, "nbytes", 0))

    @classmethod
    def of(cls, source: Any, reading: Reading) -> Photo:
        """Return *source* if it waits already, else make it wait."""
        return source if isinstance(source, cls) else cls(source, reading)

    @property
    def size(self) -> tuple[int, int]:
        """
        Height and width, without a look at the pixels.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If this is no picture.
            InputValueError: If it cannot be read, or has another shape.
        """
        if self._size is None:
            height, width = self._named(self._find_size)
            self._size = int(height), int(width)
        return self._size

    def read(self) -> Tensor:
        """
        Return the pixels ``(3, H, W)``, red first: bytes, or floats from 0 to 1.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If this is no picture.
            InputValueError: If it cannot be read, or is not as *reading* says.
        """
        pixels: Tensor = self._named(self._read)
        return pixels

    def _named(self, look: Any) -> Any:
        try:
            return look()
        except (InputTypeError, InputValueError) as error:
            if self._name:
                error.args = (f"{self._name}: {error}",)
            raise
        except FileNotFoundError as error:
            where = f"{self._name}: " if self._name else ""
            text = f"{where}there is no file {self._source}"
            raise FileNotFoundError(text) from error

    def _find_size(self) -> tuple[int, int]:
        source, exif = self._source, self._reading.exif
        if isinstance(source, (str, PathLike)):
            size = size_of_file(source, exif=exif)
        elif is_picture(source):
            size = size_of_picture(source, exif=exif)
        else:
            height, width = _plane(source).shape[-2:]
            size = height, width
        if 0 in size:
            raise InputValueError(f"a picture of {size[0]} x {size[1]} pixels has none")
        return size

    def _read(self) -> Tensor:
        source, reading = self._source, self._reading
        if isinstance(source, (str, PathLike)):
            return _colours_first(read_file(source, exif=reading.exif))
        if is_picture(source):
            return _colours_first(read_picture(source, exif=reading.exif))
        self._find_size()
        pixels = _from_black_to_white(_plane(source), reading.value_range)
        return pixels.flip(0) if reading.channels == "bgr" else pixels


def is_one_photo(images: Any, /) -> bool:
    """Tell whether *images* is one picture, and not several."""
    if isinstance(images, (str, PathLike, Photo)) or is_picture(images):
        return True
    # An array of several is one that is refused; a tensor of several is a batch.
    return isinstance(images, np.ndarray) or (
        isinstance(images, Tensor) and images.ndim != _COLOURS + 1
    )


def listed(images: Any, reading: Reading, /) -> list[Photo]:
    """
    Return several pictures with names for errors.

    Raises:
        InputTypeError: If *images* is neither a list nor a tensor.
    """
    if not isinstance(images, (list, Tensor)):
        kind = type(images).__name__
        raise InputTypeError(f"{ADVICE}; got {kind}")
    return [
        image if isinstance(image, Photo) else Photo(image, reading, f"picture {i}")
        for i, image in enumerate(images)
    ]


# --- arrays and tensors ------------------------------------------------------------


def _plane(source: Any) -> Tensor:
    """Return an array or a tensor with its colours first, ``(3, H, W)``."""
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if not isinstance(source, Tensor):
        kind = type(source).__name__
        raise InputTypeError(f"{ADVICE}; got {kind}")
    if source.ndim != _COLOURS or source.shape[0] != _COLOURS:
        last = source.shape[-1:] == (_COLOURS,)
        hint = "; colours come first in tensors: x.movedim(-1, 0)" if last else ""
        shape = tuple(source.shape)
        raise InputValueError(
            f"a tensor of a picture is shaped (3, H, W), got {shape}{hint}"
        )
    return source


def _of_array(array: np.ndarray[Any, Any]) -> Tensor:
    if array.ndim == _COLOURS and array.shape[-1] == _COLOURS:
        return from_array(array).movedim(-1, 0)
    raise InputValueError(
        f"an array of a picture is shaped (H, W, 3), got {array.shape}"
        f"{_hint_for(array.shape)}"
    )


def _hint_for(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:  # noqa: PLR2004 - rows and columns
        return "; for grey levels numpy.stack([x] * 3, -1)"
    if len(shape) == _COLOURS + 1:
        return "; several are a list: list(x)"
    if shape[-1:] == (4,):
        return "; without transparency x[..., :3]"
    first = shape[:1] == (_COLOURS,)
    return "; colours come last in arrays: numpy.moveaxis(x, 0, -1)" if first else ""


def _from_black_to_white(pixels: Tensor, said: ValueRange | None) -> Tensor:
    low, high = range_of(pixels, said)
    if pixels.dtype == torch.uint8 and (low, high) == BYTES:
        return pixels
    floats = pixels if pixels.is_floating_point() else pixels.float()
    return floats if (low, high) == (0, 1) else (floats - low) / (high - low)


def _colours_first(pixels: Tensor) -> Tensor:
    # Grey levels of 16 bits come as fractions.
    whole = pixels if pixels.dtype == torch.uint8 else pixels.round().byte()
    return whole.movedim(-1, 0)
