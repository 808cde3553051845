"""How the memory of a process goes up and down while a block of code runs."""

from __future__ import annotations

import atexit
from math import inf
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeAlias

from unfussy._batching.memory import held_memory, memory_of
from unfussy._memory_now import find_device
from unfussy._types import DeviceLike
from unfussy.errors import InputValueError

__all__ = ["MemorySeries", "Thinned"]

_Point: TypeAlias = tuple[float, int]
_MOST_POINTS: Final = 2048


class Thinned:
    """
    Points of a curve, of any number, in a list that stays short.

    When it is full, the higher one of each two neighbours is kept: peaks stay.

    Args:
        most: The most points that are kept; an even number.
    """

    def __init__(self, most: int = _MOST_POINTS) -> None:
        self._points: list[_Point] = []
        self._most, self._width, self._filled = most, 1, 0

    def add(self, point: _Point, /) -> None:
        """Take in a point that is later than all others."""
        if self._points and self._filled < self._width:
            self._points[-1] = max(self._points[-1], point, key=_height)
            self._filled += 1
            return
        if len(self._points) == self._most:
            pairs = zip(self._points[::2], self._points[1::2])
            self._points = [max(pair, key=_height) for pair in pairs]
            self._width *= 2
        self._points.append(point)
        self._filled = 1

    @property
    def points(self) -> tuple[_Point, ...]:
        """What was kept, in order."""
        return tuple(self._points)


def _height(point: _Point) -> int:
    return point[1]


class MemorySeries:
    """
    Look at the memory of a device again and again while a block runs.

    A thread looks, which ends with the block and keeps no program alive. However long
    the block, at most 2,048 points are kept, and the peaks among them.

    Args:
        device: What to watch; ``"auto"`` is as in `memory_now`. On the CPU, all
            resident memory of this process counts, elsewhere what torch's tensors take.
        interval: Seconds between two looks.

    Attributes:
        device: The device that is watched.
        lowest_free: The fewest bytes that were free for new tensors; None if unknown.

    Raises:
        DeviceError: If *device* is not there.
        InputValueError: If *interval* is not above 0.

    Examples:
        >>> with MemorySeries("cpu", interval=0.01) as series:
        ...     total = sum(range(1000))
        >>> seconds, amount = series.points[0]
    """

    def __init__(self, device: DeviceLike, /, *, interval: float = 0.1) -> None:
        if not 0 < interval < inf:
            raise InputValueError(f"interval must be above 0 seconds, got {interval}")
        self.device = find_device(device, "MemorySeries")
        self.lowest_free: int | None = None
        self._interval, self._curve, self._start = interval, Thinned(), monotonic()
        self._end = Event()
        self._thread: Thread | None = None

    @property
    def points(self) -> tuple[_Point, ...]:
        """Pairs of seconds, since the block was entered, and bytes in use then."""
        return self._curve.points

    @property
    def peak(self) -> int | None:
        """The most bytes that were in use at a look; None if that is not known."""
        return max((amount for _, amount in self.points), default=None)

    def __enter__(self) -> Self:
        self.lowest_free, self._curve = None, Thinned()
        self._end, self._start = Event(), monotonic()
        self._look()
        self._thread = Thread(target=self._watch, name="unfussy-memory", daemon=True)
        self._thread.start()
        # The interpreter must not end while a thread is inside a driver.
        atexit.register(self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._look()

    def _stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self._stop)

    def _watch(self) -> None:
        while not self._end.wait(self._interval):
            self._look()

    def _look(self) -> None:
        held, memory = held_memory(self.device), memory_of(self.device)
        if held is not None:
            self._curve.add((monotonic() - self._start, held))
        if memory is not None:
            seen = [] if self.lowest_free is None else [self.lowest_free]
            self.lowest_free = min([memory.free, *seen])
