"""
Modules and classes of other people, planned from outside.

`unfuss` wraps one module in a transparent proxy (wrapt), which stands for it
everywhere; `patch` plans methods of a class of another package in place.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, TypeVar, cast

import wrapt
from torch import nn

from unfussy._compile import compile_plan, planned
from unfussy._modes import Modes
from unfussy._moving import Move
from unfussy._plan import Overrides, Plan, names_of, overrides_of
from unfussy._precision import Precision
from unfussy.errors import PlanError

__all__ = ["patch", "unfuss"]

M = TypeVar("M", bound=nn.Module)

_DEFAULTS = Plan(Move(), Modes(), Precision())


def unfuss(
    model: M, /, *, methods: str | Iterable[str] | None = None, **settings: Any
) -> M:
    """
    Return *model* behind a proxy whose call and public methods are planned.

    The proxy stands for the model: it is an instance of the model's class, has its
    attributes, state dict and parameters, can be compiled, copied and pickled. Calling
    it, or any public method that the model's own classes define, moves inputs, keeps
    modes and applies the precision policy, as the decorators do with their defaults.
    What the model calls inside itself runs as it was written.

    Train the model itself (``proxy.__wrapped__``), since planned methods keep no
    gradients.

    Args:
        model: The module.
        methods: Names of the methods to plan; by default all public ones.
        **settings: As in `options`, for every planned method; ``batch_size`` or any
            other option of `batched` makes them cut large inputs.

    Raises:
        PlanError: If *model* is no module, or there is no such method or option.

    Examples:
        >>> import numpy, torch
        >>> model = unfuss(torch.nn.Linear(4, 2), out="numpy", batch_size=2)
        >>> model(numpy.zeros((5, 4))).shape, isinstance(model, torch.nn.Linear)
        ((5, 2), True)
    """
    if not isinstance(model, nn.Module):
        raise PlanError(f"unfuss() takes a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, Unfussed):
        raise PlanError("the model is behind a proxy already; use model.__wrapped__")
    names = names_of(methods, "methods")
    for name in names or ():
        if not callable(getattr(model, name, None)):
            raise PlanError(f"{type(model).__name__} has no method {name!r}")
    return cast("M", Unfussed(model, names, overrides_of(settings)))


class Unfussed(wrapt.ObjectProxy[nn.Module]):
    """A module with its call and public methods planned; made by `unfuss`."""

    def __init__(
        self, model: nn.Module, names: tuple[str, ...] | None, overrides: Overrides
    ) -> None:
        super().__init__(model)
        self._self_names = names
        self._self_overrides = overrides
        self._self_compiled: dict[object, Callable[..., Any]] = {}

    @property
    def __call__(self) -> Callable[..., Any]:
        # A property, so that compilers get a bound plain function and not the proxy.
        model: nn.Module = self.__wrapped__
        if self._self_names is not None and "forward" not in self._self_names:
            return model.__call__
        compiled = self._self_compiled
        if type(model) not in compiled:
            caller = _caller(type(model))
            compiled[type(model)] = _compile(caller, self._self_overrides)
        return MethodType(compiled[type(model)], model)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if not inspect.ismethod(value) or value.__self__ is not self.__wrapped__:
            return value
        if not _is_planned_name(name, self._self_names):
            return value
        function, compiled = value.__func__, self._self_compiled
        if function not in compiled:
            compiled[function] = _compile(function, self._self_overrides)
        return MethodType(compiled[function], self.__wrapped__)

    def __copy__(self) -> Unfussed:
        return self._self_again(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Unfussed:
        return self._self_again(copy.deepcopy(self.__wrapped__, memo))

    def __reduce__(self) -> Any:
        return Unfussed, (self.__wrapped__, self._self_names, self._self_overrides)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()

    def _self_again(self, model: nn.Module) -> Unfussed:
        return Unfussed(model, self._self_names, self._self_overrides)


def _is_planned_name(name: str, names: tuple[str, ...] | None) -> bool:
    if names is not None:
        return name in names
    own = name == "forward" or not hasattr(nn.Module, name)
    return own and not name.startswith("_")


def _compile(function: Callable[..., Any], overrides: Overrides) -> Callable[..., Any]:
    record = planned(function)
    raw, plan = (function, Plan()) if record is None else (record.raw, record.plan)
    return compile_plan(raw, plan.fill(_DEFAULTS).override(overrides))


def _caller(kind: type[nn.Module]) -> Callable[..., Any]:
    @functools.wraps(kind.forward, updated=())
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return nn.Module.__call__(self, *args, **kwargs)

    return call


@contextmanager
def patch(cls: type, /, *methods: str, **settings: Any) -> Iterator[None]:
    """
    Plan *methods* of a class of another package inside a block.

    Every instance is reached, those made before included. Without methods, ``forward``
    is planned.

    Args:
        cls: The class.
        *methods: Names of its methods.
        **settings: As in `options`.

    Raises:
        PlanError: If the class has no such method.
    """
    names = methods or ("forward",)
    overrides = overrides_of(settings)
    for name in names:
        if not inspect.isfunction(inspect.getattr_static(cls, name, None)):
            raise PlanError(f"{cls.__name__} has no method {name!r} to patch")
    before = {name: vars(cls).get(name) for name in names}
    for name in names:
        setattr(cls, name, _compile(getattr(cls, name), overrides))
    try:
        yield
    finally:
        for name, function in before.items():
            if function is None:
                delattr(cls, name)
            else:
                setattr(cls, name, function)
