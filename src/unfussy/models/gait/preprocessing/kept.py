"""
Frames that were kept of a sequence, with which were dropped and why.

n frames that were kept, T frames there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DroppedFrame", "KeptFrames"]


@dataclass(frozen=True, slots=True)
class DroppedFrame:
    """
    A frame that was left out.

    Attributes:
        index: Its place in what was passed, from 0.
        reason: Why, in words.
    """

    index: int
    reason: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"frame {self.index}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrames:
    """
    The frames of a sequence that can be used, in their order.

    NumPy takes it for its `frames`; so do ``len``, indices and loops.

    Attributes:
        frames: ``(n, ...)``, what was made of them.
        kept: ``(n,)``, their places in what was passed.
        dropped: All others.
    """

    frames: NDArray[Any]
    kept: NDArray[np.int64]
    dropped: tuple[DroppedFrame, ...]

    @classmethod
    def gather(
        cls, made: Iterable[NDArray[Any] | str], empty: NDArray[Any]
    ) -> KeptFrames:
        """Sort frames from reasons why there is none; *empty* is what no frames are."""
        frames, kept, dropped = [], [], []
        for i, frame in enumerate(made):
            if isinstance(frame, str):
                dropped.append(DroppedFrame(i, frame))
            else:
                frames.append(frame)
                kept.append(i)
        stacked = np.stack(frames) if frames else empty
        return cls(stacked, np.array(kept, dtype=np.int64), tuple(dropped))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `frames`."""
        return self.frames.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `frames`."""
        return self.frames.dtype

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Return `frames`."""
        return np.array(self.frames, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        """Return how many were kept."""
        return len(self.frames)

    def __getitem__(self, index: Any) -> Any:
        """Return ``frames[index]``."""
        return self.frames[index]

    def __iter__(self) -> Iterator[Any]:
        """Return each frame in turn."""
        return iter(self.frames)

    def __str__(self) -> str:
        """Say how many were kept, and why the others were not."""
        n = len(self) + len(self.dropped)
        return "\n".join([f"{len(self)} of {n} frames kept", *map(str, self.dropped)])
