"""The three later stages of DeepGaitV2 and SkeletonGait++, and how to tell them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from torch import Tensor, nn

from unfussy.errors import CheckpointError, InputValueError
from unfussy.models.gait.blocks import Mode, make_stage
from unfussy.models.gait.packed import Runs
from unfussy.models.gait.shapes import Shapes

__all__ = ["add_stages", "check_sizes", "run_stages", "stages_of"]

_NAMES: Final = ("layer2", "layer3", "layer4")
_STRIDES: Final = (2, 2, 1)
_STAGES: Final = 4
# The first convolution of a stage, by mode, and its dimensions.
_FIRST: Final[dict[Mode, tuple[str, int]]] = {
    "p3d": ("0.conv1.forward_block.0.weight", 4),
    "3d": ("0.conv1.weight", 5),
    "2d": ("forward_block.0.conv1.weight", 4),
}


def check_sizes(layers: Sequence[int], channels: Sequence[int], /) -> None:
    """
    Check what a network of four stages is made of.

    Raises:
        InputValueError: If there are not four, or one has no block.
    """
    for name, sizes in (("layers", layers), ("channels", channels)):
        if len(sizes) != _STAGES or min(sizes) < 1:
            raise InputValueError(f"{name} are four numbers from 1, got {sizes!r}")


def add_stages(
    network: nn.Module, mode: Mode, layers: Sequence[int], channels: Sequence[int]
) -> None:
    """Add the three later stages to a *network*, under their official names."""
    widths = pairwise(channels)
    for name, width, count, stride in zip(_NAMES, widths, layers[1:], _STRIDES):
        network.add_module(name, make_stage(mode, *width, count, stride))


def run_stages(network: nn.Module, maps: Tensor, runs: Runs) -> Tensor:
    """Map ``(F, C, H, W)`` to ``(F, 512, H / 4, W / 4)``, by official sizes."""
    for name in _NAMES:
        maps = network.get_submodule(name)(maps, runs)
    return maps


def stages_of(shapes: Shapes, first: str, /) -> dict[str, Any]:
    """
    Return mode, layers and channels of some weights.

    Args:
        shapes: Their shapes.
        first: What keys of the first stage begin with.

    Raises:
        CheckpointError: If a tensor that tells is missing.
    """
    width = shapes.of(f"{first}0.conv1.weight", 4)[0]
    mode = _mode_of(shapes)
    key, dims = _FIRST[mode]
    channels = [shapes.of(f"{name}.{key}", dims)[0] for name in _NAMES]
    inner = "forward_block." if mode == "2d" else ""
    prefixes = [first, *(f"{name}.{inner}" for name in _NAMES)]
    return {
        "mode": mode,
        "layers": tuple(map(shapes.count, prefixes)),
        "channels": (width, *channels),
    }


def _mode_of(shapes: Shapes) -> Mode:
    for mode, (key, _) in _FIRST.items():
        if f"layer2.{key}" in shapes.state:
            return mode
    raise CheckpointError(f"{shapes.source} lacks layer2; is it cut short?")
