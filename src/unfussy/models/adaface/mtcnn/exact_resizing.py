"""
Pillow's bilinear filter, bit by bit.

It counts in whole numbers: weights of 22 bits behind the point, and levels of 8 bits
between its two passes. Double precision holds all of them exactly. Width comes first,
as in all versions of Pillow but for pictures more than twice as high as wide, where
version 13 begins with the height.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

__all__ = ["resized_exactly"]

_ONE: Final = 2.0**22


def resized_exactly(pictures: Tensor, height: int, width: int, /) -> Tensor:
    """Return *pictures* ``(B, 3, H, W)``, `torch.uint8`, at another size."""
    small = pictures.cpu()  # not every device has double precision
    for axis, size in ((-1, width), (-2, height)):
        rows = small.movedim(axis, 0)
        weights = _weights(len(rows), size)
        sums = torch.sparse.mm(weights, rows.flatten(1).double())
        levels = ((sums + _ONE / 2) / _ONE).floor().byte()
        small = levels.reshape(-1, *rows.shape[1:]).movedim(0, axis)
    return small.to(pictures.device)


def _weights(before: int, after: int) -> Tensor:
    """Return how much each old pixel counts in each new one, ``(after, before)``."""
    ratio = before / after
    middles = (torch.arange(after, dtype=torch.float64) + 0.5) * ratio
    pixels = torch.arange(before, dtype=torch.float64)
    distances = (pixels - middles[:, None] + 0.5) * (1 / max(ratio, 1.0))
    weights = (1 - distances.abs()).clamp(min=0)
    weights *= 1 / weights.sum(1, keepdim=True)
    return (weights * _ONE + 0.5).floor().to_sparse()
