"""
Suppression of boxes that overlap a better one: greedy, exact, stable.

Boxes are ``(left, top, right, bottom)``. K boxes, best first once they are sorted.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from unfussy.models.img2pose.compiled import fastest

__all__ = ["nms", "overlaps", "sorted_nms"]

_BLOCK: Final = 256
_SLAB: Final = 1024


def nms(
    boxes: Tensor, scores: Tensor, threshold: float, limit: int | None = None
) -> Tensor:
    """
    Return the indices of the boxes that no better box suppresses, best first.

    A kept box suppresses the worse ones whose overlap with it, intersection over union,
    exceeds *threshold*; one that equals it stays. Of equal scores the earlier is the
    better. A box without area overlaps nothing.

    Args:
        boxes: ``(K, 4)``.
        scores: ``(K,)``.
        threshold: The overlap up to which boxes may stay together.
        limit: How many are wanted at most; the first of all, and found sooner.
    """
    order = scores.argsort(descending=True, stable=True)
    suppress = fastest("nms", boxes.device.type, sorted_nms, _trial)
    return order[suppress(boxes[order], threshold, limit)]


def sorted_nms(boxes: Tensor, threshold: float, limit: int | None) -> Tensor:
    """Return which of *boxes*, best first, are kept; block by block."""
    level = _rounded_down(threshold, boxes.dtype)
    kept = torch.empty(0, dtype=torch.long, device=boxes.device)
    for start in range(0, len(boxes), _BLOCK):
        block = boxes[start : start + _BLOCK]
        free = torch.ones(len(block), dtype=torch.bool, device=boxes.device)
        for better in torch.split(boxes[kept], _SLAB):
            free &= ~(overlaps(better, block) > level).any(0)
        free = _kept_in_block(overlaps(block, block) > level, free)
        kept = torch.cat((kept, start + free.nonzero()[:, 0]))
        if limit is not None and len(kept) >= limit:
            break
    return kept[:limit]


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Return the intersection over union of ``(I, 4)`` with ``(J, 4)``, ``(I, J)``."""
    shared = _shared_length(one[:, 0::2], other[:, 0::2])
    shared *= _shared_length(one[:, 1::2], other[:, 1::2])
    together = (_area(one)[:, None] + _area(other)).sub_(shared)
    return shared.div_(together)


def _shared_length(one: Tensor, other: Tensor) -> Tensor:
    """Return how long intervals ``(I, 2)`` and ``(J, 2)`` lie on each other."""
    end = torch.minimum(one[:, 1, None], other[:, 1].contiguous())
    return end.sub_(torch.maximum(one[:, 0, None], other[:, 0])).clamp_min_(0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _kept_in_block(suppresses: Tensor, free: Tensor) -> Tensor:
    """Decide one by one, which is faster on the CPU than a kernel for each."""
    matrix = np.triu(suppresses.cpu().numpy(), 1)
    keep = free.cpu().numpy().copy()
    for i, row in enumerate(matrix):
        if keep[i]:
            keep &= ~row
    return torch.from_numpy(keep).to(free.device)


def _rounded_down(threshold: float, dtype: torch.dtype) -> float:
    """
    Return the largest number of *dtype* that is not above *threshold*.

    An overlap of that precision exceeds both or neither, whereas one equal to the
    nearest number may be above *threshold*.
    """
    nearest = torch.tensor(threshold, dtype=dtype)
    if nearest.item() > threshold:
        nearest = nearest.nextafter(nearest.new_tensor(-math.inf))
    return nearest.item()


def _trial() -> tuple[Tensor, float, None]:
    """Return boxes of which some overlap by just the threshold, and one is none."""
    corner = torch.arange(40.0) % 9
    size = 4 + torch.arange(40.0) % 5
    boxes = torch.stack((corner, corner, corner + size, corner + size), 1)
    boxes[7, 2] = boxes[7, 0]
    edge = torch.tensor([[50.0, 0, 60, 10], [50, 0, 60, 5]])
    return torch.cat((boxes, edge)), 0.5, None
