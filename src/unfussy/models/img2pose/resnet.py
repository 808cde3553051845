"""
The residual network, whose norms are frozen: official layers and keys.

After He et al., "Deep Residual Learning for Image Recognition", 2015. N pictures,
C channels, H and W the sides of a map.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.steady import SteadyConv2d

__all__ = ["FrozenNorm", "ResNet"]

_STAGES: Final = range(1, 5)


class FrozenNorm(nn.Module):
    """
    A batch norm whose statistics and weights never change.

    Args:
        width: How many channels it has.
        eps: What is added to variances.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift the channels of ``(N, C, H, W)``."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        # In the precision of x, which autocast may have lowered.
        scale, shift = (each.to(x.dtype)[:, None, None] for each in (scale, shift))
        return torch.addcmul(shift, x, scale)


class ResNet(nn.Module):
    """
    Four stages of residual units.

    Args:
        architecture: How many units, and how wide.
        eps: That of the frozen norms.
    """

    def __init__(self, architecture: Architecture, eps: float) -> None:
        super().__init__()
        stem = architecture.stem
        self.conv1 = SteadyConv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = FrozenNorm(stem, eps)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        n_in = stem
        for i, n_units in zip(_STAGES, architecture.units):
            n_out, stride = architecture.widths[i - 1], 1 if i == 1 else 2
            unit = Bottleneck if architecture.bottleneck else BasicUnit
            strides = [stride] + [1] * (n_units - 1)
            inputs = [n_in] + [n_out] * (n_units - 1)
            stage = (unit(n, n_out, step, eps) for n, step in zip(inputs, strides))
            self.add_module(f"layer{i}", nn.Sequential(*stage))
            n_in = n_out

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, 3, H, W)`` to the maps of the stages, H / 4 to H / 32 high."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        maps = []
        for i in _STAGES:
            x = self.get_submodule(f"layer{i}")(x)
            maps.append(x)
        return maps


class BasicUnit(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, eps: float) -> None:
        super().__init__()
        self.conv1 = _conv(3, n_in, n_out, stride)
        self.bn1 = FrozenNorm(n_out, eps)
        self.conv2 = _conv(3, n_out, n_out)
        self.bn2 = FrozenNorm(n_out, eps)
        self.downsample = _shortcut(n_in, n_out, stride, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, H, W)`` to ``(N, C_out, H / stride, W / stride)``."""
        residual: Tensor = self.bn1(self.conv1(x)).relu()
        residual = self.bn2(self.conv2(residual))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return (residual + shortcut).relu()


class Bottleneck(nn.Module):
    """Three convolutions, the middle one narrow, and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, eps: float) -> None:
        super().__init__()
        inner = n_out // 4
        self.conv1 = _conv(1, n_in, inner)
        self.bn1 = FrozenNorm(inner, eps)
        self.conv2 = _conv(3, inner, inner, stride)
        self.bn2 = FrozenNorm(inner, eps)
        self.conv3 = _conv(1, inner, n_out)
        self.bn3 = FrozenNorm(n_out, eps)
        self.downsample = _shortcut(n_in, n_out, stride, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C_in, H, W)`` to ``(N, C_out, H / stride, W / stride)``."""
        residual: Tensor = self.bn1(self.conv1(x)).relu()
        residual = self.bn2(self.conv2(residual)).relu()
        residual = self.bn3(self.conv3(residual))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return (residual + shortcut).relu()


def _conv(side: int, n_in: int, n_out: int, stride: int = 1) -> SteadyConv2d:
    return SteadyConv2d(n_in, n_out, side, stride, side // 2, bias=False)


def _shortcut(n_in: int, n_out: int, stride: int, eps: float) -> nn.Sequential | None:
    if n_in == n_out and stride == 1:
        return None
    return nn.Sequential(_conv(1, n_in, n_out, stride), FrozenNorm(n_out, eps))
