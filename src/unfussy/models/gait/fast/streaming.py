"""
One sequence, embedded while its frames come in.

F frames, C channels, H and W height and width, O channels and P parts of an embedding.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.fast.frames import Block, Span
from unfussy.models.gait.fast.running import Run

__all__ = ["Stream"]

_DIMENSIONS: Final = 4


class Stream:
    """
    A sequence that grows; made by `Form.stream`.

    Its memory does not. However the frames are cut into blocks, the embedding is the
    same to the last bit, because they are computed *chunk* at a time all the same.

    Args:
        run: What frames go through.
        channels: Of a frame.
        chunk: How many frames are computed at once.

    Raises:
        InputValueError: If *chunk* is less than 1.
    """

    def __init__(self, run: Run, channels: int, chunk: int) -> None:
        if chunk < 1:
            raise InputValueError(f"chunk is at least 1, got {chunk}")
        self._run, self._channels, self._chunk = run, channels, chunk
        self._waiting: Tensor | None = None

    def push(self, frames: Tensor) -> None:
        """
        Add the next frame, or the next frames, in the order of time.

        Args:
            frames: ``(C, H, W)`` or ``(F, C, H, W)``, scaled as the network takes
                them; where C is 1, also ``(H, W)`` or ``(F, H, W)``. They are copied.

        Raises:
            InputValueError: If their shape is another, or not that of earlier frames.
        """
        frames = self._checked(frames)
        waiting = self._waiting
        frames = frames.clone() if waiting is None else torch.cat([waiting, frames])
        while len(frames) > self._chunk:  # the last ones wait: they may be the end
            self._run.add(
                Block(frames[: self._chunk], (Span(self._chunk, ends=False),))
            )
            frames = frames[self._chunk :].clone()
        self._waiting = frames

    def finish(self) -> Tensor:
        """
        Return the embedding ``(1, O, P)``; what is pushed next begins another sequence.

        Raises:
            InputValueError: If there were no frames.
        """
        frames, self._waiting = self._waiting, None
        if frames is None or not len(frames):
            raise InputValueError("a sequence has at least one frame, got none")
        (embedding,) = self._run.add(Block(frames, (Span(len(frames), ends=True),)))
        return embedding[None]

    def _checked(self, frames: Tensor) -> Tensor:
        shape = tuple(frames.shape)
        if self._channels == 1 and frames.ndim in {2, 3}:
            frames = frames[..., None, :, :]
        if frames.ndim == _DIMENSIONS - 1:
            frames = frames[None]
        if frames.ndim != _DIMENSIONS or frames.shape[1] != self._channels:
            raise InputValueError(
                f"push() takes frames shaped ({self._channels}, H, W) or "
                f"(F, {self._channels}, H, W), got {shape}"
            )
        if self._waiting is not None and self._waiting.shape[1:] != frames.shape[1:]:
            raise InputValueError(
                f"frames of one sequence have one size: before "
                f"{tuple(self._waiting.shape[2:])}, now {shape[-2:]}"
            )
        return frames
