"""Frames of a sequence that have to wait for the next ones."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Delay", "Neighbours"]


class Neighbours:
    """
    Give each frame its two neighbours, a frame of zeros at both ends of a sequence.

    The last frame waits until the next one has come, so that of F frames, F - 1 are
    complete; at the end, all are.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def __call__(self, frames: Tensor, *, ends: bool) -> Tensor:
        """
        Return complete frames, with one more before them and one behind them.

        What is below zero is cut off on the way, which saves a copy.
        """
        zero = frames.new_zeros(1, *frames.shape[1:])
        last = zero if self._last is None else self._last
        first, count = len(last), len(frames)
        near = frames.new_empty(first + count + ends, *frames.shape[1:])
        near[:first] = last
        torch.clamp_min(frames, 0, out=near[first : first + count])
        near[first + count :] = 0
        # A copy: a part of them would keep them all.
        self._last = None if ends else near[-2:].clone()
        return near


class Delay:
    """Hold frames back until there is something to add them to."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def add_to(self, total: Tensor, frames: Tensor) -> None:
        """
        Add to *total*, in place, as many frames as it has, those held back first.

        Args:
            total: What is there by now.
            frames: The next ones. At the end of a sequence there are as many as are
                due, and none is left.
        """
        held = frames[:0] if self._held is None else self._held
        early = min(len(held), len(total))
        late = len(total) - early
        total[:early] += held[:early]
        total[early:] += frames[:late]
        self._held = torch.cat([held[early:], frames[late:]])
