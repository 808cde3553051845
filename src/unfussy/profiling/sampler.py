"""Memory over time, looked at by a thread while something else happens."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Event, Thread
from time import perf_counter_ns
from typing import Any, Final

import torch

from unfussy._batching.host import ROOTS, read_fields
from unfussy.profiling.records import MemorySample

__all__ = ["Sampler"]

_SHORTEST: Final = 0.02  # seconds between two samples, at first
_LONGEST: Final = 0.25  # later: each sample interrupts who computes
_LONGER: Final = 1.05
_STATM: Final = ROOTS.proc / "self" / "statm"
_PAGE: Final = 4096 if os.name == "nt" else os.sysconf("SC_PAGE_SIZE")
_STATUS: Final = ROOTS.proc / "self" / "status"
_MOST: Final = 4096  # samples; then every second one is dropped


class Sampler:
    """
    Takes samples of memory until it is stopped; never keeps a process alive.

    Args:
        began: The nanosecond that counts as zero.
        device: Whether to ask the accelerator too.
    """

    def __init__(self, began: int, *, device: bool) -> None:
        self._began, self._interval = began, _SHORTEST
        self._highest_before, self._higher = _host("VmHWM") or 0, 0
        self._statistics = _device_statistics() if device else None
        self._samples: list[MemorySample] = []
        self._over = Event()
        self._thread = Thread(target=self._run, name="unfussy-memory", daemon=True)

    def start(self) -> None:
        """Take the first sample, and begin to take others."""
        if self._statistics is not None:
            with suppress(RuntimeError):  # what was the most before is of no interest
                self._statistics.reset_peak_memory_stats()
        self._take()
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample; the thread has ended when this returns."""
        self._over.set()
        self._thread.join()
        self._take()
        highest = _host("VmHWM")
        if highest is not None and highest > self._highest_before:
            self._higher = highest

    @property
    def samples(self) -> tuple[MemorySample, ...]:
        """What was seen so far."""
        return tuple(self._samples)

    @property
    def peak_resident(self) -> int | None:
        """The most of the host's memory that was seen, also between two samples."""
        seen = [sample.resident for sample in self.samples]
        return max((x for x in (*seen, self._higher) if x), default=None)

    @property
    def peak_device(self) -> int | None:
        """The most of the accelerator's memory, by its own count."""
        if self._statistics is None:
            return None
        with suppress(RuntimeError):
            most: int = self._statistics.max_memory_allocated()
            return most
        return None

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self._take()
            if len(self._samples) >= _MOST:
                self._samples = self._samples[::2]
            self._interval = min(self._interval * _LONGER, _LONGEST)

    def _take(self) -> None:
        seconds = (perf_counter_ns() - self._began) * 1e-9
        self._samples.append(MemorySample(seconds, _resident(), self._allocated()))

    def _allocated(self) -> int | None:
        if self._statistics is None:
            return None
        with suppress(RuntimeError):
            allocated: int = self._statistics.memory_allocated()
            return allocated
        return None


def _host(field: str) -> int | None:
    found = read_fields(_STATUS).get(field)
    return None if found is None else found * 1024


def _resident() -> int | None:
    try:
        file = os.open(_STATM, os.O_RDONLY)
    except OSError:
        return _by_psutil()
    try:
        return int(os.read(file, 256).split()[1]) * _PAGE
    finally:
        os.close(file)


def _by_psutil() -> int | None:
    try:
        import psutil  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError:
        return None
    resident: int = psutil.Process().memory_info().rss
    return resident


def _device_statistics() -> Any:
    """Return what knows the memory of the accelerator, or None without one."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return None
    for owner in (torch.accelerator, torch.get_device_module(accelerator)):
        if hasattr(owner, "max_memory_allocated"):
            return owner
    return None
