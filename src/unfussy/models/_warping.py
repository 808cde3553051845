"""
Pieces cut out of photos along similarity transforms, by bilinear interpolation.

F pieces, H by W the photo, C its colours. What is cut out touches only the pixels that
it needs, so that a large photo is neither copied nor converted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._alignment import Size, height_and_width, invert_alignment

__all__ = ["warp"]


def warp(picture: Tensor, matrices: Tensor, /, *, size: Size = 112) -> Tensor:
    """
    Cut parallelograms out of one photo; outside of it there is black.

    Args:
        picture: ``(C, H, W)``, of any dtype; whole numbers are rounded.
        matrices: ``(F, 2, 3)`` or ``(2, 3)``, from the photo to the crop.
        size: The side of what is cut out, or its height and width, pixels.

    Returns:
        ``(F, C, size, size)`` or ``(C, size, size)``, of the dtype of *picture*.

    Raises:
        InputTypeError: If *picture* is no tensor.
        InputValueError: If a shape is another.

    Examples:
        >>> photo = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3)
        >>> warp(photo, torch.tensor([[1.0, 0, -1], [0, 1, 0]]), size=3)[0]
        tensor([[1, 2, 0],
                [4, 5, 0],
                [7, 8, 0]], dtype=torch.uint8)
    """
    _check(picture, matrices)
    x, y = _places(invert_alignment(matrices.to(picture.device)), size)
    crops = _interpolated(picture, x, y).movedim(0, -3)
    if picture.is_floating_point():
        return crops.to(picture.dtype)
    return (crops + 0.5).floor().to(picture.dtype)


def _check(picture: Any, matrices: Tensor) -> None:
    if not isinstance(picture, Tensor):
        kind = type(picture).__name__
        raise InputTypeError(f"a picture is a tensor (3, H, W) here, got a {kind}")
    if picture.ndim != 3:  # noqa: PLR2004 - channels, rows, columns
        raise InputValueError(
            f"one picture is shaped (3, H, W), got {tuple(picture.shape)}"
        )
    if matrices.shape[-2:] != (2, 3):
        raise InputValueError(
            f"matrices are shaped (..., 2, 3), got {tuple(matrices.shape)}"
        )


def _places(matrices: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Return where in the photo the pixels of the crops are, each ``(F, S, S)``."""
    height, width = height_and_width(size)
    columns = torch.arange(width).to(matrices)
    rows = torch.arange(height).to(matrices)[:, None]
    a, b, c = (matrices[..., i, None, None] for i in range(3))  # (F, 2, 1, 1)
    places = a * columns + b * rows + c
    return places[..., 0, :, :], places[..., 1, :, :]


def _interpolated(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the values ``(C, F, S, S)`` of *picture* between its pixels."""
    left, top = x.floor(), y.floor()
    right, bottom = x - left, y - top  # the weights of these neighbours
    parts = [
        _pixels(picture, column, row) * (part_x * part_y)
        for row, part_y in ((top, 1 - bottom), (top + 1, bottom))
        for column, part_x in ((left, 1 - right), (left + 1, right))
    ]
    return torch.stack(parts).sum(0)


def _pixels(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    column = x.clamp(0, max(width - 1, 0)).long()
    row = y.clamp(0, max(height - 1, 0)).long()
    return picture[:, row, column] * inside
