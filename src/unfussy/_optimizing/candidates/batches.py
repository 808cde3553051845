"""Chunks of another size, for methods that cut batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar, Final

from unfussy._optimizing.candidate import Candidate, Trial, Undo
from unfussy._optimizing.candidates.precisions import set_options

__all__ = ["BatchSize"]

_LIKELY: Final = 8


@dataclass(frozen=True)
class BatchSize(Candidate):
    """
    Chunks of a fixed size.

    Attributes:
        size: How many items run at once.
    """

    name: ClassVar[str] = "batch_size"
    summary: ClassVar[str] = "cut batches into chunks of another size"
    size: int = _LIKELY

    @classmethod
    def variants(cls, trial: Trial, /) -> Sequence[BatchSize]:
        """Return powers of two below the example's length, likely ones first."""
        n, sizes, size = _length(trial), [], 1
        while size < n:
            sizes.append(size)
            size *= 2
        likely = sorted(sizes, key=lambda size: abs(log2(size / _LIKELY)))
        return [cls(size) for size in likely] or [cls()]

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.plan.batch is None:
            return "the method does not cut batches"
        n = _length(trial)
        return None if self.size < n else f"the example has no more than {n} items"

    def apply(self, trial: Trial, /) -> Undo:
        """Set the size."""
        return set_options(trial, batch_size=self.size)


def _length(trial: Trial) -> int:
    """Return how many items the example has: the length of its longest argument."""
    return max((_items(x) for x in (*trial.args, *trial.kwargs.values())), default=0)


def _items(value: Any) -> int:
    if isinstance(value, dict):
        return max((_items(x) for x in value.values()), default=0)
    if isinstance(value, (str, bytes)):
        return 0
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 0
    return len(value) if hasattr(value, "__len__") else 0
