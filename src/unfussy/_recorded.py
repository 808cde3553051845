"""
Planned calls that are recorded: what they were given, and when they begin and end.

A call does what it does without: the same functions in the same order, with a clock
between them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, TypeAlias, TypeVar

import torch

from unfussy._call import Planner
from unfussy._drivers import Driven
from unfussy._given import note_input, note_inputs
from unfussy._ready import COLD
from unfussy._recording import CONVERT, RUN, SWITCH, Frame, current, timed

__all__ = [
    "Quick",
    "as_ahead",
    "as_steps",
    "as_stream",
    "driven",
    "make_recorded",
    "note_window",
]

T = TypeVar("T")
_Call: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Quick:
    """
    The short path of a planned function.

    Attributes:
        ready: Gives a module's one input, moved, or `COLD`.
        short: Calls the function with the module and that input, and times it.
    """

    ready: Callable[[Any, Any], Any]
    short: Callable[[Any, Any], Any]


def make_recorded(planner: Planner, quick: Quick | None) -> _Call:
    """Return what makes one call of a plain function, and records it."""
    name = planner.method.name

    def recorded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = Frame(name)
        return frame.whole(run, frame, args, kwargs)

    def run(frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = None if quick is None else _common(planner, args, kwargs)
        if quick is None or given is None or not note_input(frame, given[1]):
            note_inputs(frame, planner.method, args, kwargs)
        if quick is None or given is None:
            return planner.run(args, kwargs)
        x = frame.timed(CONVERT, quick.ready, *given)
        if x is COLD:
            return planner.run(args, kwargs)
        if isinstance(x, torch.Tensor):
            frame.device = x.device
        return quick.short(given[0], x)

    return recorded


def _common(
    planner: Planner, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any] | None:
    """Return the module and the one input of a common call."""
    if kwargs:
        only = planner.method.only
        if only is None or len(args) != 1 or set(kwargs) != {only}:
            return None
        return args[0], kwargs[only]
    return (args[0], args[1]) if len(args) == 2 else None  # noqa: PLR2004


# --- generators and coroutines -----------------------------------------------------

_FRAMES: Final = (
    (GeneratorType, "gi_frame"),
    (CoroutineType, "cr_frame"),
    (AsyncGeneratorType, "ag_frame"),
)


def driven(planner: Planner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Driven:
    """Get a call of a generator or coroutine function ready, and record its steps."""
    if not SWITCH.on:
        return planner.driven(args, kwargs)
    frame = Frame(planner.method.name)

    def ready() -> Driven:
        note_inputs(frame, planner.method, args, kwargs)
        return planner.driven(args, kwargs)

    try:
        return _followed(frame, _step(frame, ready))
    except BaseException:
        frame.close()
        raise


def _followed(frame: Frame, made: Driven) -> Driven:
    inner: list[Any] = []

    def make() -> Any:
        inner.append(made.make())
        return inner[0]

    def run(fn: Callable[..., Any], *args: Any) -> Any:
        try:
            return _step(frame, frame.timed, RUN, made.run, fn, *args)
        finally:
            if _is_over(inner[0]):
                frame.close()

    def finish(value: Any) -> Any:
        if _is_over(inner[0]):
            return made.finish(value)
        return _step(frame, made.finish, value)

    return Driven(make, run, finish)


def _step(frame: Frame, fn: Callable[..., T], /, *args: Any) -> T:
    frame.resume()
    try:
        return fn(*args)
    except (StopIteration, StopAsyncIteration, GeneratorExit):
        raise
    except BaseException as error:
        frame.fail(error)
        raise
    finally:
        frame.pause()


def _is_over(inner: Any) -> bool:
    name = next((name for kind, name in _FRAMES if isinstance(inner, kind)), None)
    return name is not None and getattr(inner, name) is None


# --- streams -----------------------------------------------------------------------


def as_steps(name: str, inner: Generator[T, None, None], /) -> Generator[T, None, None]:
    """Return *inner*, recorded as one stream; what is between its steps is not."""
    return _steps(Frame(name, "stream"), inner) if SWITCH.on else inner


def _steps(frame: Frame, inner: Generator[T, None, None]) -> Generator[T, None, None]:
    try:
        while item := _step(frame, _next, inner):
            yield item.pop()
    finally:
        try:
            _step(frame, inner.close)
        finally:
            frame.close()


def _next(inner: Generator[T, None, None]) -> list[T]:
    """Return the next item in a list, which is empty at the end."""
    for item in inner:
        return [item]
    return []


def as_stream(name: str, fn: Callable[..., T], /) -> Callable[..., T]:
    """Return *fn*, recorded as one stream."""
    return partial(Frame(name, "stream").whole, fn) if SWITCH.on else fn


def as_ahead(name: str, make: Callable[[T], Any], /) -> Callable[[T], Any]:
    """Return *make*, recorded as what is made ready for a stream."""
    if not SWITCH.on:
        return make

    def ahead(pulled: T) -> Any:
        if current() is not None:  # in turn, as a part of the stream
            return timed(CONVERT, make, pulled)
        frame = Frame(name, "ahead")
        return frame.whole(made, frame, pulled)

    def made(frame: Frame, pulled: T) -> Any:
        window = frame.timed(CONVERT, make, pulled)
        frame.items, frame.chunks = window.n, 1
        return window

    return ahead


def note_window(n: int, n_failed: int) -> None:
    """Take note of a window of *n* items that a stream is done with."""
    frame = current()
    if frame is not None and frame.kind == "stream":
        frame.items += n
        frame.chunks += 1
        frame.failures += n_failed
