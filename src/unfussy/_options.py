"""
Options of single calls: other settings for a planned method, without editing it.

Options never are keywords of the author's method, whose signature is its own. They
reach the call that they are given for and not what that call calls in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, ParamSpec, TypeVar, cast

import torch

from unfussy._compile import Planned, planned
from unfussy._plan import BLOCKS, OVERRIDES, Overrides, Plan, overrides_of
from unfussy.errors import PlanError

__all__ = ["configure", "options", "run_with"]

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def options(**settings: Any) -> Iterator[None]:
    """
    Apply settings to every decorated method that is called inside the block.

    Blocks nest, the inner one wins; each thread and each asyncio task has its own.

    Args:
        **settings: ``precision``, ``outputs``, ``weights``, ``on_nonfinite`` (as in
            `autocast_policy`); ``batch_size``, ``over``, ``cost``, ``budget``,
            ``group``, ``on_oom``, ``keep``, ``progress`` (as in `batched`);
            ``float64``, ``non_blocking``, ``copy`` (as in `auto_device`); ``mode``,
            ``eval``, ``result`` (as in `inference`);
            ``out``, ``out_device`` (as *kind* and *device* of `returns`).

    Raises:
        PlanError: If there is no such option, or it has no such value.

    Examples:
        >>> import torch
        >>> from unfussy import inference
        >>> class Net(torch.nn.Linear):
        ...     @inference
        ...     def embed(self, x):
        ...         return self(x)
        >>> with options(out="numpy"):
        ...     type(Net(4, 2).embed(torch.zeros(1, 4))).__name__
        'ndarray'
    """
    token = OVERRIDES.set(overrides_of(settings, OVERRIDES.get()))
    BLOCKS.count(1)
    try:
        yield
    finally:
        BLOCKS.count(-1)
        OVERRIDES.reset(token)


def configure(method: Callable[P, R], /, **settings: Any) -> Callable[P, R]:
    """
    Return *method* with other settings; the method itself stays as it is.

    Args:
        method: A bound method or a function, decorated or not.
        **settings: As in `options`; they win over those of a surrounding block.

    Raises:
        PlanError: If there is no such option, or it has no such value.

    Examples:
        >>> import torch
        >>> from unfussy import inference
        >>> class Net(torch.nn.Linear):
        ...     @inference
        ...     def embed(self, x):
        ...         return self(x)
        >>> embed = configure(Net(4, 2).embed, batch_size=64, out="numpy")
        >>> embed(torch.zeros(100, 4)).shape
        (100, 2)
    """
    return cast("Callable[P, R]", Configured(method, overrides_of(settings)))


class Configured:
    """
    A method together with the settings of its calls; made by `configure`.

    Attributes:
        method: The method as it was given.
        overrides: The settings.
        bound: What the method is bound to: a tuple of one object, or of none.
        record: What its function knows of itself.
    """

    def __init__(self, method: Callable[..., Any], overrides: Overrides) -> None:
        if not callable(method):
            raise PlanError(f"configure() takes a method, got {method!r}")
        if isinstance(method, Configured):
            overrides = overrides_of(dict(overrides), method.overrides)
            method = method.method
        self.method: Callable[..., Any] = method
        self.overrides: Overrides = overrides
        self.bound, function = _unbound(self.method)
        self.record = planned(function) or Planned(function, Plan())
        self._is_easy = hasattr(function, "__unfussy_easy__")
        self.record.variant(overrides)  # which compiled code finds, but cannot make
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method with the settings."""
        if self._is_easy:  # it has keywords of its own, which win
            with options(**dict(self.overrides)):
                return self.method(*args, **kwargs)
        return run_with(self.record, self.overrides, (*self.bound, *args), kwargs)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.overrides)
        return f"configure({self.method!r}, {settings})"

    def __reduce__(self) -> Any:
        return type(self), (self.method, self.overrides)


def _unbound(method: Any) -> tuple[tuple[Any, ...], Callable[..., Any]]:
    if isinstance(method, MethodType):
        return (method.__self__,), method.__func__
    return (), method


def run_with(
    record: Planned, overrides: Overrides, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a planned function with options that win over those around it."""
    if torch.compiler.is_dynamo_compiling() and not BLOCKS.are_open:
        return record.variant(overrides)(*args, **kwargs)
    around = OVERRIDES.get()
    if around is None:
        return record.variant(overrides)(*args, **kwargs)
    merged = overrides_of(dict(overrides), around)
    token = OVERRIDES.set(None)
    try:
        return record.variant(merged)(*args, **kwargs)
    finally:
        OVERRIDES.reset(token)
