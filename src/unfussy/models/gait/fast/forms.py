"""
A network that is only good for inference, and fast at it.

F frames, C channels, H and W height and width, O channels and P parts of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.fast.frames import cut_frames
from unfussy.models.gait.fast.pooling import Head
from unfussy.models.gait.fast.residual import Layer
from unfussy.models.gait.fast.running import Run
from unfussy.models.gait.fast.streaming import Stream

__all__ = ["Form"]

_CHUNK: Final = 8
_CHUNK_BF16: Final = 12
"""Frames at once; more are hardly faster, and need more memory."""


@dataclass(frozen=True, eq=False)
class Form:
    """
    The fast form of a model; made by `fast_form`.

    It never changes, and may be used by many threads at once.

    Attributes:
        layers: What frames go through.
        head: What pooled maps go through.
        channels: Of a frame. XGait has two: labels, then the silhouette.
        dtype: The precision that frames are computed in.
    """

    layers: tuple[Layer, ...]
    head: Head
    channels: int
    dtype: torch.dtype

    @property
    def chunk(self) -> int:
        """How many frames are computed at once."""
        return _CHUNK_BF16 if self.dtype is torch.bfloat16 else _CHUNK

    def embed(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """
        Embed sequences of any lengths, each as if it were alone.

        Memory does not grow with the number of frames.

        Args:
            frames: ``(F, C, H, W)``, scaled as the network takes them, one sequence
                behind the other.
            lengths: The number of frames of each, at least one.

        Returns:
            ``(n, O, P)``, not normalised.

        Raises:
            InputValueError: If the shapes do not fit.
        """
        if frames.ndim != 4 or frames.shape[1] != self.channels:  # noqa: PLR2004
            shape, wanted = tuple(frames.shape), f"(F, {self.channels}, H, W)"
            raise InputValueError(f"frames are shaped {wanted}, got {shape}")
        if min(lengths, default=1) < 1 or sum(lengths) != len(frames):
            raise InputValueError(
                f"lengths have to be at least 1 and to add up to the {len(frames)} "
                f"frames, got {list(lengths)}"
            )
        if not len(frames):
            return self.head.layers[0].new_empty(0, *self.head.shape)
        run = self._run()
        blocks = cut_frames(frames, lengths, self.chunk)
        found = [embedding for block in blocks for embedding in run.add(block)]
        return torch.stack(found)

    def stream(self, chunk: int | None = None) -> Stream:
        """
        Return a stream, which embeds a sequence while its frames come in.

        Args:
            chunk: How many frames are computed at once, as soon as one more is there;
                fewer are slower. None is what `embed` takes.
        """
        return Stream(
            self._run(), self.channels, self.chunk if chunk is None else chunk
        )

    def embed_stream(
        self, frames: Iterable[Tensor], *, chunk: int | None = None
    ) -> Tensor:
        """
        Embed one sequence of frames, or blocks of frames, as they come.

        Args:
            frames: As for `Stream.push`.
            chunk: As for `stream`.

        Returns:
            ``(1, O, P)``.
        """
        stream = self.stream(chunk)
        for each in frames:
            stream.push(each)
        return stream.finish()

    def _run(self) -> Run:
        return Run(self.layers, self.head, self.dtype)
