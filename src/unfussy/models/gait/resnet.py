"""
The residual network of GaitBase and XGait: nine layers, no pooling.

F frames, C channels, H and W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from unfussy.models.gait.blocks import flat_stage
from unfussy.models.gait.shapes import Shapes

__all__ = ["ResNet9", "resnet_of"]

_STAGES = range(1, 5)


class ResNet9(nn.Module):
    """
    A residual network of single frames.

    Args:
        n_in: The channels of a frame.
        channels: Those of each of the four stages.
        layers: The blocks of each.
        strides: The stride of each.
    """

    def __init__(
        self,
        n_in: int,
        channels: Sequence[int],
        layers: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.conv1 = _Stem(n_in, channels[0])
        self.bn1 = nn.BatchNorm2d(channels[0])
        widths = zip((channels[0], *channels), channels)
        for i, width, count, stride in zip(_STAGES, widths, layers, strides):
            self.add_module(f"layer{i}", flat_stage(*width, count, stride))

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(F, C, H, W)`` to ``(F, 512, H / 4, W / 4)``, by official sizes."""
        maps: Tensor = self.bn1(self.conv1(frames)).relu()
        for i in _STAGES:
            maps = self.get_submodule(f"layer{i}")(maps)
        return maps


class _Stem(nn.Module):
    """The first convolution, which official weights keep one level deeper."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, 1, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        mapped: Tensor = self.conv(frames)
        return mapped


def resnet_of(shapes: Shapes, prefix: str, /) -> dict[str, Any]:
    """
    Return the layers and channels of the network whose keys begin with *prefix*.

    Raises:
        CheckpointError: If a tensor that tells is missing.
    """
    stages = [f"{prefix}layer{i}." for i in _STAGES]
    return {
        "layers": tuple(map(shapes.count, stages)),
        "channels": tuple(shapes.of(f"{s}0.conv1.weight", 4)[0] for s in stages),
    }
