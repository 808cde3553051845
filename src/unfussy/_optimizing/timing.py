"""
Which of two callables is faster, and how sure that is.

Both are timed in turn, in random order, so that what disturbs the machine disturbs
both; each round gives one ratio. The median of the ratios is the answer, with an
interval that assumes nothing of their distribution, and rounds end when it is clear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from random import Random
from time import perf_counter
from typing import Final

from unfussy._optimizing.estimates import SURE, Estimate, estimate_of_factors

__all__ = [
    "MIN_GAIN",
    "Comparison",
    "Contender",
    "compare",
    "measure",
]

MIN_GAIN: Final = 1.02
"""How many times as fast something has to be to be worth having."""
_MIN_ROUNDS: Final = 3
# Asked after every round, chance alone would say yes sooner or later.
_LOOKS: Final = frozenset({3, 5, 8, 12, 18, 27, 40, 60, 90})
_MAX_ROUNDS: Final = 90
_BLOCK: Final = 2e-3  # seconds: calls shorter than this are timed many at once
_MOST_CALLS: Final = 10_000
_WARM_CALLS: Final = 2

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Contender:
    """
    What is timed.

    Attributes:
        call: Does the work, and waits until it is done only if that is not for *wait*.
        force: A context in which settings of the process are as it needs them; None if
            it needs none. It is entered once for every block of calls.
        wait: Waits until the device has done what was asked of it.
    """

    call: Callable[[], object]
    force: Callable[[], AbstractContextManager[object]] | None = None
    wait: Callable[[], object] = int


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    What came of timing two contenders in turn.

    Attributes:
        first: Seconds for one call of the first.
        second: Seconds for one call of the second.
        ratio: How many times as fast the second is.
        rounds: How often both were timed.
    """

    first: Estimate
    second: Estimate
    ratio: Estimate
    rounds: int

    @property
    def gains(self) -> bool:
        """Whether the second is faster beyond noise, by `MIN_GAIN` at least."""
        return self.ratio.low > 1 and self.ratio.value >= MIN_GAIN


def compare(
    first: Contender,
    second: Contender,
    *,
    seconds: float,
    clock: Clock = perf_counter,
    seed: int = 0,
) -> Comparison:
    """
    Time two contenders in turn until it is clear which is faster.

    Args:
        first: The one to beat.
        second: The one that may be faster.
        seconds: About how long it may take. Three rounds are always made.
        clock: What gives the time.
        seed: Of the order within rounds.
    """
    order, stop = Random(seed), clock() + seconds  # noqa: S311 - no secret
    stints = _Stint(first, clock), _Stint(second, clock)
    ratios: list[float] = []
    while not _is_over(ratios) and (len(ratios) < _MIN_ROUNDS or clock() < stop):
        for stint in order.sample(stints, 2):
            stint.run()
        ratios.append(stints[0].times[-1] / stints[1].times[-1])
    mine, theirs = (stint.seconds() for stint in stints)
    return Comparison(mine, theirs, estimate_of_factors(ratios), len(ratios))


def measure(
    contender: Contender, *, seconds: float, clock: Clock = perf_counter
) -> Estimate:
    """Return the seconds that one call takes, of as many rounds as fit in *seconds*."""
    stint, stop = _Stint(contender, clock), clock() + seconds
    while len(stint.times) < _MIN_ROUNDS or (
        len(stint.times) < SURE and clock() < stop
    ):
        stint.run()
    return stint.seconds()


class _Stint:
    """
    The timed calls of one contender.

    Attributes:
        times: Seconds for one call, by round.
    """

    def __init__(self, contender: Contender, clock: Clock) -> None:
        self._contender, self._clock = contender, clock
        self.times: list[float] = []
        with self._in_force():
            once = min(self._timed(1) for _ in range(_WARM_CALLS))
        self._calls = min(max(ceil(_BLOCK / max(once, 1e-9)), 1), _MOST_CALLS)

    def run(self) -> None:
        """Time one block of calls."""
        with self._in_force():
            if self._contender.force is not None:
                self._timed(1)  # what has just changed takes a call to settle
            self.times.append(max(self._timed(self._calls), 1e-12))

    def seconds(self) -> Estimate:
        """Return what one call takes."""
        return estimate_of_factors(self.times)

    def _in_force(self) -> AbstractContextManager[object]:
        force = self._contender.force
        return nullcontext() if force is None else force()

    def _timed(self, calls: int) -> float:
        call, wait = self._contender.call, self._contender.wait
        wait()
        start = self._clock()
        for _ in range(calls):
            call()
        wait()
        return (self._clock() - start) / calls


def _is_over(ratios: Sequence[float]) -> bool:
    """Tell whether more rounds could not change the answer, or are too many."""
    if len(ratios) not in _LOOKS:
        return False
    found = estimate_of_factors(ratios)
    if found.high < MIN_GAIN or len(ratios) >= _MAX_ROUNDS:
        return True
    # Few rounds have to be clearer than many.
    least = MIN_GAIN if len(ratios) < SURE else 1.0
    return found.low > least and found.value >= MIN_GAIN
