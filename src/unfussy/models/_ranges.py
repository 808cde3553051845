"""
What the numbers of pictures mean: the order of colours, what is black, what is white.

Bytes tell that themselves. Of all else it has to be said: a network that sees black, or
blue for red, gives wrong answers and does not say why.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = ["BYTES", "Channels", "ValueRange", "check_said", "range_of"]

Channels: TypeAlias = Literal["rgb", "bgr"]
"""The order of colours: red first, or blue first."""
ValueRange: TypeAlias = tuple[float, float]
"""The numbers of black and of white."""

BYTES: Final = (0.0, 255.0)
_SLACK: Final = 0.05  # of the range: resizing with a sharp filter overshoots


def check_said(channels: object, value_range: object, /) -> None:
    """
    Check what a caller said of the order of colours and the range of values, if at all.

    Raises:
        InputValueError: If it is neither an order nor a range.
    """
    if channels not in ("rgb", "bgr", None):
        raise InputValueError(f"channels is 'rgb' or 'bgr', got {channels!r}")
    if value_range is None:
        return
    match value_range:
        case (float() | int() as low, float() | int() as high) if low < high:
            return
    raise InputValueError(
        "value_range is the numbers of black and white, such as (0, 1), got "
        f"{value_range!r}"
    )


def range_of(pixels: Tensor, said: ValueRange | None, /) -> ValueRange:
    """
    Return the numbers of black and white, known or *said*.

    Raises:
        InputValueError: If they are neither, or do not go with the values.
    """
    if pixels.dtype == torch.uint8 and said in (None, BYTES):
        return BYTES
    name = str(pixels.dtype).removeprefix("torch.")
    if said is None:
        raise InputValueError(
            f"{name} does not tell what is black and what is white: write "
            "value_range=(0, 1), (-1, 1) or (0, 255), or convert to uint8"
        )
    low, high = said
    least, most = (x.item() for x in pixels.aminmax()) if pixels.numel() else said
    slack = _SLACK * (high - low)
    if not (low - slack <= least and most <= high + slack):  # NaN fails this too
        raise InputValueError(
            f"a picture of {name} holds {least:g} to {most:g}, which does not go with "
            f"value_range={said!r}"
        )
    return said
