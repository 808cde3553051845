"""
Pictures as the network takes them: normalised, resized, and put on a canvas.

A picture lies at the top left of its canvas, whose sides are multiples of 32; the rest
is zero, which after normalisation is the average colour. H and W are the sides of a
picture, h and w those of it resized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = ["STRIDE", "Size", "canvas_of", "on_canvas", "prepare", "resized_size"]

Size: TypeAlias = tuple[int, int]
"""A height and a width, in pixels."""

STRIDE: Final = 32
"""What the sides of a canvas are multiples of: pixels to a cell of the coarsest map."""

_MEAN: Final = (0.485, 0.456, 0.406)
_STDDEV: Final = (0.229, 0.224, 0.225)
_BYTES: Final = 255


def resized_size(
    height: int, width: int, min_size: int = 640, max_size: int = 1400
) -> Size:
    """
    Return the size to which a picture is resized.

    Its shorter side becomes *min_size*, unless the longer would then exceed
    *max_size*. Sides are rounded down as floats tell them, so that 581 pixels become
    639 and not 640.

    Examples:
        >>> resized_size(480, 640), resized_size(581, 581), resized_size(100, 1000)
        ((640, 853), (639, 639), (140, 1400))
    """
    if min(height, width) < 1:
        raise InputValueError(f"a picture of {height} x {width} pixels has none")
    scale = min(min_size / min(height, width), max_size / max(height, width))
    # One pixel is left of the shorter side of an endless panorama.
    return max(1, floor(height * scale)), max(1, floor(width * scale))


def canvas_of(height: int, width: int) -> Size:
    """
    Return the size of the canvas for a resized picture: rounded up to 32.

    Examples:
        >>> canvas_of(640, 853)
        (640, 864)
    """
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE


def prepare(picture: Tensor, size: Size) -> Tensor:
    """
    Return *picture* normalised, and then resized to *size*.

    Args:
        picture: ``(3, H, W)``, red first; bytes, or floats from 0 to 1.
        size: The height h and the width w to resize to.

    Returns:
        ``(3, h, w)``, float32 unless *picture* is float64.
    """
    if picture.ndim != 3 or len(picture) != 3:  # noqa: PLR2004
        shape = tuple(picture.shape)
        raise InputValueError(f"prepare() takes a picture (3, H, W), got {shape}")
    if picture.dtype == torch.uint8:
        picture = picture.float() / _BYTES
    elif picture.dtype != torch.float64:
        picture = picture.float()
    mean, stddev = (
        picture.new_tensor(channel)[:, None, None] for channel in (_MEAN, _STDDEV)
    )
    batch = ((picture - mean) / stddev)[None]
    return F.interpolate(batch, size, mode="bilinear", align_corners=False)[0]


def on_canvas(pictures: Iterable[Tensor], canvas: Size) -> Tensor:
    """
    Return prepared *pictures* each on a canvas of its own, ``(N, 3, H, W)``.

    Args:
        pictures: Each ``(3, h, w)``, at least one.
        canvas: The height H and the width W of all, multiples of 32.

    Raises:
        InputValueError: If there is no picture, or one is larger than the canvas.
    """
    given = list(pictures)
    if not given:
        raise InputValueError("on_canvas() takes at least one picture, got none")
    _check(given, canvas)
    batch = given[0].new_zeros(len(given), 3, *canvas)
    for place, picture in zip(batch, given):
        place[:, : picture.shape[1], : picture.shape[2]] = picture
    return batch


def _check(pictures: Sequence[Tensor], canvas: Size) -> None:
    if any(side % STRIDE for side in canvas):
        raise InputValueError(
            f"the sides of a canvas are multiples of {STRIDE}, got {canvas}: "
            "canvas_of() tells them"
        )
    for i, picture in enumerate(pictures):
        if picture.shape[1] > canvas[0] or picture.shape[2] > canvas[1]:
            shape = tuple(picture.shape)
            raise InputValueError(
                f"picture {i}, {shape}, is larger than its canvas {canvas}"
            )
