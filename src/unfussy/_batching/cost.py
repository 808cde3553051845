"""
What a chunk costs: a start-up, and so much for each element.

Time is close to ``startup + unit * n_items * length`` for items padded to one length.
Only the ratio of the two decides where to cut. A guess of it that is wrong by a factor
of four costs some percent; a start-up of nothing would make every item a chunk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any, Final, TypeAlias

import numpy as np

from unfussy.errors import InputValueError

__all__ = ["DEFAULT_RATIOS", "Cost", "CostFit", "default_cost", "default_ratio"]

DEFAULT_RATIOS: Final = {"cpu": 100.0}
"""How many elements a call's start-up is worth, by type of device."""

_ACCELERATOR_RATIO: Final = 4096.0
_SANE_RATIOS: Final = (1.0, 1e6)
_MEMORY: Final = 64
_SHORTEST: Final = 1e-9
_ENOUGH: Final = 4
_SPREAD: Final = 2.0

_Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What running a chunk costs, in any unit of time.

    Attributes:
        startup: What a chunk costs before its first element.
        unit: What each of its elements costs, padding included.
    """

    startup: float
    unit: float

    def __post_init__(self) -> None:
        if not (0 < self.startup < inf and 0 < self.unit < inf):
            raise InputValueError(
                f"Cost takes a startup and a unit above 0, got {self.startup} and "
                f"{self.unit}"
            )

    @property
    def ratio(self) -> float:
        """How many elements a start-up is worth."""
        return self.startup / self.unit

    def of(self, n_items: int, length: float) -> float:
        """
        Return what *n_items* padded to *length* cost.

        >>> Cost(startup=100, unit=1).of(3, 20)
        160
        """
        return self.startup + self.unit * n_items * length


def default_ratio(device_type: str) -> float:
    """
    Return how many elements a start-up is worth where nothing is known yet.

    >>> default_ratio("cpu"), default_ratio("cuda")
    (100.0, 4096.0)
    """
    return DEFAULT_RATIOS.get(device_type, _ACCELERATOR_RATIO)


def default_cost(device_type: str) -> Cost:
    """Return the cost to assume on a device until chunks have been timed."""
    return Cost(startup=default_ratio(device_type), unit=1.0)


class CostFit:
    """
    A cost, learnt from the times of chunks.

    The first chunk is left out, as it pays for what is made at the first use, and so
    is the fifth that fits worst. Of older chunks the last 64 count. Threads may share
    one fit.

    Examples:
        >>> fit = CostFit()
        >>> for units in (10, 500, 1000, 2000, 4000):
        ...     fit.add(units, seconds=3e-3 + 2e-5 * units)
        >>> fit.cost.ratio
        150.0
        >>> fit.knee()
        2850.0
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_warm = False
        self._known: tuple[Cost | None] | None = None  # until another sample comes
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MEMORY)

    def add(self, units: float, seconds: float) -> None:
        """
        Learn from a chunk.

        Args:
            units: How many elements it had, padding included.
            seconds: How long it ran. A time below a nanosecond is left out: the clock
                was too coarse.
        """
        if not (0 < units < inf and _SHORTEST <= seconds < inf):
            return
        with self._lock:
            if self._is_warm:
                self._samples.append((units, seconds))
                self._known = None
            self._is_warm = True

    @property
    def cost(self) -> Cost | None:
        """What was learnt; None before four chunks, one of them twice as large."""
        with self._lock:
            if self._known is None:
                self._known = (self._fitted(),)
            return self._known[0]

    def _fitted(self) -> Cost | None:
        samples = np.array(self._samples, dtype=np.float64)
        if len(samples) < _ENOUGH:
            return None
        units, seconds = samples.T
        misses = np.abs(_times(_fit(units, seconds), units) / seconds - 1)
        kept = np.argsort(misses, kind="stable")[: len(misses) - len(misses) // 5]
        if not _tells_sizes_apart(units):
            return None
        if _tells_sizes_apart(units[kept]):
            units, seconds = units[kept], seconds[kept]
        return _fit(units, seconds)

    def knee(self, share: float = 0.05) -> float | None:
        """
        Return beyond how many elements the start-up is less than *share* of the time.

        Larger chunks gain nothing that is worth their memory. None if too little is
        known yet.
        """
        cost = self.cost
        return None if cost is None else cost.ratio * (1 / share - 1)


def _tells_sizes_apart(units: _Floats) -> bool:
    return bool(units.max() >= _SPREAD * units.min())


def _fit(units: _Floats, seconds: _Floats) -> Cost:
    """Return the cost with the least squares of relative errors, its ratio sane."""
    rows = np.stack([1 / seconds, units / seconds], axis=1)
    startup, unit = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    ratio = float(np.clip(startup / unit if unit > 0 else inf, *_SANE_RATIOS))
    # Given the ratio, one factor is left: this is its least squares too.
    relative = (ratio + units) / seconds
    scale = float(relative.sum() / (relative @ relative))
    return Cost(startup=ratio * scale, unit=scale)


def _times(cost: Cost, units: _Floats) -> _Floats:
    return cost.startup + cost.unit * units
