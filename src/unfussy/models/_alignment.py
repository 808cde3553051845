"""
Similarity transforms of points in pictures: turned, scaled and moved, all at once.

F faces, P points. Points are ``(x, y)`` in pixels, the centre of the first pixel at
``(0, 0)``. Matrices ``(2, 3)`` map points of one picture to points of another.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = [
    "Scale",
    "Size",
    "height_and_width",
    "invert_alignment",
    "moved",
    "similarity",
]

Scale: TypeAlias = Literal["least_squares", "rms"]
Size: TypeAlias = int | tuple[int, int]


def height_and_width(size: Size, /) -> tuple[int, int]:
    """
    Return *size* as a height and a width.

    Raises:
        InputValueError: If it is neither a side nor two, in whole pixels above zero.
    """
    match size:
        case int(side) if side > 0:
            return side, side
        case (int(height), int(width)) if height > 0 and width > 0:
            return height, width
    raise InputValueError(
        f"size is a side in pixels or a height and a width, got {size!r}"
    )


def similarity(
    source: Tensor, target: Tensor, /, scale: Scale = "least_squares"
) -> Tensor:
    """
    Return the similarities ``(..., 2, 3)`` that bring *source* to *target*.

    Turned and moved they are for the least squared error, whatever the *scale*.

    Args:
        source: ``(..., P, 2)``.
        target: ``(..., P, 2)``, or what broadcasts with it.
        scale: For the least squared error too (Umeyama 1991, equations 40 to 43), or
            the ratio of how far the points are from their middle (``"rms"``), which is
            never smaller.
    """
    # Points as complex numbers: a rotation with a scale is one factor.
    a, b = (torch.complex(x[..., 0], x[..., 1]) for x in (source, target))
    from_middle = a - a.mean(-1, keepdim=True)
    spread = from_middle.abs().square().sum(-1)
    factor = (from_middle.conj() * b).sum(-1) / spread
    if scale == "rms":
        wanted = (b - b.mean(-1, keepdim=True)).abs().square().sum(-1)
        factor = factor / factor.abs() * (wanted / spread).sqrt()
    shift = b.mean(-1) - factor * a.mean(-1)
    rows = (factor.real, -factor.imag, shift.real, factor.imag, factor.real, shift.imag)
    return torch.stack(rows, -1).reshape(*factor.shape, 2, 3)


def moved(points: Tensor, matrices: Tensor, /) -> Tensor:
    """Return *points* ``(..., P, 2)`` moved by *matrices* ``(..., 2, 3)``."""
    return points @ matrices[..., :2].mT + matrices[..., None, :, 2]


def invert_alignment(matrices: Tensor, /) -> Tensor:
    """Return the matrices ``(..., 2, 3)`` that undo *matrices* ``(..., 2, 3)``."""
    linear = matrices[..., :2]
    (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
    adjugate = torch.stack((d, -b, -c, a), -1).reshape(linear.shape)
    inverse = adjugate / (a * d - b * c)[..., None, None]
    return torch.cat((inverse, -inverse @ matrices[..., 2:]), -1)
