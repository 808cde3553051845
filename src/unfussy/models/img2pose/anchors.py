"""
Anchors: the boxes at each cell of a map that proposals are told relative to.

A anchors of one map, three to a cell: row by row, and ratio by ratio within a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from unfussy.models.img2pose.transform import Size

__all__ = ["RATIOS", "SIZES", "make_anchors"]

SIZES: Final = (16, 32, 64, 128, 256)
"""The side, in pixels, of a square anchor of each map."""

RATIOS: Final = (0.5, 1.0, 2.0)
"""Height to width of the anchors of one cell."""


def make_anchors(
    canvas: Size, map_sizes: Sequence[Size], device: torch.device | None = None
) -> list[Tensor]:
    """
    Return the anchors of each map, float32, ``(A, 4)``: left, top, right, bottom.

    Cells are as far apart as the canvas has whole pixels to a cell. On the coarsest map
    that is 64 only if the side of the canvas is a multiple of 64: of 672 pixels it is
    61, and the official weights are used to that.

    Args:
        canvas: Its height and width.
        map_sizes: Those of the maps, finest first.
        device: Where to put them.
    """
    return [
        _anchors_of_map(canvas, map_size, size, device)
        for map_size, size in zip(map_sizes, SIZES)
    ]


def _anchors_of_map(
    canvas: Size, map_size: Size, size: int, device: torch.device | None
) -> Tensor:
    tops, lefts = (
        torch.arange(n_cells, device=device) * (side // n_cells)
        for side, n_cells in zip(canvas, map_size)
    )
    y, x = torch.meshgrid(tops, lefts, indexing="ij")
    corners = torch.stack((x, y, x, y), -1).reshape(-1, 1, 4)
    anchors = corners + torch.tensor(_anchors_of_cell(size), device=device)
    return anchors.reshape(-1, 4).float()


def _anchors_of_cell(size: int) -> list[list[int]]:
    # Python rounds halves to even, as the official code does.
    sides = [(size / sqrt(ratio), size * sqrt(ratio)) for ratio in RATIOS]
    return [[round(s / 2) for s in (-w, -h, w, h)] for w, h in sides]
