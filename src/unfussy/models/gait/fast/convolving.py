"""
Convolutions of frames whose channels come last.

F frames, H and W height and width, C channels in, O channels out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy.models.gait.fast.folding import Folded
from unfussy.models.gait.fast.winograd import Winograd

__all__ = ["Conv", "make_conv", "make_cube_conv", "make_window_conv"]

Conv: TypeAlias = Callable[[Tensor], Tensor]
"""Frames ``(F, H, W, C)`` to frames ``(F, H, W, O)``, or of half the size."""

_WINOGRAD_FROM: Final = 128
"""Channels from which on Winograd's convolution is faster, as was measured."""
_NEAR: Final = 3
"""A frame and its neighbours."""


@dataclass(frozen=True)
class _Direct:
    weight: Tensor  # (O, C, k, k), channels last
    bias: Tensor
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[2] // 2
        x = x.permute(0, 3, 1, 2)
        y = F.conv2d(x, self.weight, self.bias, self.stride, padding)
        return y.permute(0, 2, 3, 1).contiguous()


def make_conv(folded: Folded, dtype: torch.dtype, *, stride: int = 1) -> Conv:
    """
    Return a convolution 3x3 or 1x1 in the way that is fastest.

    Args:
        folded: Its weights; those 1x1 may have any number of trailing dimensions.
        dtype: The precision to compute in.
        stride: In both directions.
    """
    weight = folded.weight
    if weight.ndim != 4:  # noqa: PLR2004 - official shortcuts have three dimensions
        weight = weight.flatten(2)[..., None]
    wide = min(weight.shape[:2]) >= _WINOGRAD_FROM
    exact = dtype in {torch.float32, torch.float64}
    if wide and exact and stride == 1 and weight.shape[2] == 3:  # noqa: PLR2004
        return Winograd.of(weight, folded.bias, dtype)
    return _Direct(_laid_out(weight, dtype), folded.bias.to(dtype), stride)


@dataclass(frozen=True)
class _Window:
    weight: Tensor  # (O, C, 3, 1), channels last
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        frames, height, width, channels = x.shape
        if frames < _NEAR:
            return x.new_empty(0, height, width, len(self.bias))
        # Frames are the rows of one picture; nothing is copied.
        rows = x.view(1, frames, height * width, channels).permute(0, 3, 1, 2)
        y = F.conv2d(rows, self.weight, self.bias).permute(0, 2, 3, 1)
        return y.contiguous().view(frames - 2, height, width, -1)


def make_window_conv(folded: Folded, dtype: torch.dtype) -> Conv:
    """Return a convolution over three successive frames: F of them give F - 2."""
    weight = folded.weight.flatten(2)[..., None]
    return _Window(_laid_out(weight, dtype), folded.bias.to(dtype))


@dataclass(frozen=True)
class _Stacked:
    conv: Conv

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) < _NEAR:
            return self.conv(x.new_empty(0, *x.shape[1:3], 3 * x.shape[3]))
        triples = x.unfold(0, _NEAR, 1).transpose(3, 4)  # (F - 2, H, W, 3, C)
        return self.conv(triples.flatten(3))


def make_cube_conv(folded: Folded, dtype: torch.dtype, *, stride: int = 1) -> Conv:
    """
    Return a convolution 3x3x3: F frames give F - 2.

    It is one of single pictures that have the channels of three successive frames.

    Args:
        folded: Its weights ``(O, C, 3, 3, 3)``.
        dtype: The precision to compute in.
        stride: In space, in both directions.
    """
    weight = folded.weight.transpose(1, 2).flatten(1, 2)
    return _Stacked(make_conv(Folded(weight, folded.bias), dtype, stride=stride))


def _laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype).contiguous(memory_format=torch.channels_last)
