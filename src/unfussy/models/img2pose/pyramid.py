"""
The feature pyramid: maps of every stage, each with what the coarser ones know.

After Lin et al., "Feature Pyramid Networks for Object Detection", 2017. N pictures,
C channels, H and W the sides of a canvas.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor, nn

from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.resnet import ResNet
from unfussy.models.img2pose.steady import SteadyConv2d

__all__ = ["Backbone", "FeaturePyramid"]


class FeaturePyramid(nn.Module):
    """
    Maps of four stages to five maps of equal depth.

    Args:
        widths: The channels of the stages.
        channels: The channels of the result.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        # Each in a Sequential of its own, as the official keys have it.
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(SteadyConv2d(width, channels, 1)) for width in widths
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(SteadyConv2d(channels, channels, 3, padding=1))
            for _ in widths
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map the stages' maps to as many, and a coarser one: every other cell."""
        inner = [block(x) for block, x in zip(self.inner_blocks, maps)]
        for finer in reversed(range(len(inner) - 1)):
            size = inner[finer].shape[-2:]
            inner[finer] = inner[finer] + F.interpolate(inner[finer + 1], size)
        outer = [block(x) for block, x in zip(self.layer_blocks, inner)]
        return [*outer, outer[-1][..., ::2, ::2]]


class Backbone(nn.Module):
    """
    The residual network with its pyramid.

    Args:
        architecture: How many layers, and how wide.
        eps: That of the frozen norms.
    """

    def __init__(self, architecture: Architecture, eps: float) -> None:
        super().__init__()
        self.body = ResNet(architecture, eps)
        self.fpn = FeaturePyramid(architecture.widths, architecture.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map ``(N, 3, H, W)`` to five maps, H / 4 to H / 64 high."""
        maps: list[Tensor] = self.fpn(self.body(images))
        return maps
