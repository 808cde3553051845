"""
Layers whose numbers for one item do not depend on how many others come with it.

On a CPU PyTorch has other algorithms for one small picture, and for few rows, than for
several; they differ in the last bits, by which near ties are decided. What is small
enough for them is made larger here, and the rest of the result dropped.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor, nn

__all__ = ["MOST_ALONE", "SteadyConv2d", "with_rows"]

MOST_ALONE: Final = 20_480
"""How many numbers a picture has at most that PyTorch treats otherwise if alone."""

_ROWS: Final = 32


class SteadyConv2d(nn.Conv2d):
    """A convolution to which a picture alone is as good as one among others."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name it has
        """Map ``(N, C, H, W)``."""
        alone = len(input) == 1 and input.numel() <= MOST_ALONE
        if not (alone and input.device.type == "cpu"):
            return super().forward(input)
        return super().forward(torch.cat((input, input)))[:1]


def with_rows(rows: Tensor) -> Tensor:
    """Return ``(K, D)`` with rows of zeros after it, if K is less than 32."""
    return F.pad(rows, (0, 0, 0, max(0, _ROWS - len(rows))))
