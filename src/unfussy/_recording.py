"""
The clock of calls that are recorded, and the switch that says whether any are.

While nobody listens, a planned call reads `SWITCH.on` and nothing else happens. Else it
has a `Frame`: what it is given and what it does are noted there, each stage on its own
clock. Stages exclude each other: one that begins inside another stops the other's
clock, so that together they never take longer than the call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from threading import Lock, current_thread, local
from time import perf_counter_ns
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

import torch

__all__ = [
    "CONVERT",
    "JOIN",
    "MOVE",
    "OUTPUT",
    "RUN",
    "STAGES",
    "SWITCH",
    "WAIT",
    "Frame",
    "Kind",
    "Sink",
    "as_run",
    "current",
    "timed",
]

T = TypeVar("T")

STAGES: Final = ("convert", "move", "wait", "run", "join", "output")
CONVERT, MOVE, WAIT, RUN, JOIN, OUTPUT = range(len(STAGES))
_BETWEEN: Final = -1

Kind: TypeAlias = Literal["call", "stream", "ahead"]

_MOST_SPANS: Final = 256  # of one call; sums go on
_IDS: Final = count()


class Sink(Protocol):
    """
    Where the frames of finished calls go.

    Attributes:
        waits: Whether calls wait for their device, to know what it took.
        traces: Whether a profiler of torch is to see calls and stages.
    """

    waits: bool
    traces: bool

    def add(self, frame: Frame, /) -> None:
        """Take note of a call that is over; any thread may ask."""
        ...


class _Switch:
    """
    Who listens.

    Attributes:
        on: Whether anyone does.
        sinks: Those who do.
        waits: Whether any of them has calls wait for their device.
        traces: Whether any of them has a profiler of torch beside it.
    """

    __slots__ = ("_lock", "on", "sinks", "traces", "waits")

    def __init__(self) -> None:
        self._lock = Lock()
        self._set(())

    def add(self, sink: Sink) -> None:
        """Have *sink* told of the calls that begin from now on."""
        with self._lock:
            self._set((*self.sinks, sink))

    def remove(self, sink: Sink) -> None:
        """Tell *sink* no more."""
        with self._lock:
            self._set(tuple(each for each in self.sinks if each is not sink))

    def _set(self, sinks: tuple[Sink, ...]) -> None:
        self.sinks = sinks
        self.waits = any(sink.waits for sink in sinks)
        self.traces = any(sink.traces for sink in sinks)
        self.on = bool(sinks)


SWITCH: Final = _Switch()


class _Thread(local):
    frame: Frame | None = None

    def __init__(self) -> None:  # once for each thread
        self.name = current_thread().name


_THREAD: Final = _Thread()


def current() -> Frame | None:
    """Return the frame of the call that this thread is in, if that is recorded."""
    return _THREAD.frame if SWITCH.on else None


def timed(stage: int, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call *fn*, as a stage of the call that this thread is in, if there is one."""
    frame = current()
    if frame is None:
        return fn(*args, **kwargs)
    return frame.timed(stage, fn, *args, **kwargs)


def as_run(fn: Callable[..., T], /) -> Callable[..., T]:
    """Return *fn*, timed as the author's method."""
    return partial(timed, RUN, fn)


class Frame:
    """
    One call that is recorded, while it lasts and after.

    Times are in nanoseconds of `time.perf_counter_ns`.

    Args:
        name: What is called.
        kind: A call of a method, a stream, or what a stream makes ready ahead.

    Attributes:
        id: A number that no other frame has.
        outer: The number of the call that it is part of, if it is.
        depth: How many calls it is inside of.
        thread: The name of the thread that began it.
        started: When it began.
        stopped: When it ended.
        took: How long it was at work; what generators wait for is not in it.
        inner: How long calls inside of it took.
        stages: How long each stage took, in the order of `STAGES`.
        spans: The first stages: which, from when, until when.
        items: How many items it was given.
        nbytes: How many bytes of arrays and tensors.
        pieces: The first chunks: how many items, and how long they took.
        chunks: How many chunks gave its result.
        cost: What they cost, padding included.
        useful: What they would cost without.
        retries: How often memory ran out.
        failures: How many items raised.
        error: The type of the error that it raised.
        device: Where it ran.
        on_device: How long the method kept the device busy, where that is measured.
        peak: The most memory of the device so far, where that is measured.
    """

    __slots__ = (
        "_began",
        "_outer",
        "_since",
        "_sinks",
        "_stage",
        "_trace",
        "_traces",
        "_waits",
        "chunks",
        "cost",
        "depth",
        "device",
        "error",
        "failures",
        "id",
        "inner",
        "items",
        "kind",
        "name",
        "nbytes",
        "on_device",
        "outer",
        "peak",
        "pieces",
        "retries",
        "spans",
        "stages",
        "started",
        "stopped",
        "thread",
        "took",
        "useful",
    )

    def __init__(self, name: str, kind: Kind = "call") -> None:
        self.name, self.id = name, next(_IDS)
        self.kind: Kind = kind
        self.thread = _THREAD.name
        self._sinks = SWITCH.sinks
        self._waits, self._traces = SWITCH.waits, SWITCH.traces
        self._trace: AbstractContextManager[Any] | None = None
        outer = _THREAD.frame
        self.outer = None if outer is None else outer.id
        self.depth: int = 0 if outer is None else outer.depth + 1
        self._outer: Frame | None = None
        self._stage, self._since, self._began = _BETWEEN, 0, 0
        self.started = self.stopped = self.took = self.inner = 0
        self.stages = [0] * len(STAGES)
        self.spans: list[tuple[int, int, int]] = []
        self.items = self.nbytes = self.chunks = self.retries = self.failures = 0
        self.pieces: list[tuple[int, int]] = []
        self.cost = self.useful = 0.0
        self.error: str | None = None
        self.device: torch.device | None = None
        self.on_device = 0
        self.peak: int | None = None

    # --- the whole -----------------------------------------------------------------

    def resume(self) -> None:
        """Be what this thread is in, until `pause`."""
        self._outer, _THREAD.frame = _THREAD.frame, self
        if self._traces:
            self._trace = _range(self.name)
            self._trace.__enter__()
        self._began = perf_counter_ns()
        self.started = self.started or self._began

    def pause(self) -> None:
        """Let this thread go on with what it was in before."""
        self.stopped = perf_counter_ns()
        took = self.stopped - self._began
        self.took += took
        outer, self._outer = self._outer, None
        _THREAD.frame = outer
        if outer is not None:
            outer.inner += took
        if self._trace is not None:
            self._trace.__exit__(None, None, None)

    def close(self) -> None:
        """Hand in what was noted; it is over."""
        if self.kind == "call" and not (self.error or self.chunks or self.failures):
            self.ran(self.items, self.took)
        sinks, self._sinks = self._sinks, ()
        for sink in sinks:
            sink.add(self)

    def fail(self, error: BaseException) -> None:
        """Take note of what it raised, without holding on to it."""
        self.error = type(error).__name__

    def whole(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call *fn* as all that it does."""
        self.resume()
        try:
            return fn(*args, **kwargs)
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            self.pause()
            self.close()

    # --- its parts -----------------------------------------------------------------

    def timed(
        self, stage: int, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> T:
        """Call *fn* as a stage, if this thread is in this call right now."""
        if _THREAD.frame is not self:
            return fn(*args, **kwargs)
        before = self._switch(stage)
        try:
            if self._traces:
                with _range(STAGES[stage]):
                    return self._watched(stage, fn, *args, **kwargs)
            if self._waits:
                return self._watched(stage, fn, *args, **kwargs)
            return fn(*args, **kwargs)
        finally:
            self._switch(before)

    def ran(self, n: int, took: int, cost: float = 0.0, useful: float = 0.0) -> None:
        """Take note of a chunk of *n* items that gave a result."""
        self.chunks += 1
        self.cost += cost
        self.useful += useful
        if len(self.pieces) < _MOST_SPANS:
            self.pieces.append((n, took))

    def _switch(self, stage: int) -> int:
        before, since, now = self._stage, self._since, perf_counter_ns()
        self._stage, self._since = stage, now
        if before != _BETWEEN:
            self.stages[before] += now - since
            if len(self.spans) < _MOST_SPANS:
                self.spans.append((before, since, now))
        return before

    def _watched(
        self, stage: int, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> T:
        """Call *fn*, and wait for its device if that is asked for and of any use."""
        device = self.device
        if device is None or not self._waits or stage not in _ON_DEVICE:
            return fn(*args, **kwargs)
        if not _can_wait(device) or _is_capturing(device):
            return fn(*args, **kwargs)
        before, after = (torch.Event(device, enable_timing=True) for _ in range(2))
        before.record()
        result = fn(*args, **kwargs)
        after.record()
        self._switch(WAIT)
        torch.accelerator.synchronize(device)
        if stage == RUN:
            self.on_device += int(before.elapsed_time(after) * 1e6)
        return result


_ON_DEVICE: Final = frozenset({MOVE, RUN})
_NO_WAITING: Final = frozenset({"cpu", "meta"})
_CAN_WAIT: Final[dict[str, bool]] = {}


def _can_wait(device: torch.device) -> bool:
    """Tell whether a device can be waited for, and its time be taken."""
    if device.type in _NO_WAITING:
        return False
    if (known := _CAN_WAIT.get(device.type)) is None:
        try:
            torch.Event(device, enable_timing=True).record()
            torch.accelerator.synchronize(device)
            known = True
        except (RuntimeError, ValueError, TypeError):  # of a backend that knows neither
            known = False
        _CAN_WAIT[device.type] = known
    return known


def _range(name: str) -> AbstractContextManager[Any]:
    return torch.profiler.record_function(f"unfussy: {name}")


def _is_capturing(device: torch.device) -> bool:
    """Tell whether kernels are being recorded into a graph, which does not wait."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()
