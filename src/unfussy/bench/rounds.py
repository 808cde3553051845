"""
Rounds in which every contestant does all of the work, in random order.

What disturbs the machine for a while disturbs all of them, so ratios within a round
are what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from unfussy._optimizing.estimates import Estimate, estimate_of_factors
from unfussy.bench.contestants import Contestant

__all__ = ["Times", "run_rounds"]

_MIN_ROUNDS: Final = 3
_MAX_ROUNDS: Final = 25


@dataclass(frozen=True, slots=True)
class Times:
    """
    How long the contestants took.

    Attributes:
        rounds: How often each did all of the work.
        by_name: Seconds, for each contestant, by round.
    """

    rounds: int
    by_name: Mapping[str, Sequence[float]]

    def seconds(self, name: str) -> Estimate:
        """Return how long *name* took."""
        return estimate_of_factors(self.by_name[name])

    def speedup(self, name: str, base: str) -> Estimate:
        """Return how many times as fast as *base* it was."""
        pairs = zip(self.by_name[base], self.by_name[name])
        return estimate_of_factors([slow / fast for slow, fast in pairs])


def run_rounds(
    contestants: Sequence[Contestant],
    *,
    rounds: int | None,
    seconds: float,
    wait: Callable[[], object] = int,
    tick: Callable[[int], object] = int,
    clock: Callable[[], float],
) -> Times:
    """
    Let contestants do the work in turn.

    Args:
        contestants: What is timed.
        rounds: How many rounds; None for as many as fit in *seconds*, 3 at least.
        seconds: About how long it may take.
        wait: Waits until the device has done its work.
        tick: Told after every round.
        clock: What gives the time.
    """
    order, stop = Random(0), clock() + seconds  # noqa: S311 - no secret
    times: dict[str, list[float]] = {each.name: [] for each in contestants}
    least = _MIN_ROUNDS if rounds is None else rounds
    most = _MAX_ROUNDS if rounds is None else rounds
    done = 0
    while done < least or (done < most and clock() < stop):
        for each in order.sample(list(contestants), len(contestants)):
            times[each.name].append(_timed(each, wait, clock))
        done += 1
        tick(1)
    return Times(done, times)


def _timed(
    contestant: Contestant, wait: Callable[[], object], clock: Callable[[], float]
) -> float:
    with contestant.force():
        wait()
        start = clock()
        result: Any = contestant.run()
        wait()
        taken = clock() - start
    del result
    return max(taken, 1e-12)
