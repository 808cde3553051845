"""How a list of walks is cut into chunks, in a gait pipeline's words."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import torch
from torch import nn

from unfussy.errors import InputValueError
from unfussy.models.gait.walks import Walk, walk_cost

__all__ = ["BatchConfig"]

_GIB: Final = 2**30
_PIXELS: Final = 44 / 64  # of a square, that networks see
_MAPS: Final = 8  # of the first stage, that are alive at once


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """
    How a list of walks is cut into chunks; no setting ever changes an embedding.

    A chunk that does not fit into memory is cut and tried again, whatever is said here.
    On a CPU the walks of a chunk run one after the other, which is faster there.

    Attributes:
        max_batch_size: The most walks in a chunk. None finds out how many are best.
        enable_dynamic_batching: Whether walks of similar lengths share chunks, planned
            by their frames; embeddings come in the order given all the same. False
            takes walks as they come, whatever their lengths.
        sequence_length_tolerance: Lengths that differ by up to so many frames count as
            equal when chunks are planned. No walk is cut or padded.
        memory_threshold_gb: About how much memory, in GiB, the frames of a chunk may
            take on their way through the network: a budget in frames, counted as eight
            maps of the first stage each. A longer walk runs alone, weights count
            extra, and on a CPU a walk needs much less. None sets no limit but what the
            device has.

    Raises:
        InputValueError: If a setting has no meaning, or contradicts another one.

    Examples:
        >>> BatchConfig(max_batch_size=8, sequence_length_tolerance=5).max_batch_size
        8
    """

    max_batch_size: int | None = None
    enable_dynamic_batching: bool = True
    sequence_length_tolerance: int = 0
    memory_threshold_gb: float | None = None

    def __post_init__(self) -> None:
        _check_whole("max_batch_size", self.max_batch_size or 1, 1)
        if self.max_batch_size == 0:
            raise InputValueError("max_batch_size is 1 or more, or None, got 0")
        _check_whole("sequence_length_tolerance", self.sequence_length_tolerance, 0)
        threshold = self.memory_threshold_gb
        if threshold is not None and not threshold > 0:
            raise InputValueError(
                f"memory_threshold_gb is above 0, or None, got {threshold}"
            )
        if self.enable_dynamic_batching:
            return
        for name in ("sequence_length_tolerance", "memory_threshold_gb"):
            if getattr(self, name):
                raise InputValueError(
                    f"{name} goes by the lengths of walks, which "
                    "enable_dynamic_batching=False leaves out of account; drop one"
                )

    def settings_for(self, model: nn.Module, /, size: int = 64) -> dict[str, Any]:
        """
        Return this as `unfussy.options` has it, for frames of a *size*.

        Args:
            model: What embeds.
            size: The height of frames.
        """
        settings: dict[str, Any] = {"batch_size": self.max_batch_size or "auto"}
        if not self.enable_dynamic_batching:
            return settings | {"cost": _one}
        settings["cost"] = _Frames(self.sequence_length_tolerance)
        if self.memory_threshold_gb is not None:
            each = _bytes_of_frame(model, size)
            settings["budget"] = max(1.0, self.memory_threshold_gb * _GIB / each)
        return settings


@dataclass(frozen=True, slots=True)
class _Frames:
    """Gives the length of a walk in frames, rounded up by the tolerance."""

    tolerance: int

    def __call__(self, walk: Walk) -> float:
        step = self.tolerance + 1
        return float(ceil(walk_cost(walk) / step) * step)


def _one(_: Walk) -> float:
    return 1.0


def _bytes_of_frame(model: nn.Module, size: int) -> float:
    layers = (x for x in model.modules() if isinstance(x, (nn.Conv2d, nn.Conv3d)))
    first = next(layers)
    element = torch.finfo(first.weight.dtype).bits // 8
    return _MAPS * first.out_channels * size * size * _PIXELS * element


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputValueError(f"{name} is a whole number from {least}, got {value!r}")
