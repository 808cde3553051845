"""
How much memory a device has left, and how much a piece of work took.

What cannot be known is None.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

import torch

from unfussy._batching.host import ROOTS, Roots, host_memory, read_fields

__all__ = ["Memory", "PeakMeter", "held_memory", "memory_of"]

_GIB: Final = 2**30
_UNKNOWN: Final = (AttributeError, RuntimeError, AssertionError, ValueError)


@dataclass(frozen=True, slots=True)
class Memory:
    """
    The memory of a device, in bytes.

    Attributes:
        free: What new tensors can take.
        total: What there is, used or not.

    Examples:
        >>> print(Memory(free=3 * 2**29, total=8 * 2**30))
        1.5 of 8.0 GiB free
    """

    free: int
    total: int

    def __str__(self) -> str:
        return f"{self.free / _GIB:.1f} of {self.total / _GIB:.1f} GiB free"


def memory_of(device: torch.device | str, /, *, roots: Roots = ROOTS) -> Memory | None:
    """
    Return the memory of *device*, or None where it cannot be known.

    What torch has reserved and does not use counts as free. Asking takes less than a
    tenth of a millisecond.

    Args:
        device: The device to ask about.
        roots: Where to look up the memory of the host.
    """
    device = torch.device(device)
    if device.type == "cpu":
        found = host_memory(roots)
        return None if found is None else Memory(*found)
    with suppress(*_UNKNOWN):
        return _accelerator_memory(device)
    return None


def _accelerator_memory(device: torch.device) -> Memory:
    backend = torch.get_device_module(device)
    if device.type == "mps":
        total = backend.recommended_max_memory()
        return Memory(max(0, total - backend.driver_allocated_memory()), total)
    free, total = _free_and_total(device, backend)
    used = backend.memory_allocated(device)
    free += backend.memory_reserved(device) - used
    with suppress(*_UNKNOWN):
        total = int(total * backend.get_per_process_memory_fraction(device))
        free = min(free, total - used)
    return Memory(max(0, free), total)


def _free_and_total(device: torch.device, backend: Any) -> tuple[int, int]:
    with suppress(*_UNKNOWN):
        found: tuple[int, int] = torch.accelerator.get_memory_info(device)
        return found
    asked: tuple[int, int] = backend.mem_get_info(device)  # of an older torch
    return asked


def held_memory(device: torch.device | str, /, *, roots: Roots = ROOTS) -> int | None:
    """
    Return the bytes that this process holds on *device*; None if that is not known.

    On the CPU that is all of its resident memory, elsewhere what torch's tensors take.

    Args:
        device: The device to ask about.
        roots: Where to look up the memory of the host.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return _resident(roots.proc / "self" / "status")
    with suppress(*_UNKNOWN):
        backend = torch.get_device_module(device)
        if device.type == "mps":
            return int(backend.current_allocated_memory())
        return int(backend.memory_allocated(device))
    return None


def _resident(status: Path) -> int | None:
    found = read_fields(status).get("VmRSS")
    if found is not None:
        return found * 1024
    try:
        import psutil  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError:
        return None
    return int(psutil.Process().memory_info().rss)


_ON: Final[set[PeakMeter]] = set()  # they share the counts of their devices
_LOCK: Final = Lock()


class PeakMeter:
    """
    Measure the most memory that a piece of work took beyond what was in use.

    On the CPU the whole process is measured. Entering starts the device's own count
    of its peak anew; on Linux, that of the process's resident memory. Meters may
    overlap.

    Args:
        device: What to measure.
        roots: Where to look up the memory of the host.

    Attributes:
        peak: Bytes, after the block; None if it cannot be known, and after an error.
        is_lower_bound: Whether the work may have taken more than *peak*: where the
            count cannot be started anew, only growth beyond all before is seen.
    """

    def __init__(self, device: torch.device | str, /, *, roots: Roots = ROOTS) -> None:
        self.peak: int | None = None
        self.is_lower_bound = False
        self._device = torch.device(device)
        self._own = roots.proc / "self"
        self._before: int | None = None
        self._highest: int | None = None

    def __enter__(self) -> Self:
        self._before = self._highest = None
        with _LOCK:
            for meter in _ON:
                meter._look()  # noqa: SLF001 - one of our own
            with suppress(*_UNKNOWN):
                self._before = self._start_host() if self._is_host else self._start()
            _ON.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _LOCK:
            _ON.discard(self)
        self.peak = None
        if error is not None or self._before is None:
            return
        self._look()
        if self._highest is not None:
            self.peak = max(0, self._highest - self._before)

    def _look(self) -> None:
        """Take note of the peak so far: another meter may start the count anew."""
        with suppress(*_UNKNOWN):
            now = self._host("VmHWM") if self._is_host else self._most()
            if now is not None:
                self._highest = max(now, self._highest or 0)

    @property
    def _is_host(self) -> bool:
        return self._device.type == "cpu"

    def _start(self) -> int:
        backend = _statistics(self._device)
        backend.reset_peak_memory_stats(self._device)
        before: int = backend.memory_allocated(self._device)
        return before

    def _most(self) -> int:
        most: int = _statistics(self._device).max_memory_allocated(self._device)
        return most

    def _start_host(self) -> int | None:
        try:
            # 5 resets the peak of the resident memory, where the kernel lets us.
            (self._own / "clear_refs").write_bytes(b"5")
        except OSError:
            self.is_lower_bound = True
        return self._host("VmHWM" if self.is_lower_bound else "VmRSS")

    def _host(self, field: str) -> int | None:
        found = read_fields(self._own / "status").get(field)
        return None if found is None else found * 1024


def _statistics(device: torch.device) -> Any:
    if hasattr(torch.accelerator, "max_memory_allocated"):
        return torch.accelerator
    return torch.get_device_module(device)  # of an older torch
