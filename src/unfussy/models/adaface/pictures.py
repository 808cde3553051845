"""
Picture files and Pillow pictures, upright and in colour.

A camera writes beside the pixels how it was held (EXIF). Here that is always obeyed:
a face that lies on its side is no face to the network.
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike, fspath
from typing import Any

import numpy as np
from torch import Tensor

from unfussy._arrays import from_array, from_picture
from unfussy.errors import InputValueError, MissingExtraError

__all__ = ["UnreadableImageError", "read_file", "read_picture"]

_SIXTEEN_BITS = 257  # 65535 / 255: how many levels of 16 bits one of 8 bits is


class UnreadableImageError(InputValueError, OSError):
    """A file is no picture, or a damaged one."""


def read_file(path: str | PathLike[str], /) -> Tensor:
    """
    Return the picture in a file as ``(H, W, 3)``, red first, 0 to 255.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingExtraError: If Pillow is not installed.
        UnreadableImageError: If the file cannot be read.
    """
    try:
        with _pillow("PIL.Image").open(path) as picture:
            return read_picture(picture)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableImageError(
            f"{fspath(path)} cannot be read as a picture ({reason})"
        ) from error


def read_picture(picture: Any, /) -> Tensor:
    """
    Return a Pillow picture as ``(H, W, 3)``, red first, 0 to 255.

    It is turned as its EXIF data say. Palettes, grey levels (of 16 bits too) and
    colour spaces are converted; transparency is dropped.

    Raises:
        InputValueError: If its numbers have no known range, or cannot be read.
    """
    upright = _pillow("PIL.ImageOps").exif_transpose(picture)
    if upright.mode.startswith("I;16"):
        grey = np.asarray(upright).astype(np.float32) / _SIXTEEN_BITS
        return from_array(grey).unsqueeze(-1).expand(-1, -1, 3)
    return from_picture(upright).permute(1, 2, 0)


def _pillow(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError("Pillow", "images") from error
