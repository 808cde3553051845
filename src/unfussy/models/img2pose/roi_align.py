"""
Regions of maps, pooled to a grid of equal size by bilinear samples.

After He et al., "Mask R-CNN", 2017, by the rules of the usual compiled operator without
its later shift of half a cell. N pictures, C channels, H and W the sides of a map,
K regions.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy.models.img2pose.compiled import fastest

__all__ = ["GRID", "own_roi_align", "roi_align"]

GRID: Final = 7
"""The bins to a side of a pooled region."""

_SAMPLES: Final = 2  # to a side of a bin


def roi_align(
    features: Tensor, regions: Tensor, owners: Tensor, scale: float
) -> Tensor:
    """
    Return the mean of four bilinear samples in each of the 7 x 7 bins of *regions*.

    A region is at least one cell wide and high. A sample more than one cell outside the
    map is zero; one less far outside takes the value at its edge.

    Args:
        features: ``(N, C, H, W)``.
        regions: ``(K, 4)``: left, top, right, bottom, in pixels.
        owners: ``(K,)``, which of the pictures each lies in.
        scale: Cells to a pixel.

    Returns:
        ``(K, C, 7, 7)``.
    """
    align = fastest("roi_align", features.device.type, own_roi_align, _trial)
    return align(features, regions, owners, scale)


def own_roi_align(
    features: Tensor, regions: Tensor, owners: Tensor, scale: float
) -> Tensor:
    """Return what `roi_align` returns, by nothing but PyTorch."""
    height, width = features.shape[-2:]
    left, top, right, bottom = (regions * scale).unbind(1)
    columns, column_weights = _corners(left, right, width)  # (K, 7, 4)
    rows, row_weights = _corners(top, bottom, height)
    rows = rows + (owners * height)[:, None, None]
    # One row of this table per cell: every bin is a weighted sum of 16 of them.
    table = features.movedim(1, -1).reshape(-1, features.shape[1])
    cells = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    pooled = F.embedding_bag(
        cells.reshape(-1, 16),
        table,
        mode="sum",
        per_sample_weights=weights.reshape(-1, 16).to(table.dtype),
    )
    return pooled.reshape(-1, GRID, GRID, features.shape[1]).movedim(-1, 1)


def _corners(start: Tensor, end: Tensor, n_cells: int) -> tuple[Tensor, Tensor]:
    """
    Return the cells along one axis that each bin takes part of, and how much of each.

    Two samples, each between two cells, make four: ``(K, 7, 4)``.
    """
    side = (end - start).clamp_min(1) / GRID
    bins = torch.arange(GRID, device=start.device)
    places = (torch.arange(_SAMPLES, device=start.device) + 0.5).to(start.dtype)
    samples = (start[:, None] + bins * side[:, None])[..., None] + (
        places * side[:, None] / _SAMPLES
    )[:, None]
    inside = (samples >= -1) & (samples <= n_cells)
    samples = samples.clamp(0, n_cells - 1)
    lower = samples.floor()
    part = samples - lower
    cells = torch.stack((lower, (lower + 1).clamp_max(n_cells - 1)), -1).long()
    weights = torch.stack((1 - part, part), -1) * (inside / _SAMPLES)[..., None]
    return cells.flatten(2), weights.flatten(2)


def _trial() -> tuple[Tensor, Tensor, Tensor, float]:
    """Return regions inside a map, across its edge, outside it, and of no size."""
    features = torch.arange(2 * 3 * 8 * 10.0).reshape(2, 3, 8, 10).sin()
    regions = torch.tensor(
        [
            [2.0, 3, 30, 25],
            [-20, -9, 15, 12],
            [35, 28, 60, 50],
            [90, 90, 120, 99],
            [7, 7, 7, 7],
        ]
    )
    return features, regions, torch.tensor([0, 1, 0, 1, 1]), 0.25
