"""
What `optimize` was given: a method, the module it computes with, and its plan.

A module, a bound method, an easy or a configured one, a proxy of `unfuss` and a
function that takes a module first all come to the same: the author's plain function,
called with a module, under a plan.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FunctionType, MethodType
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from unfussy._compile import Planned, compile_plan, planned
from unfussy._method import Method
from unfussy._mixin import easy
from unfussy._options import Configured
from unfussy._plan import Plan, overrides_of
from unfussy._proxy import Unfussed
from unfussy._tree import tree_leaves
from unfussy.errors import InputTypeError, PlanError

__all__ = ["Function", "Target", "find_target"]

Function: TypeAlias = Callable[..., Any]
_CALLS: Final = frozenset({"__call__", "_wrapped_call_impl", "_call_impl"})


@dataclass(frozen=True, slots=True)
class Target:
    """
    A method that is to be made faster.

    Attributes:
        given: What the user gave.
        module: The module it computes with.
        label: How reports call it.
        name: The attribute of the module that it is, or comes from.
        raw: The author's function, called with the module first.
        today: What is called as it is now, with the module first.
        plan: What decorators and settings say of it.
        calls: Whether it is the call of the module, with its hooks.
        door: Where `apply` puts a faster function: an attribute of the module, the
            proxy, or nowhere, so that it is only returned.
        takes_module: Whether the user passes the module as the first argument.
        is_easy: Whether it takes the options of `EasyOptions`.
        obstacle: Why it cannot be tried on a copy; empty if nothing is known.
    """

    given: Any
    module: nn.Module
    label: str
    name: str
    raw: Function
    today: Function
    plan: Plan
    calls: bool = False
    door: Literal["attribute", "proxy", "none"] = "attribute"
    takes_module: bool = False
    is_easy: bool = False
    obstacle: str = ""

    def made(self, settings: dict[str, Any], wrappers: list[Any]) -> Function:
        """Return the function with other settings, and with *wrappers* round raw."""
        if not settings and not wrappers:
            return self.today
        function = _anew(self.raw) if wrappers else self.raw
        for wrapper in wrappers:
            function = _dressed(wrapper(function), self.raw)
        plan = self.plan.override(overrides_of(settings))
        if plan == Plan():
            return function
        function = compile_plan(function, plan)
        return easy(function) if self.is_easy else function


def find_target(given: Any, example: Any) -> tuple[Target, tuple[Any, ...]]:
    """
    Return what *given* comes to, and the arguments beside the module.

    Raises:
        InputTypeError: If the example can be used once only.
        PlanError: If *given* is nothing that could be made faster.
    """
    args = example if type(example) is tuple else (example,)
    if any(isinstance(leaf, Iterator) for leaf in tree_leaves(list(args))):
        raise InputTypeError(
            "optimize() calls the method many times, and the example is used up by "
            "one call; pass a list instead of an iterator"
        )
    target = _find(given, args)
    if any(check(target.raw) for check in _YIELDS):
        raise PlanError(
            f"{target.label} yields or awaits; optimize() the plain function it calls"
        )
    return target, args[1:] if target.takes_module else args


_YIELDS: Final = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)


def _find(given: Any, args: tuple[Any, ...]) -> Target:
    if issubclass(type(given), Unfussed):
        return _of_proxy(given)
    if isinstance(given, nn.Module):
        return _of_module(given)
    if isinstance(given, Configured):
        return _of_configured(given, args)
    if isinstance(given, MethodType) and isinstance(given.__self__, nn.Module):
        return _of_method(given)
    if isinstance(given, FunctionType) and args and isinstance(args[0], nn.Module):
        return _of_function(given, args[0])
    raise PlanError(
        "optimize() takes a module, a method of a module, or a function with an "
        f"example whose first item is the module it takes, got {given!r}"
    )


def _of_proxy(proxy: Any) -> Target:
    model, call = proxy.__wrapped__, proxy.__call__
    if (record := planned(call)) is None:
        return replace(_of_module(model), given=proxy)
    label, today = f"{type(model).__name__}()", call.__func__
    raw, plan = record.raw, record.plan
    return Target(proxy, model, label, "__call__", raw, today, plan, door="proxy")


def _of_module(module: nn.Module) -> Target:
    forward = module.forward
    if not isinstance(forward, MethodType) or forward.__self__ is not module:
        obstacle = "its forward was replaced by what may hold the module itself"
        function = nn.Module.__call__
        label = f"{type(module).__name__}()"
        found = _of_function(function, module)
        return replace(found, given=module, label=label, obstacle=obstacle)
    found = _of_method(forward)
    return replace(found, given=module, label=f"{type(module).__name__}()", calls=True)


def _of_method(method: MethodType) -> Target:
    module: Any = method.__self__
    name = method.__name__
    if name in _CALLS:
        return replace(_of_module(module), given=method)
    own = inspect.getattr_static(module, name, None) is not None
    is_own = own and getattr(module, name) == method  # not one of a proxy
    found = _of_function(method.__func__, module)
    return replace(
        found,
        given=method,
        name=name,
        door="attribute" if is_own else "none",
        takes_module=False,
    )


def _of_function(function: Any, module: nn.Module) -> Target:
    record = planned(function) or Planned(function, Plan())
    label, name = Method(record.raw).name, getattr(function, "__name__", "function")
    found = Target(function, module, label, name, record.raw, function, record.plan)
    is_easy = hasattr(function, "__unfussy_easy__")
    return replace(found, door="none", takes_module=True, is_easy=is_easy)


def _of_configured(given: Configured, args: tuple[Any, ...]) -> Target:
    found = _find(given.method, args)
    plan = found.plan.override(given.overrides)
    today = compile_plan(found.raw, plan)
    return replace(
        found, given=given, plan=plan, today=today, door="none", is_easy=False
    )


def _anew(raw: Function) -> Function:
    """Return *raw* with code of its own: compilers keep a few results for each code."""
    if not isinstance(raw, FunctionType):
        return raw
    parts = raw.__globals__, raw.__name__, raw.__defaults__, raw.__closure__
    made = FunctionType(raw.__code__.replace(), *parts)
    made.__kwdefaults__ = raw.__kwdefaults__
    return functools.update_wrapper(made, raw)


def _dressed(function: Any, raw: Function) -> Function:
    """Return *function* with the signature of *raw*, by which plans go."""
    if hasattr(function, "__wrapped__"):
        return function  # type: ignore[no-any-return]

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return functools.update_wrapper(call, raw)
