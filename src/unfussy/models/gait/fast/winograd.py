"""
Convolutions 3x3 with fewer multiplications: Winograd's F(4x4, 3x3) as matrix products.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", section 4.1: each
tile of 4x4 outputs is interpolated from 36 products instead of 144. All three steps
are plain matrix products. The points of the interpolation are not the usual 0, 1, -1,
2, -2 but ones that lose half as much in float32; a dense product does not care.

F frames, H and W height and width, C channels in, O channels out, N tiles.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

__all__ = ["Winograd"]

_TILE: Final = 4
_PATCH: Final = 6  # the pixels that a tile depends on, in a row
_TILES: Final = 96  # at once: enough for fast products, few enough for the caches
_POINTS: Final = (0.0, 0.65, -0.65, 1.5, -1.5)


@dataclass(frozen=True)
class Winograd:
    """
    A convolution 3x3 of stride 1 that pads one pixel of zeros.

    Against exact arithmetic it errs by about 1e-6 of the result's norm in float32,
    1.6 times as much as a plain convolution.

    Attributes:
        filters: ``(36, C, O)``, transformed.
        bias: ``(O,)``.
    """

    filters: Tensor
    bias: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Winograd:
        """Prepare *weight* ``(O, C, 3, 3)`` in its own precision; round to *dtype*."""
        _, of_filter, _ = _transforms(weight.dtype, weight.device)
        flat = weight.permute(2, 3, 1, 0).flatten(0, 1).flatten(1)  # (9, C * O)
        filters = (of_filter @ flat).to(dtype)
        out, channels = weight.shape[:2]
        return cls(filters.view(-1, channels, out), bias.to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve frames ``(F, H, W, C)``; returns ``(F, H, W, O)``, contiguous."""
        out = x.new_empty(*x.shape[:3], self.filters.shape[2])
        step = max(1, _TILES // (-(-x.shape[1] // _TILE) * -(-x.shape[2] // _TILE)))
        for part, place in zip(torch.split(x, step), torch.split(out, step)):
            if len(part):
                self._convolve(part, place)
        return out

    def _convolve(self, x: Tensor, out: Tensor) -> None:
        of_patch, _, to_tile = _transforms(x.dtype, x.device)
        patches = _patches(x)  # (6, 6, F, rows, columns, C)
        spread = of_patch @ patches.flatten(0, 1).flatten(1)
        products = spread.view(len(spread), -1, x.shape[3]) @ self.filters
        tiles = to_tile @ products.flatten(1)
        grid = (_TILE, _TILE, *patches.shape[2:5], out.shape[3])
        _join(tiles.view(grid), self.bias, out)


@functools.cache
def _transforms(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return the matrices that transform patches, filters and products."""
    points = np.array(_POINTS)
    others = [np.delete(points, i) for i in range(len(points))]
    infinite = np.eye(_PATCH)[-1:]  # the last point is infinity
    patch = np.array([*map(np.poly, others), np.zeros(5)])
    patch = np.hstack([patch[:, ::-1], np.zeros((_PATCH, 1))])
    patch[-1] = np.poly(points)[::-1]
    scale = np.array([math.prod(p - q) for p, q in zip(points, others)])
    filters = np.vstack([np.vander(points, 3, increasing=True), infinite[:, -3:]])
    filters[:-1] /= scale[:, None]
    tile = np.vstack([np.vander(points, _TILE, increasing=True), infinite[:, -_TILE:]])
    both = (np.kron(matrix, matrix) for matrix in (patch, filters, tile.T))
    return tuple(torch.tensor(each, dtype=dtype, device=device) for each in both)


def _patches(x: Tensor) -> Tensor:
    """Return the overlapping patches of padded frames, ``(6, 6, F, rows, cols, C)``."""
    frames, height, width, channels = x.shape
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    padded = x.new_zeros(frames, rows * _TILE + 2, columns * _TILE + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = x
    along = padded.unfold(1, _PATCH, _TILE).unfold(2, _PATCH, _TILE)
    return along.permute(4, 5, 0, 1, 2, 3).contiguous()


def _join(tiles: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write tiles ``(4, 4, F, rows, cols, O)`` plus *bias* to frames, cropped."""
    for rows, deep in _bands(out.shape[1]):
        for columns, wide in _bands(out.shape[2]):
            part = tiles[:deep, :wide, :, rows, columns].permute(2, 3, 0, 4, 1, 5)
            place = out[:, rows.start * _TILE :, columns.start * _TILE :]
            place = place[:, : part.shape[1] * deep, : part.shape[3] * wide]
            torch.add(part, bias, out=place.view(part.shape))


def _bands(length: int) -> Iterator[tuple[slice, int]]:
    """Yield the full tiles along *length*, then the last one if it is cut."""
    full, rest = divmod(length, _TILE)
    if full:
        yield slice(0, full), _TILE
    if rest:
        yield slice(full, full + 1), rest
