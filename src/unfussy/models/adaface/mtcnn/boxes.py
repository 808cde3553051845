"""
Boxes, and which of those that overlap are kept.

N boxes ``(x1, y1, x2, y2)`` in pixels, both corners included: a box of one pixel has a
side of 1 and equal corners. They are in double precision, on the CPU.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Rule", "clip", "keep_best", "moved_by", "sides", "squared"]

Rule: TypeAlias = Literal["union", "smaller"]

_BLOCK: Final = 256


def sides(boxes: Tensor, /) -> Tensor:
    """Return the widths and heights ``(N, 2)`` of *boxes* ``(N, 4)``."""
    return boxes[:, 2:] - boxes[:, :2] + 1


def moved_by(boxes: Tensor, offsets: Tensor, /) -> Tensor:
    """Return *boxes* with corners moved by *offsets* ``(N, 4)``, in sides."""
    return boxes + sides(boxes).repeat(1, 2) * offsets


def squared(boxes: Tensor, /) -> Tensor:
    """Return squares with the middles and the longer sides of *boxes*, rounded."""
    size = sides(boxes)
    longer = size.amax(1, keepdim=True)
    corner = boxes[:, :2] + size * 0.5 - longer * 0.5
    return torch.cat((corner, corner + longer - 1), 1).round()


def clip(boxes: Tensor, height: int, width: int, /) -> Tensor:
    """Return *boxes* with corners inside a picture."""
    most = boxes.new_tensor([width, height, width, height]) - 1
    return boxes.clamp(min=0).minimum(most)


def keep_best(
    boxes: Tensor, scores: Tensor, threshold: float, /, rule: Rule = "union"
) -> Tensor:
    """
    Return which boxes to keep: none overlaps a better one that is kept too far.

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``; of two equal ones the later is better.
        threshold: How much two may overlap.
        rule: What an overlap is measured by: the ``"union"`` of the boxes, or the
            ``"smaller"`` of them.

    Returns:
        Indices ``(K,)``, the best first.

    Examples:
        >>> boxes = torch.tensor([[0, 0, 9, 9], [1, 0, 10, 9], [20, 0, 29, 9.0]])
        >>> keep_best(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.5)
        tensor([1, 2])
    """
    order = scores.argsort(stable=True).flip(0)
    kept = order[:0]
    # By blocks: few boxes are kept, so most pairs need never be looked at.
    for block in torch.split(order, _BLOCK):
        beaten = _overlap(boxes[kept], boxes[block], rule).gt(threshold).any(0)
        left = block[~beaten]
        kept = torch.cat((kept, left[_best_of(boxes[left], threshold, rule)]))
    return kept


def _best_of(boxes: Tensor, threshold: float, rule: Rule) -> Tensor:
    """Return which of *boxes*, the best first, are kept, ``(N,)``."""
    beats = _overlap(boxes, boxes, rule).gt(threshold).triu(1)
    keeps = beats.new_ones(len(boxes))
    while True:  # the first k are right after k rounds, mostly all of them after few
        now = ~(beats & keeps[:, None]).any(0)
        if torch.equal(now, keeps):
            return keeps
        keeps = now


def _overlap(a: Tensor, b: Tensor, rule: Rule) -> Tensor:
    """Return how much each of *a* and each of *b* overlap, ``(A, B)``."""
    corner = torch.maximum(a[:, None, :2], b[:, :2])
    size = torch.minimum(a[:, None, 2:], b[:, 2:]) - corner + 1
    shared = size.clamp(min=0).prod(-1)
    area_a, area_b = sides(a).prod(1)[:, None], sides(b).prod(1)
    if rule == "smaller":
        return shared / torch.minimum(area_a, area_b)
    return shared / (area_a + area_b - shared)
