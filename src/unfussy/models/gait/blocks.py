"""
The residual blocks of gait networks, over frames of many sequences on one axis.

All convolutions are without bias, and shortcuts have weights only where the shape
changes. Names are those of the official weights. F frames of all sequences, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from torch import Tensor, nn

from unfussy.models.gait.packed import Runs, along_time, as_volume, from_volume

__all__ = [
    "BLOCKS",
    "FlatBlock",
    "Framewise",
    "Mode",
    "PseudoBlock",
    "Stage",
    "VolumeBlock",
    "flat_stage",
    "make_stage",
    "make_stem",
]

Mode: TypeAlias = Literal["p3d", "3d", "2d"]
"""What the later stages look at: frames and then time, both at once, or frames."""


class Framewise(nn.Module):
    """A network of single frames, with ``forward_block`` before its keys."""

    def __init__(self, forward_block: nn.Module) -> None:
        super().__init__()
        self.forward_block = forward_block

    def forward(self, frames: Tensor, runs: Runs = ()) -> Tensor:  # noqa: ARG002
        """Map ``(F, C_in, H, W)`` to ``(F, C, H / stride, W / stride)``."""
        mapped: Tensor = self.forward_block(frames)
        return mapped


class Stage(nn.ModuleList):
    """Blocks one after the other, which may look along time."""

    def forward(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map ``(F, C_in, H, W)`` to ``(F, C, H / stride, W / stride)``."""
        for block in self:
            frames = block(frames, runs)
        return frames


class FlatBlock(nn.Module):
    """Two convolutions of single frames and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(n_in, n_out, stride)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = _conv(n_out, n_out)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = _projection(n_in, n_out, stride)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(F, C_in, H, W)`` to ``(F, C, H / stride, W / stride)``."""
        inner = self.bn2(self.conv2(self.bn1(self.conv1(frames)).relu()))
        shortcut = frames if self.downsample is None else self.downsample(frames)
        summed: Tensor = inner + shortcut
        return summed.relu()


class VolumeBlock(nn.Module):
    """Two convolutions of frames and time at once, and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3d(n_in, n_out, stride)
        self.bn1 = nn.BatchNorm3d(n_out)
        self.conv2 = _conv3d(n_out, n_out)
        self.bn2 = nn.BatchNorm3d(n_out)
        self.downsample = _projection3d(n_in, n_out, stride)

    def forward(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map ``(F, C_in, H, W)`` to ``(F, C, H / stride, W / stride)``."""
        inner = _on_volume(self.bn1, along_time(self.conv1, frames, runs)).relu()
        inner = _on_volume(self.bn2, along_time(self.conv2, inner, runs))
        return (inner + _shortcut(self.downsample, frames)).relu()


class PseudoBlock(nn.Module):
    """A convolution of frames, one of time with its own shortcut, one of frames."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        first = _conv(n_in, n_out, stride), nn.BatchNorm2d(n_out), nn.ReLU()
        second = _conv(n_out, n_out), nn.BatchNorm2d(n_out)
        self.conv1 = Framewise(nn.Sequential(*first))
        self.conv2 = Framewise(nn.Sequential(*second))
        self.shortcut3d = nn.Conv3d(
            n_out, n_out, (3, 1, 1), padding=(1, 0, 0), bias=False
        )
        self.sbn = nn.BatchNorm3d(n_out)
        self.downsample = _projection3d(n_in, n_out, stride)

    def forward(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map ``(F, C_in, H, W)`` to ``(F, C, H / stride, W / stride)``."""
        inner = self.conv1(frames)
        in_time = along_time(self.shortcut3d, inner, runs)
        inner = self.conv2((inner + _on_volume(self.sbn, in_time)).relu())
        summed: Tensor = inner + _shortcut(self.downsample, frames)
        return summed.relu()


BLOCKS: Final[Mapping[str, Callable[[int, int, int], nn.Module]]] = {
    "p3d": PseudoBlock,
    "3d": VolumeBlock,
}


def make_stem(n_in: int, n_out: int) -> Framewise:
    """Return the first convolution of a network."""
    layers = _conv(n_in, n_out), nn.BatchNorm2d(n_out), nn.ReLU()
    return Framewise(nn.Sequential(*layers))


def make_stage(mode: Mode, n_in: int, n_out: int, count: int, stride: int) -> nn.Module:
    """Return *count* blocks, the first of which changes the shape."""
    if mode == "2d":
        return Framewise(flat_stage(n_in, n_out, count, stride))
    block = BLOCKS[mode]
    more = [block(n_out, n_out, 1) for _ in range(count - 1)]
    return Stage([block(n_in, n_out, stride), *more])


def flat_stage(n_in: int, n_out: int, count: int, stride: int = 1) -> nn.Sequential:
    """Return *count* blocks of single frames, the first of which changes the shape."""
    more = [FlatBlock(n_out, n_out) for _ in range(count - 1)]
    return nn.Sequential(FlatBlock(n_in, n_out, stride), *more)


# --- layers --------------------------------------------------------------------------


def _on_volume(layer: nn.Module, frames: Tensor) -> Tensor:
    """Apply a layer that is made for volumes, but sees each frame by itself."""
    return from_volume(layer(as_volume(frames)))


def _shortcut(downsample: nn.Module | None, frames: Tensor) -> Tensor:
    return frames if downsample is None else _on_volume(downsample, frames)


def _conv(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)


def _conv3d(n_in: int, n_out: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(n_in, n_out, 3, (1, stride, stride), 1, bias=False)


def _projection(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
    )


def _projection3d(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(
        nn.Conv3d(n_in, n_out, 1, (1, stride, stride), bias=False),
        nn.BatchNorm3d(n_out),
    )
