"""
Generators and coroutines of which every step runs inside the plan's contexts.

A context that stays open over ``yield`` or ``await`` leaks into whoever runs next: two
tasks that overlap in ``no_grad`` leave gradients off for the whole thread. So each step
enters fresh contexts, and leaves them before it hands over.

The author's code starts with the first step, but the options that surround the call
are those at the call. So what is made here are plain functions, which look like
generator or coroutine functions to `inspect`.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["Driven", "driver_for"]


@dataclass(frozen=True, slots=True)
class Driven:
    """
    A generator or coroutine to be driven.

    Attributes:
        make: Makes the author's generator, coroutine or asynchronous generator.
        run: Calls a function with its arguments inside the contexts of one step.
        finish: Brings a value that is handed out into its form.
    """

    make: Callable[[], Any]
    run: Callable[..., Any]
    finish: Callable[[Any], Any]


_Function: TypeAlias = Callable[..., Any]
Start: TypeAlias = Callable[[], Driven]
"""Called at the first step."""
Prepare: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Start]
"""Called at the call, with its arguments."""


def driver_for(fn: _Function) -> Callable[[Prepare], _Function] | None:
    """Return what makes a function of the kind of *fn*, or None for plain ones."""
    for is_kind, steps, flag in _KINDS:
        if is_kind(fn):
            return lambda prepare: _make(steps, flag, prepare)
    return None


def _make(steps: Callable[[Start], Any], flag: int, prepare: Prepare) -> _Function:
    def call(*args: Any, **kwargs: Any) -> Any:
        made = steps(prepare(args, kwargs))
        made.__name__, made.__qualname__ = call.__name__, call.__qualname__
        return made

    code = call.__code__
    call.__code__ = code.replace(co_flags=code.co_flags | flag)
    return call


# Each calls `make` in a frame of its own kind: Dynamo, which leaves such frames alone,
# would make a tuple of a generator that is made in another one.


def _generator(start: Start) -> Generator[Any, Any, Any]:
    driven = start()
    inner, run, finish = driven.make(), driven.run, driven.finish
    return (yield from _drive(inner, run, finish, finish))


async def _coroutine(start: Start) -> Any:
    driven = start()
    return await _awaited(driven.make(), driven.run, _same, driven.finish)


async def _async_generator(start: Start) -> AsyncGenerator[Any, Any]:
    driven = start()
    inner, run, finish = driven.make(), driven.run, driven.finish
    step, value, ended = inner.asend, None, False
    try:
        while True:
            try:
                out = [await _awaited(step(value), run, _same, finish)]
            except StopAsyncIteration:
                ended = True
                return
            value = None
            try:
                step, value = inner.asend, (yield out.pop())  # handed out, not held
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - for the author's code
                step, value = inner.athrow, error
    finally:
        if not ended:
            await _awaited(inner.aclose(), run, _same, _same)


def _drive(
    inner: Any,
    run: Callable[..., Any],
    hand_out: Callable[[Any], Any],
    finish: Callable[[Any], Any],
) -> Generator[Any, Any, Any]:
    """Take *inner* through its steps, as ``yield from`` does."""
    step, value, ended = inner.send, None, False
    try:
        while True:
            try:
                out = [hand_out(run(step, value))]
            except StopIteration as stop:
                ended = True
                return finish(stop.value)
            value = None
            try:
                step, value = inner.send, (yield out.pop())  # handed out, not held
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - for the author's code
                step, value = inner.throw, error
    finally:
        if not ended:
            try:
                run(inner.close)
            finally:
                inner.close()


_awaited: Final = types.coroutine(_drive)  # the same function, which is marked so


def _same(value: Any) -> Any:
    return value


_KINDS: Final = (
    (inspect.isgeneratorfunction, _generator, inspect.CO_GENERATOR),
    (inspect.iscoroutinefunction, _coroutine, inspect.CO_COROUTINE),
    (inspect.isasyncgenfunction, _async_generator, inspect.CO_ASYNC_GENERATOR),
)
