"""
A watch on the memory that a block of code takes.

It looks at the device before and after, has its peak counted in between, and leaves
the device as clean as it can.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias, get_args

import torch

from unfussy._batching import Memory, PeakMeter, memory_of, release_memory
from unfussy._batching.memory import held_memory
from unfussy._memory_now import find_device
from unfussy._memory_series import MemorySeries
from unfussy._types import DeviceLike
from unfussy.errors import InputValueError, MemoryThresholdError

__all__ = ["MemoryGuard", "MemoryThresholdWarning", "OnExceed", "memory_guard"]

OnExceed: TypeAlias = Literal["warn", "raise", "ignore"]

_GIB: Final = 2**30
_MIB: Final = 2**20


class MemoryThresholdWarning(UserWarning):
    """A block of code used more of a device's memory than it was meant to."""


def memory_guard(
    device: DeviceLike = "auto",
    /,
    *,
    threshold: float = 0.9,
    on_exceed: OnExceed = "warn",
    cleanup: bool = True,
    interval: float | None = None,
) -> MemoryGuard:
    """
    Watch the memory of *device* while a block runs, and clean up behind it.

    Afterwards, also after an error, the guard knows what was free before and after,
    what the block took at most and what it still holds. It prints as a sentence.

    Args:
        device: The device; ``"auto"`` is the one where this process has most tensors
            or, as long as it has none on an accelerator, `get_best_device`.
        threshold: The share of the memory, above 0 and at most 1, beyond which too
            much is in use, by whomever.
        on_exceed: What to do at the end of the block if it was too much:
            `MemoryThresholdWarning`, ``MemoryThresholdError``, or nothing. A block that
            raises gets a note on its own error instead.
        cleanup: Whether to collect garbage and to empty the device's cache at the end.
        interval: Seconds between two looks of a thread that records the memory in use
            as ``guard.series``; None for no thread.

    Raises:
        DeviceError: If *device* is not there.
        InputValueError: If an option has no meaning.
        MemoryThresholdError: At the end of the block, if that was asked for.

    Examples:
        >>> with memory_guard("cpu", threshold=1.0) as guard:
        ...     x = torch.ones(1000)
        >>> guard.exceeded
        False
    """
    return MemoryGuard(
        find_device(device, "memory_guard"),
        threshold=threshold,
        on_exceed=on_exceed,
        cleanup=cleanup,
        interval=interval,
    )


class MemoryGuard:
    """
    What `memory_guard` gives: a context, and afterwards a record; prints as a sentence.

    Attributes:
        device: The device that is watched.
        threshold: The share of its memory beyond which too much is in use.
        before: Its memory at the start of the block; None if that is not known.
        after: Its memory after the block, and after cleaning up.
        used: The bytes that the block still holds, or less than 0 if it gave some
            back: all resident memory of the process on the CPU, torch's tensors
            elsewhere. None if that is not known.
        peak: The most bytes that the block took beyond what was in use; None if that
            is not known.
        peak_is_lower_bound: Whether it may have been more than *peak*.
        exceeded: Whether too much was in use; None if that is not known.
        series: The memory in use over time, if a thread looked.
    """

    def __init__(
        self,
        device: torch.device,
        /,
        *,
        threshold: float,
        on_exceed: OnExceed,
        cleanup: bool,
        interval: float | None,
    ) -> None:
        _check(threshold, on_exceed)
        self.device, self.threshold = device, threshold
        self.before: Memory | None = None
        self.after: Memory | None = None
        self.used: int | None = None
        self.peak: int | None = None
        self.peak_is_lower_bound = False
        self.exceeded: bool | None = None
        self.series = (
            None if interval is None else MemorySeries(device, interval=interval)
        )
        self._on_exceed, self._cleanup = on_exceed, cleanup
        self._meter = PeakMeter(device)
        self._held: int | None = None
        self._lowest: int | None = None

    def __enter__(self) -> Self:
        self.before, self._held = memory_of(self.device), held_memory(self.device)
        if self.series is not None:
            self.series.__enter__()
        self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.series is not None:
            self.series.__exit__(None, None, None)
        self._meter.__exit__(None, None, None)  # an error does not spoil this peak
        self._judge(memory_of(self.device))
        if self._cleanup:
            release_memory(thoroughly=True)
        self.after, held = memory_of(self.device), held_memory(self.device)
        if held is not None and self._held is not None:
            self.used = held - self._held
        if self.exceeded and self._on_exceed != "ignore":
            self._tell(error)

    def _judge(self, end: Memory | None) -> None:
        """Find out how much was in use when most was, before anything is cleaned."""
        self.peak = self._meter.peak
        self.peak_is_lower_bound = self._meter.is_lower_bound
        if self.peak is None and self.series is not None:
            self._peak_of(self.series)
        if self.before is None or end is None:
            return
        seen = None if self.series is None else self.series.lowest_free
        frees = [self.before.free - (self.peak or 0), end.free, seen]
        self._lowest = max(0, min(free for free in frees if free is not None))
        self.exceeded = end.total - self._lowest > self.threshold * end.total

    def _peak_of(self, series: MemorySeries) -> None:
        if series.peak is not None and self._held is not None:
            self.peak = max(0, series.peak - self._held)
            self.peak_is_lower_bound = True

    def _tell(self, error: BaseException | None) -> None:
        if error is not None:
            error.add_note(self._complaint())
        elif self._on_exceed == "raise":
            raise MemoryThresholdError(self._complaint())
        else:
            warnings.warn(self._complaint(), MemoryThresholdWarning, stacklevel=3)

    def _complaint(self) -> str:
        assert self.before is not None  # noqa: S101 - or nothing is known
        assert self._lowest is not None  # noqa: S101
        total = self.before.total
        in_use = total - self._lowest
        own = None if self.peak is None else f"{self.peak / _GIB:.1f}"
        by_it = "" if own is None else f", {own} of them by the block"
        return (
            f"memory_guard: {in_use / _GIB:.1f} of {total / _GIB:.1f} GiB on "
            f"{self.device} were in use{by_it}. That is {in_use / total:.1%}, more "
            f"than the threshold of {self.threshold:.1%}: take smaller batches or a "
            "lower precision, free what is not needed, or raise threshold="
        )

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.device}: its memory is not known"
        if self.after is None:
            return f"{self.device}: {self.before} before"
        least = "at least " if self.peak_is_lower_bound else ""
        took = "?" if self.peak is None else f"{least}{_size(self.peak)}"
        free = f"{self.before} before, {self.after} after"
        over = f", beyond {self.threshold:.0%} of it" if self.exceeded else ""
        return f"{self.device}: took {took}, holds {_size(self.used)}; {free}{over}"


def _check(threshold: float, on_exceed: OnExceed) -> None:
    if not 0 < threshold <= 1:
        raise InputValueError(
            f"memory_guard() takes threshold above 0 and at most 1, got {threshold}"
        )
    if on_exceed not in get_args(OnExceed):
        raise InputValueError(
            "memory_guard() takes on_exceed='warn', 'raise' or 'ignore', got "
            f"{on_exceed!r}"
        )


def _size(n: int | None) -> str:
    if n is None:
        return "?"
    small = abs(n) < _GIB // 10
    return f"{n / _MIB:.1f} MiB" if small else f"{n / _GIB:.1f} GiB"
