"""
Frames of many sequences on one axis.

What looks at single frames runs on all of them at once. What looks along time runs
on each run of neighbouring sequences of one length, so that no sequence ever sees
another, nor padding. n sequences, s frames, F frames of all, C channels, H, W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = [
    "Run",
    "Runs",
    "along_time",
    "as_volume",
    "from_volume",
    "pool_time",
    "runs_of",
]


class Run(NamedTuple):
    """
    Neighbouring sequences of one length.

    Attributes:
        n: How many sequences.
        length: The frames of each, s.
    """

    n: int
    length: int


Runs: TypeAlias = tuple[Run, ...]
"""How all frames on one axis belong to sequences, in order."""


def runs_of(lengths: Iterable[int], /, frames: int) -> Runs:
    """
    Return the runs of sequences of such *lengths*.

    Args:
        lengths: The number of frames of each sequence, in order.
        frames: How many there are of all.

    Raises:
        InputValueError: If a sequence is empty, or the lengths do not add up.

    Examples:
        >>> runs_of([3, 3, 1], frames=7)
        (Run(n=2, length=3), Run(n=1, length=1))
    """
    numbers = [int(length) for length in lengths]
    if min(numbers, default=1) < 1:
        i = next(i for i, length in enumerate(numbers) if length < 1)
        raise InputValueError(f"sequence {i} has {numbers[i]} frames; it needs one")
    if sum(numbers) != frames:
        raise InputValueError(
            f"lengths add up to {sum(numbers)} frames, but there are {frames}"
        )
    return tuple(Run(len(list(same)), length) for length, same in groupby(numbers))


def along_time(
    layer: Callable[[Tensor], Tensor], frames: Tensor, runs: Runs, /
) -> Tensor:
    """
    Apply a *layer* that looks along time, to each sequence by itself.

    Args:
        layer: Maps ``(n, C, s, H, W)`` to as many frames.
        frames: ``(F, C, H, W)``.
        runs: How they belong to sequences.
    """
    parts = []
    for run, part in zip(runs, _split(frames, runs)):
        moved = layer(_of_run(part, run).transpose(1, 2))
        parts.append(moved.transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def pool_time(frames: Tensor, runs: Runs, /) -> Tensor:
    """Return the maximum over each sequence: ``(F, ...)`` to ``(n, ...)``."""
    split = zip(runs, _split(frames, runs))
    parts = [_of_run(part, run).amax(1) for run, part in split]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def as_volume(frames: Tensor, /) -> Tensor:
    """View frames ``(F, C, H, W)`` as one volume, ``(1, C, F, H, W)``."""
    return frames.transpose(0, 1).unsqueeze(0)


def from_volume(volume: Tensor, /) -> Tensor:
    """Undo `as_volume`."""
    return volume.squeeze(0).transpose(0, 1)


def _split(frames: Tensor, runs: Runs) -> tuple[Tensor, ...]:
    if len(runs) == 1:
        return (frames,)
    return torch.split(frames, [run.n * run.length for run in runs])


def _of_run(frames: Tensor, run: Run) -> Tensor:
    return frames.reshape(run.n, run.length, *frames.shape[1:])
