"""
The method that is called with windows of items, and what its plan says of them.

However it is given (bound, configured, partial, behind a proxy), here is found what
its author decided: how much it takes at a time, in which arguments, and where to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from math import isinf
from types import MethodType
from typing import Any, Final

import torch
from torch import nn

from unfussy._batching import Batch, OnError
from unfussy._call import Planner
from unfussy._compile import Planned, planned
from unfussy._devices import place_of
from unfussy._fitting import MANY
from unfussy._inputs import subject_of
from unfussy._learnt import first_items
from unfussy._method import Method
from unfussy._options import Configured, configure
from unfussy._plan import OVERRIDES, Plan, check_setting, overrides_of

__all__ = ["Target", "make_target"]

_CHUNKS: Final = 32  # in a window that is planned
_BYTES: Final = 2**26  # of a window, about
_MANY: Final = 64  # more than any method has parameters
_CPU: Final = torch.device("cpu")


def make_target(method: Callable[..., Any], on_error: OnError | None) -> Target:
    """
    Return *method* as a target whose items fail as *on_error* says, if it does.

    Raises:
        PlanError: If *on_error* is none of its values.
    """
    settings: dict[str, Any] = {}
    if on_error is not None:
        settings["on_error"] = check_setting("on_error", on_error)
    return Target(method, settings)


class Target:
    """
    A method that takes windows.

    Args:
        method: The method as it was given.
        settings: As in `options`, on top of what it and blocks around say now.

    Attributes:
        name: What errors call it.
        plan: Its plan, empty if it has none.
        batch: How it is cut.
        on_error: What becomes of an item that raises.
        names: The arguments that an item makes; one without a name for the first.
        function: What is called, without what it is bound to.
        arguments: What is passed before the items: a module, mostly.
        given: What is passed beside them.
    """

    def __init__(self, method: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        inner, self._before, self.given = _opened(method)
        self._inner, self._settings = inner, {**_given(inner), **settings}
        self.plan = _plan(inner).override(overrides_of(self._settings))
        self.batch = self.plan.batch or Batch()
        self.on_error: OnError = self.batch.on_error
        self._method, self.function = self._configured(), _function(inner)
        self.arguments = (*_bound(inner), *self._before)
        self._planner = _planner_of(self._method)
        signature = Method(inner) if self._planner is None else self._planner.method
        self._signature, self.name = signature, signature.name
        self._first = len(self._before if self._planner is None else self.arguments)
        over = self.batch.over or ("",)
        is_first = over == (signature.label(self._first),)
        self.names = ("",) if is_first else over
        self._kept = frozenset(filter(self._keeps_list, self.names))

    def _configured(self) -> Callable[..., Any]:
        settings = dict(self._settings)
        if self.plan.batch is not None:
            settings["progress"] = False  # a bar of the whole source there is, or none
        if self.on_error != "raise":
            settings["on_error"] = "return"
        inner = self._inner
        return configure(inner, **settings) if settings else inner

    def staying(self) -> Target:
        """Return the target with its results left on the device."""
        settings = dict(self._settings)
        if self.plan.output is not None:
            settings |= {"out": "tensor", "out_device": "keep"}
        if self.plan.batch is not None and not self._plans:
            settings["keep"] = "device"
        method = functools.partial(self._inner, *self._before, **self.given)
        return Target(method, settings)

    def call(self, inputs: Mapping[str, Any], shared: Mapping[str, Any]) -> Any:
        """Call the method with a window: its arguments by `names`."""
        beside = {**self.given, **shared}
        if self.names == ("",):
            return self._method(*self._before, inputs[""], **beside)
        return self._method(*self._before, **inputs, **beside)

    # --- what it takes -------------------------------------------------------------

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, as far as that can be seen."""
        _, module, _ = subject_of(self.arguments, self._signature)
        return self._inner if isinstance(self._inner, nn.Module) else module

    @property
    def device(self) -> torch.device:
        """Where the method wants its inputs, as far as that is known."""
        if self.plan.move is None or not self.arguments:
            return _CPU
        return place_of(self.module, self.arguments[0]).device or _CPU

    def keeps_list(self, name: str) -> bool:
        """Tell whether an argument is taken as a list, whatever is in it."""
        return name in self._kept

    def _keeps_list(self, name: str) -> bool:
        if self.batch.ragged != "equal":
            return True
        label, i, takes = self._signature.label, self._first, self._signature.takes_list
        if name:
            i = next((j for j in range(_MANY) if label(j) == name), _MANY)
        return takes(i)

    def takes_ahead(self, name: str) -> bool:
        """Tell whether an argument may be on the device before the call."""
        planner, output = self._planner, self.plan.output
        if planner is None or planner.reader is None or self.keeps_list(name):
            return False
        # The form of the result would follow what was sent.
        if output and (output.kind == "mirror" or output.device == "input"):
            return False
        return not planner.reader.skips(name or planner.method.label(self._first))

    @property
    def leaves_device(self) -> bool:
        """Whether results go to the CPU."""
        output = self.plan.output
        if output is not None and (output.kind == "numpy" or output.device == "cpu"):
            return True
        return self.batch.keep == "cpu"

    # --- how much ------------------------------------------------------------------

    @property
    def _plans(self) -> bool:
        batch = self.batch
        grows = batch.cost is not None or batch.group is not None
        return batch.ragged != "equal" or grows

    def size(self, item_bytes: float) -> int:
        """Return how many items of so many bytes the next window may have."""
        chunk, room = self.batch.size, max(int(_BYTES / max(item_bytes, 1)), 1)
        if isinstance(chunk, str):
            chunk = self._learnt(item_bytes, room)
        return max(chunk, min(chunk * _CHUNKS, room)) if self._plans else chunk

    def _learnt(self, item_bytes: float, room: int) -> int:
        planner = self._planner
        chunker = None if planner is None else planner.chunker
        if chunker is None:  # nothing will be learnt
            return min(first_items(self.device, item_bytes, is_even=False), room)
        # Twice as many: who never sees more cannot find out that more fits.
        known = max(_whole(chunker.learnt.items or MANY), MANY // 2)
        return int(max(min(2 * known, room), 1))


def _whole(items: float) -> float:
    return items if isinf(items) else int(items)


def _opened(method: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return the method itself, and what partials of it pass before and beside."""
    if isinstance(method, functools.partial):
        inner, before, beside = _opened(method.func)
        return inner, (*before, *method.args), {**beside, **method.keywords}
    if planned(method) is None and not isinstance(method, Configured):
        for own in (getattr(method, "__call__", None), _forward(method)):  # noqa: B004
            if planned(own) is not None:
                return own, (), {}
    return method, (), {}


def _forward(method: Any) -> Any:
    """Return what calling a module comes to."""
    if not isinstance(method, nn.Module):
        return None
    hooks = (method._forward_hooks, method._forward_pre_hooks)  # noqa: SLF001
    return None if any(hooks) else method.forward


def _given(inner: Any) -> dict[str, Any]:
    """Return the settings that *inner* has now, and those of blocks around."""
    around = dict(OVERRIDES.get() or ()) if _record(inner) is not None else {}
    return around | dict(inner.overrides if isinstance(inner, Configured) else ())


def _record(inner: Any) -> Planned | None:
    return inner.record if isinstance(inner, Configured) else planned(inner)


def _plan(inner: Any) -> Plan:
    record = _record(inner)
    return Plan() if record is None else record.plan


def _bound(inner: Any) -> tuple[Any, ...]:
    if isinstance(inner, Configured):
        return inner.bound
    return (inner.__self__,) if isinstance(inner, MethodType) else ()


def _function(inner: Any) -> Any:
    while isinstance(inner, Configured):
        inner = inner.method
    return inner.__func__ if isinstance(inner, MethodType) else inner


def _planner_of(method: Any) -> Planner | None:
    record = _record(method)
    if isinstance(method, Configured):
        record = planned(method.record.variant(method.overrides))
    return None if record is None else record.planner
