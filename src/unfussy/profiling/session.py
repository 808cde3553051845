"""
Sessions: what planned calls do between a beginning and an end.

Calls of all threads of the process go to every session that is on when they begin.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike, fspath
from threading import Lock
from time import perf_counter_ns

import torch

from unfussy._recording import SWITCH, Frame
from unfussy.errors import InputValueError
from unfussy.profiling.records import CallRecord, Profile, record_of
from unfussy.profiling.report import Report
from unfussy.profiling.sampler import Sampler
from unfussy.profiling.summary import MethodSummary
from unfussy.profiling.tables import profile_table

__all__ = ["Session", "profile"]

_KEPT = 100_000


class Session:
    """
    Planned calls as they are recorded; made by `profile` and `Profiler.session`.

    It can be asked at any time, and prints as a table.

    Args:
        name: What it is called.
        memory: Whether to look at memory over time.
        device: Whether calls wait for their device, so that stages are told apart.
        traces: Whether a profiler of torch is to see calls and stages.
        keep: How many calls are kept, the latest.

    Attributes:
        name: What it is called.
        waits: As *device*.
        traces: As given.
    """

    def __init__(
        self,
        name: str,
        *,
        memory: bool = True,
        device: bool = False,
        traces: bool = False,
        keep: int = _KEPT,
    ) -> None:
        if keep < 1:
            raise InputValueError(f"keep is at least 1 call, got {keep}")
        self.name, self.waits, self.traces = name, device, traces
        self._frames: deque[Frame] = deque(maxlen=keep)
        self._lock, self._n_calls, self._is_on = Lock(), 0, False
        self._began = self._ended = perf_counter_ns()
        self._memory = memory
        self._sampler: Sampler | None = None
        self._environment = _environment()

    # --- recording -----------------------------------------------------------------

    def start(self) -> None:
        """Begin to record."""
        self._began, self._is_on = perf_counter_ns(), True
        if self._memory:
            self._sampler = Sampler(self._began, device=self.waits)
            self._sampler.start()
        SWITCH.add(self)

    def stop(self) -> None:
        """Record no more; once is enough."""
        SWITCH.remove(self)
        with self._lock:
            was_on, self._is_on = self._is_on, False
        if was_on:
            self._ended = perf_counter_ns()
            if self._sampler is not None:
                self._sampler.stop()

    def add(self, frame: Frame, /) -> None:
        """Take note of a call that is over."""
        with self._lock:
            if self._is_on:
                self._n_calls += 1
                self._frames.append(frame)

    # --- what was recorded ---------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether it records."""
        return self._is_on

    @property
    def profile(self) -> Profile:
        """What was recorded so far, as a value."""
        with self._lock:
            frames, n_calls = list(self._frames), self._n_calls
        sampler = self._sampler
        ended = perf_counter_ns() if self._is_on else self._ended
        return Profile(
            name=self.name,
            seconds=(ended - self._began) * 1e-9,
            n_calls=n_calls,
            calls=tuple(record_of(frame, self._began) for frame in frames),
            memory=() if sampler is None else sampler.samples,
            peak_resident=None if sampler is None else sampler.peak_resident,
            peak_device=None if sampler is None else sampler.peak_device,
            environment=self._environment,
        )

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """The latest calls, in the order in which they ended."""
        return self.profile.calls

    @property
    def methods(self) -> tuple[MethodSummary, ...]:
        """What its calls come to by method, the most time of its own first."""
        return self.profile.methods

    def generate_report(self, save_path: str | PathLike[str] | None = None) -> Report:
        """
        Return what was recorded as a report, and write it to a file if there is a path.

        Args:
            save_path: A file that ends in ``.json``, ``.csv`` or ``.html``.

        Raises:
            InputValueError: If it ends in something else.
        """
        report = Report((self.profile,))
        if save_path is not None:
            report.save(save_path)
        return report

    def __str__(self) -> str:
        return profile_table(self.profile)


def _environment() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


@contextmanager
def profile(
    name: str = "profile",
    /,
    *,
    enable_memory_tracking: bool = True,
    enable_device_tracking: bool = False,
    trace: str | PathLike[str] | None = None,
    keep: int = _KEPT,
) -> Generator[Session, None, None]:
    """
    Record every planned call inside the block, of all threads.

    Decorated methods, easy methods, those of `unfuss` and `patch`, `stream` and
    `run_to` are recorded; what `torch.compile` has compiled is not. Blocks nest.

    Args:
        name: What the session is called in reports.
        enable_memory_tracking: Whether a thread looks at memory now and then.
        enable_device_tracking: Whether each call waits for its accelerator, behind
            moving inputs and behind the method. Without, the time of what the
            accelerator still has to do is seen wherever somebody waits for it; with
            it, nothing runs ahead any more, and all takes longer. Starts torch's count
            of the most memory anew.
        trace: A file for what torch's own profiler sees meanwhile, with calls and
            stages as ranges: a Chrome trace, for ``chrome://tracing`` or Perfetto.
        keep: How many calls are kept, the latest.

    Yields:
        The session, which can be asked inside the block and behind it.

    Raises:
        InputValueError: If *keep* is less than 1.

    Examples:
        >>> import torch
        >>> from unfussy import inference
        >>> class Net(torch.nn.Linear):
        ...     @inference
        ...     def embed(self, x):
        ...         return self(x)
        >>> net = Net(4, 2)
        >>> with profile() as session:
        ...     z = net.embed(torch.zeros(3, 4))
        >>> [(call.method, call.items) for call in session.calls]
        [('Net.embed()', 3)]
    """
    session = Session(
        name,
        memory=enable_memory_tracking,
        device=enable_device_tracking,
        traces=trace is not None,
        keep=keep,
    )
    with _traced(trace):
        session.start()
        try:
            yield session
        finally:
            session.stop()


@contextmanager
def _traced(path: str | PathLike[str] | None) -> Generator[None, None, None]:
    if path is None:
        yield
        return
    with torch.profiler.profile() as traced:
        yield
    traced.export_chrome_trace(fspath(path))
