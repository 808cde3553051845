"""
Photos as people have them, made into tensors of 8-bit levels, red first.

A photo of unknown range is refused: a network that sees black finds no faces, and does
not say why. H height, W width.
"""

from __future__ import annotations

from os import PathLike
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array, is_picture
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._pictures import read_file, read_picture

__all__ = ["read_photo"]

_CHANNELS: Final = (1, 3, 4)


def read_photo(photo: Any, /) -> Tensor:
    """
    Return one photo as ``(3, H, W)``, `torch.uint8`, red first.

    Args:
        photo: A path; a Pillow picture; an array ``(H, W, 3)``, ``(H, W)`` or, its
            transparency dropped, ``(H, W, 4)``; or a tensor with its channels first.
            Files and pictures are turned as their EXIF data say. Arrays and tensors
            are 8-bit, red first.

    Raises:
        FileNotFoundError: If there is no file at a path.
        InputTypeError: If *photo* is of another kind or dtype.
        InputValueError: If it has another shape, or cannot be read.
    """
    if isinstance(photo, (str, PathLike)):
        return _channels_first(_levels(read_file(photo)))
    if is_picture(photo):
        return _channels_first(_levels(read_picture(photo)))
    if isinstance(photo, np.ndarray):
        photo = photo[..., None] if _is_grey(photo) else photo
        return _channels_first(from_array(photo))
    if isinstance(photo, Tensor):
        return _checked(photo[None] if _is_grey(photo) else photo)
    kind = type(photo).__name__
    raise InputTypeError(
        f"a photo is a path, a Pillow picture, an array or a tensor, several are a "
        f"list; got {kind}"
    )


def _is_grey(photo: Any) -> bool:
    return bool(photo.ndim == 2)  # noqa: PLR2004 - rows and columns


def _levels(pixels: Tensor) -> Tensor:
    return pixels.round().byte()  # grey levels of 16 bits come as fractions


def _channels_first(pixels: Tensor) -> Tensor:
    if pixels.ndim != 3 or pixels.shape[-1] not in _CHANNELS:  # noqa: PLR2004
        raise InputValueError(
            f"an array of a photo is shaped (H, W, 3), got {tuple(pixels.shape)}"
        )
    return _checked(pixels.permute(2, 0, 1))


def _checked(pixels: Tensor) -> Tensor:
    if pixels.ndim != 3 or pixels.shape[0] not in _CHANNELS:  # noqa: PLR2004
        raise InputValueError(
            f"a tensor of a photo is shaped (3, H, W), got {tuple(pixels.shape)}"
        )
    if pixels.dtype != torch.uint8:
        name = str(pixels.dtype).removeprefix("torch.")
        raise InputTypeError(
            f"photos are 8-bit levels, 0 to 255, got {name}; scale and convert them: "
            "(255 * x).round().byte() where white is 1"
        )
    return pixels[:3] if len(pixels) > 1 else pixels.expand(3, -1, -1)
