"""
Whether larger chunks still run faster.

What a call costs besides its items is shared by more of them in a larger chunk, until
it hardly counts; beyond, caches overflow and larger chunks are slower. That size is
found by doubling, and looked for again once in a while.
"""

from __future__ import annotations

from math import inf
from typing import Final, Literal, TypeAlias

__all__ = ["Advice", "Pace"]

Advice: TypeAlias = Literal["double", "stay", "settle"]

_WORTH: Final = 0.95  # of the seconds per unit: what doubling has to beat
_SAMPLES: Final = 2  # one alone may have been held up by something else
_LOOK_AGAIN: Final = 256


class Pace:
    """The best seconds per unit of cost that chunks of each size have shown."""

    def __init__(self) -> None:
        self._rates: dict[float, float] = {}
        self._counts: dict[float, int] = {}
        self.is_settled = False

    def add(self, size: float, rate: float) -> None:
        """Learn that a chunk of *size* took *rate* seconds per unit."""
        self._rates[size] = min(rate, self._rates.get(size, inf))
        self._counts[size] = self._counts.get(size, 0) + 1

    def advise(self, size: float) -> Advice:
        """Say what to do after chunks of *size*: go on, wait, or take the best."""
        smaller = [rate for each, rate in self._rates.items() if each < size]
        if self._rates.get(size, inf) <= _WORTH * min(smaller, default=inf):
            return "double"
        return "settle" if self._counts.get(size, 0) >= _SAMPLES else "stay"

    def settle(self) -> float:
        """Return the best size, to stay at."""
        self.is_settled = True
        best = min(self._rates, key=lambda size: (self._rates[size], size))
        self._rates, self._counts = {best: self._rates[best]}, {best: 0}
        return best

    def is_due(self, size: float) -> bool:
        """Tell whether to look again, after so many chunks of the settled *size*."""
        return self.is_settled and self._counts.get(size, 0) >= _LOOK_AGAIN
