"""Medians with an interval for the true one, however the values scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, exp, log
from typing import Final

__all__ = ["SURE", "Estimate", "estimate", "estimate_of_factors"]

_CONFIDENCE: Final = 0.99
SURE: Final = 8
"""Of so many values, the extreme ones alone are an interval of 99 %."""
# How far beyond few values their interval reaches, in times of what they span.
_MARGINS: Final = {1: 0.0, 2: 9.0, 3: 3.0, 4: 2.0}


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    A measured value, with the interval that holds the true one, at 99 %.

    Attributes:
        value: The median.
        low: The interval's lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def estimate(values: Sequence[float]) -> Estimate:
    """
    Return the median of *values*, and an interval of 99 % for the true one.

    From eight values on it lies between two of them, as the sign test has it. Before,
    it is what they span, and as much again on either side, or more of less than five.
    """
    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    if n >= SURE:
        rank = _rank(n)
        return Estimate(middle, ordered[rank], ordered[n - 1 - rank])
    margin = _MARGINS.get(n, 1.0) * (ordered[-1] - ordered[0])
    return Estimate(middle, ordered[0] - margin, ordered[-1] + margin)


def estimate_of_factors(values: Sequence[float]) -> Estimate:
    """Return the same of values that are multiplied: times, and ratios of them."""
    found = estimate([log(value) for value in values])
    return Estimate(exp(found.value), exp(found.low), exp(found.high))


@lru_cache(maxsize=256)
def _rank(n: int) -> int:
    """Return how many values on either side lie outside the interval."""
    outside, rank = 0, 0
    while True:
        outside += comb(n, rank)
        if 2 * outside > (1 - _CONFIDENCE) * 2**n:
            return max(rank - 1, 0)
        rank += 1
