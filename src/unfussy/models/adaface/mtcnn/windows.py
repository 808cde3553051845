"""
Windows of several pictures that may hold a face, sorted out picture by picture.

N windows. They are so few numbers that they are on the CPU, in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from unfussy.models.adaface.mtcnn.boxes import Rule, keep_best

__all__ = ["Windows"]


@dataclass(frozen=True, slots=True)
class Windows:
    """
    Windows that may hold a face.

    Attributes:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        owners: ``(N,)``, which picture each is in.
        outputs: ``(N, 4)`` offsets of the last network, behind them ``(N, 10)``
            landmarks if it gave any.
    """

    boxes: Tensor
    scores: Tensor
    owners: Tensor
    outputs: Tensor

    def at(self, index: Tensor) -> Self:
        """Return the windows at *index*, by number or by truth."""
        return type(self)(*(column[index] for column in _columns(self)))

    def kept(self, threshold: float, rule: Rule = "union") -> Self:
        """Return those that overlap no better one of their picture too far."""
        index = [
            mine[keep_best(self.boxes[mine], self.scores[mine], threshold, rule)]
            for owner in torch.unique(self.owners)
            for mine in self.owners.eq(owner).nonzero().mT
        ]
        return self.at(torch.cat(index)) if index else self

    @classmethod
    def joined(cls, parts: list[Self], /) -> Self:
        """Return the windows of all *parts*, of which there is one at least."""
        return cls(*map(torch.cat, zip(*(_columns(part) for part in parts))))

    @classmethod
    def none(cls) -> Self:
        """Return no windows, with offsets as outputs."""
        empty = torch.empty(0, dtype=torch.float64)
        return cls(empty.view(0, 4), empty, empty.long(), empty.view(0, 4))


def _columns(windows: Windows) -> tuple[Tensor, ...]:
    return windows.boxes, windows.scores, windows.owners, windows.outputs
