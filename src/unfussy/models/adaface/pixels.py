"""
Pixels of arrays and tensors: where their colours are, what is black and what is white.

B batch, H height, W width. Arrays have colours last, as pictures have; tensors first.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models._ranges import Channels, ValueRange

__all__ = ["COLOURS", "pixels_of_array", "pixels_of_tensor", "scaled"]

COLOURS: Final = 3


def pixels_of_array(array: Tensor, /) -> Tensor:
    """
    Return what was an array with three colours, ``(..., H, W, 3)``.

    Raises:
        InputValueError: If it is not shaped like one or several pictures.
    """
    if array.ndim == 2:  # noqa: PLR2004 - grey levels alone
        array = array.unsqueeze(-1)
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3, 4):
        hint = _COLOURS_FIRST if array.shape[-3:-2] == (COLOURS,) else ""
        raise InputValueError(
            f"arrays of faces are shaped (H, W, 3) or (B, H, W, 3), got "
            f"{tuple(array.shape)}{hint}"
        )
    if array.shape[-1] == 1:
        return array.expand(*array.shape[:-1], COLOURS)
    return array[..., :COLOURS]


_COLOURS_FIRST: Final = (
    "; colours come last in arrays: move them with numpy.moveaxis(x, -3, -1), or pass "
    "a tensor"
)


def pixels_of_tensor(tensor: Tensor, /) -> Tensor:
    """
    Return a tensor ``(..., 3, H, W)`` as ``(..., H, W, 3)``.

    Raises:
        InputValueError: If it is not shaped like one or several pictures.
    """
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != COLOURS:
        is_last = tensor.shape[-1:] == (COLOURS,)
        hint = "; colours come first in tensors: x.movedim(-1, -3)" if is_last else ""
        raise InputValueError(
            f"tensors of faces are shaped (3, H, W) or (B, 3, H, W), got "
            f"{tuple(tensor.shape)}{hint}"
        )
    return tensor.movedim(-3, -1)


def scaled(pixels: Tensor, channels: Channels, value_range: ValueRange, /) -> Tensor:
    """Return ``(..., H, W, 3)`` as ``(..., 3, H, W)``, blue first, -1 to 1."""
    low, high = value_range
    centre, reach = (low + high) / 2, (high - low) / 2
    # One rounding, and so the same as the official double precision.
    values = pixels.to(torch.float32).sub(centre).div_(reach)
    blue_first = values.flip(-1) if channels == "rgb" else values
    return blue_first.movedim(-1, -3)
