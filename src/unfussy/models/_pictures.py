"""
Picture files and Pillow pictures, upright and in colour.

A camera writes beside the pixels how it was held (EXIF). That is obeyed unless asked
otherwise: a face that lies on its side is no face to a network.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfussy._arrays import from_array, from_picture
from unfussy._pillow import pillow
from unfussy.errors import InputValueError

__all__ = [
    "UnreadableImageError",
    "as_bytes",
    "read_file",
    "read_picture",
    "size_of_file",
    "size_of_picture",
]

T = TypeVar("T")

_ORIENTATION: Final = 0x0112
_ON_ITS_SIDE: Final = frozenset({5, 6, 7, 8})
_SIXTEEN_BITS: Final = 257  # 65535 / 255: how many levels of 16 bits one of 8 bits is


class UnreadableImageError(InputValueError, OSError):
    """A file is no picture, or a damaged one."""


def read_file(path: str | PathLike[str], /, *, exif: bool = True) -> Tensor:
    """
    Return the picture in a file as ``(H, W, 3)``, red first, 0 to 255.

    Args:
        path: Of the file.
        exif: Whether to turn it as its EXIF data say.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingExtraError: If Pillow is not installed.
        UnreadableImageError: If the file cannot be read.
    """
    return _opened(path, lambda picture: read_picture(picture, exif=exif))


def read_picture(picture: Any, /, *, exif: bool = True) -> Tensor:
    """
    Return a Pillow picture as ``(H, W, 3)``, red first, 0 to 255.

    It is turned as its EXIF data say. Palettes, grey levels (of 16 bits too) and
    colour spaces are converted; transparency is dropped.

    Args:
        picture: The picture.
        exif: Whether to turn it.

    Raises:
        InputValueError: If its numbers have no known range, or cannot be read.
    """
    upright = pillow("ImageOps").exif_transpose(picture) if exif else picture
    if upright.mode.startswith("I;16"):
        grey = np.asarray(upright).astype(np.float32) / _SIXTEEN_BITS
        return from_array(grey).unsqueeze(-1).expand(-1, -1, 3)
    return from_picture(upright).permute(1, 2, 0)


def as_bytes(pixels: Tensor, /) -> NDArray[np.uint8]:
    """Return bytes, or floats from 0 to 1, ``(..., 3, H, W)`` as ``(..., H, W, 3)``."""
    if pixels.is_floating_point():
        pixels = (pixels * 255 + 0.5).clamp(0, 255).to(torch.uint8)
    array: NDArray[np.uint8] = pixels.movedim(-3, -1).contiguous().cpu().numpy()
    return array


# --- unread ------------------------------------------------------------------------


def size_of_file(path: str | PathLike[str], /, *, exif: bool = True) -> tuple[int, int]:
    """
    Return the height and width that `read_file` gives, from the head of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingExtraError: If Pillow is not installed.
        UnreadableImageError: If the file is no picture.
    """
    return _opened(path, lambda picture: size_of_picture(picture, exif=exif))


def size_of_picture(picture: Any, /, *, exif: bool = True) -> tuple[int, int]:
    """Return the height and width that `read_picture` gives."""
    width, height = picture.size
    if exif and _orientation(picture) in _ON_ITS_SIDE:
        return width, height
    return height, width


def _orientation(picture: Any) -> int:
    # PNG has it behind the pixels too, and asking would decode all of them.
    if picture.format == "PNG" and not {"exif", "xmp"} & picture.info.keys():
        return 1
    return int(picture.getexif().get(_ORIENTATION, 1))


def _opened(path: str | PathLike[str], look: Callable[[Any], T]) -> T:
    try:
        with pillow().open(path) as picture:
            return look(picture)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableImageError(
            f"{fspath(path)} cannot be read as a picture ({reason})"
        ) from error
