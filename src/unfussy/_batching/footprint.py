"""
How much memory a chunk will need, from what chunks before it took.

Bytes are taken to grow in proportion with cost, from what any chunk needs.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

__all__ = ["Footprint"]

_MOST_SAMPLES: Final = 32


class Footprint:
    """
    A line through the measured peaks of chunks: ``bytes = base + slope * cost``.

    Examples:
        >>> footprint = Footprint()
        >>> footprint.add(cost=10, peak=1_200)
        >>> footprint.add(cost=20, peak=2_200)
        >>> footprint.greatest_cost(10_200)
        100.0
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MOST_SAMPLES)

    def __bool__(self) -> bool:
        return bool(self._samples)

    @property
    def largest(self) -> float:
        """The greatest cost that was measured, 0 if none was."""
        return max((cost for cost, _ in self._samples), default=0.0)

    def add(self, cost: float, peak: float) -> None:
        """Learn that a chunk of *cost* took *peak* bytes; 0 says nothing."""
        if cost > 0 and peak > 0:
            self._samples.append((cost, peak))

    def greatest_cost(self, n_bytes: float) -> float:
        """Return the cost that fits into *n_bytes*; infinite while nothing is known."""
        if not self._samples:
            return inf
        base, slope = self._line()
        cost = (n_bytes - base) / slope if slope > 0 else inf
        if slope <= 0 or base < 0:
            # Sizes too alike, noise, or more than in proportion: not to rely on alone.
            cost = min(cost, n_bytes / max(p / c for c, p in self._samples))
        return max(0.0, cost)

    def _line(self) -> tuple[float, float]:
        n = len(self._samples)
        cost = sum(c for c, _ in self._samples) / n
        peak = sum(p for _, p in self._samples) / n
        spread = sum((c - cost) ** 2 for c, _ in self._samples)
        shared = sum((c - cost) * (p - peak) for c, p in self._samples)
        slope = shared / spread if spread > 0 else 0.0
        return peak - slope * cost, slope
