"""
Elements made ready by a thread while the caller computes on the ones before.

Two queues join the threads: *places*, from which the feeder takes a token before it
pulls an element, and *ready*, to which it gives what it made. So it is never ahead by
more elements than there are tokens, and there is no lock to hold while one of the two
is interrupted. The last thing in *ready* says how it ended.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Final, Generic, TypeVar

import torch

from unfussy.errors import InputValueError

__all__ = ["feed"]

T = TypeVar("T")
U = TypeVar("U")

_KINDS: Final = ("cpu", "cuda", "mps", "xpu")


def feed(
    source: Iterable[T],
    prepare: Callable[[T], U],
    /,
    *,
    depth: int = 2,
    threaded: bool = True,
    patience: float = 5.0,
) -> Generator[U, None, None]:
    """
    Yield ``prepare(element)`` for every element of *source*, made ready ahead.

    A thread pulls and prepares while the caller computes. Order is kept. An error of
    *source* or *prepare* is raised unchanged, once everything before it is delivered.
    The thread has the caller's context variables, grad mode, autocast, default device
    and current CUDA device, as they are when the first element is asked for.

    To stop early, close the generator or have `contextlib.closing` do it. When that
    returns, the thread has ended, and closed *source* where that is a generator.

    Args:
        source: What to pull from. What works in the caller's thread only, as some
            connections to databases do, wants *threaded* off.
        prepare: Called with one element at a time.
        depth: How many elements may be pulled before the caller asks for them.
        threaded: Whether there is a thread; else elements are pulled when asked for.
        patience: How many seconds to wait for a thread whose source does not return,
            before it is left to itself with a warning.

    Raises:
        InputValueError: If *depth* is less than 1.
        Exception: Whatever *source* and *prepare* raise.

    Examples:
        >>> list(feed("abc", str.upper))
        ['A', 'B', 'C']
    """
    if depth < 1:
        raise InputValueError(f"feed() takes a depth of at least 1, got {depth}")
    elements = iter(source)
    if not threaded:
        return _in_turn(elements, prepare)
    return _in_thread(_Line(elements, prepare, depth), patience)


def _in_turn(
    source: Iterator[T], prepare: Callable[[T], U]
) -> Generator[U, None, None]:
    try:
        while made := _next(source, prepare):
            yield made.pop()
    finally:
        _close(source)


def _in_thread(line: _Line[T, U], patience: float) -> Generator[U, None, None]:
    run = copy_context().run
    work = (line.run, _Surroundings.here())
    thread = Thread(target=run, args=work, name="unfussy-feeder", daemon=True)
    # Also at exit: a daemon that is inside torch then would crash the interpreter.
    stop = weakref.finalize(feed, _stop, line, thread, patience)
    try:
        thread.start()
        while made := line.take():
            yield made.pop()
    finally:
        stop()
        line.settle()


def _next(source: Iterator[T], prepare: Callable[[T], U]) -> list[U]:
    """
    Return what becomes of the next element, in a list that is empty at the end.

    Who empties the list hands the element on without holding it.
    """
    return [prepare(element) for element in islice(source, 1)]


def _close(source: object) -> None:
    if isinstance(source, Generator):
        source.close()


def _stop(line: _Line[T, U], thread: Thread, patience: float) -> None:
    line.stop()
    # Garbage may be collected by any thread, this one too.
    if not thread.is_alive() or thread is current_thread():
        return
    thread.join(patience)
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - no other way
    if thread.is_alive() and frame is not None:
        name, file = frame.f_code.co_qualname, frame.f_code.co_filename
        warnings.warn(
            f"a source did not return within {patience:g} s and its thread is left to "
            f"itself: it is in {name}() ({file}:{frame.f_lineno}); give it a timeout",
            RuntimeWarning,
            stacklevel=4,
        )


# --- what the two threads share ----------------------------------------------------


class _Line(Generic[T, U]):
    """The source, and the way from it to the caller."""

    def __init__(
        self, source: Iterator[T], prepare: Callable[[T], U], depth: int
    ) -> None:
        self._source, self._prepare = source, prepare
        self._places: SimpleQueue[None] = SimpleQueue()
        self._ready: SimpleQueue[list[U] | BaseException] = SimpleQueue()
        self._stopped = False
        self._trouble: BaseException | None = None
        for _ in range(depth):
            self._places.put(None)

    def run(self, surroundings: _Surroundings) -> None:
        """Make everything ready, then close the source: what the feeder does."""
        with ExitStack() as stack:
            failure = _failure(lambda: surroundings.enter(stack))
            self._ready.put(failure or _failure(self._fill) or [])
            self._trouble = _failure(lambda: _close(self._source))

    def _fill(self) -> None:
        while True:
            self._places.get()
            made = [] if self._stopped else _next(self._source, self._prepare)
            if not made:
                return
            self._ready.put(made)
            del made

    def take(self) -> list[U]:
        """Return the next element in a list, which is empty at the end."""
        made = self._ready.get()
        self._places.put(None)
        if isinstance(made, list):
            return made
        try:
            raise made
        finally:
            del made  # its traceback holds this frame

    def stop(self) -> None:
        """Let the feeder end before it pulls again."""
        self._stopped = True
        self._places.put(None)

    def settle(self) -> None:
        """Drop what nobody asked for, and raise what closing the source raised."""
        while not self._ready.empty():
            self._ready.get()
        if self._trouble is not None:
            raise self._trouble


def _failure(do: Callable[[], object]) -> BaseException | None:
    # In a frame of its own: the traceback holds the frames that it passes through.
    try:
        do()
    except BaseException as error:  # noqa: BLE001 - for the caller, whatever it is
        return error
    return None


# --- what a new thread does not inherit --------------------------------------------


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """
    The state of torch that each thread has for itself.

    Attributes:
        grad: Whether gradients are on.
        inference: Whether inference mode is on.
        autocasts: The kinds of devices for which autocast is on, with their dtypes.
        caches: Whether autocast remembers cast weights.
        default: Where new tensors go.
        cuda: The current CUDA device, if CUDA is in use.
    """

    grad: bool
    inference: bool
    autocasts: tuple[tuple[str, torch.dtype], ...]
    caches: bool
    default: torch.device
    cuda: int | None

    @classmethod
    def here(cls) -> _Surroundings:
        """Return those of this thread."""
        enabled = filter(torch.is_autocast_enabled, _KINDS)
        in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return cls(
            grad=torch.is_grad_enabled(),
            inference=torch.is_inference_mode_enabled(),
            autocasts=tuple((k, torch.get_autocast_dtype(k)) for k in enabled),
            caches=torch.is_autocast_cache_enabled(),
            default=torch.get_default_device(),
            cuda=torch.cuda.current_device() if in_use else None,
        )

    def enter(self, stack: ExitStack) -> None:
        """Make them those of this thread until *stack* is closed."""
        # In this order: inference mode switches gradients off.
        stack.enter_context(torch.inference_mode(self.inference))
        stack.enter_context(torch.set_grad_enabled(self.grad))
        for kind, dtype in self.autocasts:
            autocast = torch.autocast(kind, dtype, cache_enabled=self.caches)
            stack.enter_context(autocast)
        if self.default.type != "cpu":
            stack.enter_context(self.default)
        if self.cuda is not None:
            stack.enter_context(torch.cuda.device(self.cuda))
