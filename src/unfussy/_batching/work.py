"""
Items that may share a chunk, and what chunks of them cost.

Looks at no item: only at how long each one is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy._batching.collate import Indices

__all__ = ["Lengths", "Work", "ascending", "merged"]

Lengths: TypeAlias = NDArray[np.float64]

_ROUNDING = 1 + 1e-9  # sums of lengths are rounded


@dataclass(frozen=True, slots=True)
class Work:
    """
    Items that may share a chunk.

    Attributes:
        indices: Which items.
        lengths: What each one costs, above 0; a number where all cost the same.
        padded: Whether a chunk costs as much as if all its items were as long as its
            longest; else their sum.
        ordered: Whether chunks have to be runs of items, in the caller's order.
    """

    indices: Indices
    lengths: float | Lengths
    padded: bool = False
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def cost(self) -> float:
        """What all items cost in one chunk."""
        lengths = self.lengths
        if not isinstance(lengths, np.ndarray):
            return len(self.indices) * lengths
        if self.padded:
            return float(len(self) * lengths.max(initial=0))
        return float(lengths.sum())

    @property
    def useful(self) -> float:
        """What all items cost without padding."""
        if not isinstance(self.lengths, np.ndarray):
            return self.cost
        return float(self.lengths.sum())

    def levelled(self) -> Work:
        """Return the same items, which cost a number if they all cost the same."""
        lengths = self.lengths
        if not isinstance(lengths, np.ndarray) or not len(lengths):
            return self
        first = float(lengths[0])
        even = bool((lengths == first).all())
        return Work(self.indices, first, ordered=self.ordered) if even else self

    def part(self, start: int, stop: int) -> Work:
        """Return some of the items."""
        lengths = self.lengths
        if isinstance(lengths, np.ndarray):
            lengths = lengths[start:stop]
        return Work(self.indices[start:stop], lengths, self.padded, self.ordered)

    def pick(self, chunk: NDArray[np.intp]) -> Work:
        """Return the items at some places among these."""
        lengths = self.lengths
        if isinstance(lengths, np.ndarray):
            lengths = lengths[chunk]
        indices = np.asarray(self.indices)[chunk]
        return Work(indices, lengths, self.padded, self.ordered)

    def head(self, allowed: float) -> int:
        """Return how many of the first items cost at most *allowed*, but one."""
        lengths, n = self.lengths, len(self.indices)
        if not isinstance(lengths, np.ndarray):
            return n if allowed >= n * lengths else max(1, int(allowed / lengths))
        if self.padded:
            costs = np.maximum.accumulate(lengths) * np.arange(1, n + 1)
        else:
            costs = lengths.cumsum()
        return max(1, int(np.searchsorted(costs, allowed * _ROUNDING, "right")))

    def split(self, keys: Sequence[Hashable]) -> list[Work]:
        """Return the items in groups of one key each; *keys* has one for every item."""
        groups: dict[Hashable, list[int]] = {}
        for place, i in enumerate(self.indices):
            groups.setdefault(keys[i], []).append(place)
        if len(groups) == 1:
            return [self]
        return [self.pick(np.array(group, dtype=np.intp)) for group in groups.values()]

    def from_longest(self) -> Work:
        """Return the items with the longest first."""
        if not isinstance(self.lengths, np.ndarray):
            return self
        return self.pick(np.argsort(-self.lengths, kind="stable"))

    def runs(self) -> list[Work]:
        """Return the items as runs that follow each other in the caller's order."""
        indices = np.asarray(self.indices)
        ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
        parts = [self.part(a, b) for a, b in zip([0, *ends], ends)]
        return [
            replace(part, indices=_as_run(part.indices), ordered=True)
            for part in parts
            if len(part)
        ]


def _as_run(indices: Indices) -> range:
    return range(int(indices[0]), int(indices[-1]) + 1)


def ascending(indices: Indices) -> Indices:
    """Return *indices* in the caller's order, as a range if they are one."""
    if isinstance(indices, range):
        return indices
    ordered = np.sort(indices)
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        return _as_run(ordered)
    return ordered


def merged(works: Iterable[Work]) -> Work:
    """Return the items of all *works*, which may share a chunk."""
    works = list(works)
    indices = np.concatenate([np.asarray(work.indices) for work in works])
    lengths = np.concatenate([np.asarray(work.lengths) for work in works])
    return Work(indices, lengths, works[0].padded)
