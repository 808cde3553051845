"""
How much may run at once: what is learnt from chunks that ran and chunks that did not.

Everything is in units of cost. The limit starts small and doubles, as long as chunks
run, fit and get faster. After a refusal it closes in on what fits and then rests, as
every further attempt would cost more than it could gain.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from threading import RLock
from time import monotonic
from typing import Final

from unfussy._batching.footprint import Footprint
from unfussy._batching.memory import Memory
from unfussy._batching.pace import Pace

__all__ = ["Governor"]

_NEARLY_FULL: Final = 0.75
_PATIENCE: Final = 4  # chunks that run before more is tried, after a refusal
_WORTH: Final = 1.15  # less is not worth another refusal
_EXPIRES: Final = 600.0  # seconds
_MORE_MEMORY: Final = 1.25
_MARGIN: Final = 1e-9


def _unknown() -> None:
    return None


class Governor:
    """
    The greatest cost of a chunk, for one module, kind of input and device.

    Safe with threads. It says how much; that a chunk is run again after a refusal,
    and what becomes of an item that does not fit alone, is up to its user.

    Args:
        start: The cost to begin with.
        share: How much of the free memory a chunk may need.
        memory: Tells the memory of the device now.
        clock: Tells the time in seconds.

    Examples:
        >>> governor = Governor(64)
        >>> governor.succeeded(64)
        >>> governor.allow()
        128.0
        >>> governor.refused(128)
        >>> governor.allow()
        64.0
    """

    def __init__(
        self,
        start: float,
        *,
        share: float = 0.8,
        memory: Callable[[], Memory | None] = _unknown,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = float(max(start, _MARGIN))
        self._ok = 0.0
        self._bad = inf
        self._bad_at = 0.0
        self._bad_free: int | None = None
        self._n_full = 0
        self._footprint = Footprint()
        self._pace = Pace()
        self._share = share
        self._memory = memory
        self._clock = clock
        self._lock = RLock()

    def __repr__(self) -> str:
        refused = "" if self._bad == inf else f", refused {self._bad:g}"
        return f"<Governor: limit {self._limit:g}, ran {self._ok:g}{refused}>"

    @property
    def wants_peak(self) -> bool:
        """Whether the memory that the next chunk takes is worth measuring."""
        return self._footprint.largest < _NEARLY_FULL * self._limit

    def allow(self, floor: float = 0.0, *, cap: float = inf) -> float:
        """
        Return the greatest cost that the next chunk may have.

        Args:
            floor: The cost of the least that can run: it is allowed in any case.
            cap: What the user allows at most.
        """
        with self._lock:
            free = self._free()
            if self._bad < inf and self._has_expired(free):
                self._bad, self._n_full = inf, 0
            most = min(self._limit, cap)
            if free is not None:
                most = min(most, self._footprint.greatest_cost(self._share * free))
            return max(floor, most)

    def succeeded(
        self, cost: float, *, seconds: float | None = None, peak: int | None = None
    ) -> None:
        """
        Learn that a chunk ran.

        Args:
            cost: The chunk's.
            seconds: How long it ran; None if that is not known, as on devices that
                run behind.
            peak: The bytes it took at most; None if that is not known.
        """
        with self._lock:
            self._footprint.add(cost, peak or 0)
            self._ok = max(self._ok, float(cost))
            if self._ok >= self._bad:
                self._bad, self._n_full = inf, 0
            if cost < _NEARLY_FULL * self._limit:
                return
            self._n_full += 1
            if seconds is not None and cost <= self._limit * (1 + _MARGIN):
                self._pace.add(self._limit, seconds / cost)
            self._adapt(timed=seconds is not None)

    def refused(self, cost: float) -> None:
        """Learn that memory ran out in a chunk of *cost*."""
        with self._lock:
            self._ok = self._ok if self._ok < cost else 0.0
            self._bad = min(self._bad, cost)
            self._bad_at, self._n_full = self._clock(), 0
            memory = self._memory()
            self._bad_free = None if memory is None else memory.free
            self._limit = min(self._limit, max(self._ok, cost / 2))

    def _free(self) -> int | None:
        if self._bad == inf and not self._footprint:
            return None  # nothing depends on it
        memory = self._memory()
        return None if memory is None else memory.free

    def _has_expired(self, free: int | None) -> bool:
        if self._clock() - self._bad_at >= _EXPIRES:
            return True
        before = self._bad_free
        return before is not None and free is not None and free > _MORE_MEMORY * before

    # --- growing -------------------------------------------------------------------

    def _adapt(self, *, timed: bool) -> None:
        if self._pace.is_settled:
            if self._pace.is_due(self._limit):
                self._pace = Pace()
                self._go_to(self._limit / 2)
        elif self._limit < self._ok or self._bad == inf:
            self._go_on(timed=timed)
        else:
            self._close_in()

    def _go_on(self, *, timed: bool) -> None:
        advice = self._pace.advise(self._limit) if timed else "double"
        if advice == "settle":
            self._go_to(self._pace.settle())
        elif advice == "double":
            double = 2 * self._limit
            self._go_to(double if self._bad == inf else min(double, self._ok))

    def _close_in(self) -> None:
        between = sqrt(self._ok * self._bad)
        if self._n_full >= _PATIENCE and between >= _WORTH * self._limit:
            self._go_to(between)

    def _go_to(self, limit: float) -> None:
        self._limit, self._n_full = limit, 0
