"""
A plan and a function, compiled into one plain function.

Not a wrapper object: Dynamo silently drops those when compiled code reaches them, and
bound methods of them cannot be pickled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import torch

from unfussy._call import Planner
from unfussy._drivers import Prepare, Start, driver_for
from unfussy._method import Method
from unfussy._plan import OVERRIDES, Overrides, Plan
from unfussy._ready import COLD, NOTHING, has_short_path, make_ready
from unfussy._recorded import Quick, driven, make_recorded
from unfussy._recording import SWITCH, as_run
from unfussy._shortcut import make_short
from unfussy._traced import LeaveGraph, make_traced
from unfussy.errors import PlanError

__all__ = ["Planned", "compile_plan", "planned"]

_Function: TypeAlias = Callable[..., Any]
_MOST_VARIANTS: Final = 64


class Planned:
    """
    What a decorated function knows of itself, under ``__unfussy__``.

    Attributes:
        raw: The author's function.
        plan: The plan.
        planner: The plan made ready for calls.
    """

    __slots__ = ("_variants", "plan", "planner", "raw")

    def __init__(self, raw: _Function, plan: Plan) -> None:
        self.raw, self.plan = raw, plan
        self.planner = Planner(raw, plan, Method(raw))
        self._variants: dict[Overrides, _Function] = {}

    def variant(self, overrides: Overrides) -> _Function:
        """Return the function compiled for this plan with options applied."""
        if (found := self._variants.get(overrides)) is None:
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            found = compile_plan(self.raw, self.plan.override(overrides))
            self._variants[overrides] = found
        return found


def planned(fn: object, /) -> Planned | None:
    """Return what a decorated function or bound method knows of itself, or None."""
    found = getattr(fn, "__unfussy__", None)
    return found if isinstance(found, Planned) else None


def compile_plan(fn: _Function, plan: Plan) -> _Function:
    """
    Return a plain function that calls *fn* as *plan* says.

    Raises:
        PlanError: If *plan* cuts batches or repeats calls and *fn* is a generator or
            coroutine.
    """
    record = Planned(fn, plan)
    drive = driver_for(fn)
    if drive is None:
        return _dressed(_plain(record), record)
    if plan.precision is not None and plan.precision.on_nonfinite == "retry":
        raise PlanError(
            f"{record.planner.method.name} is a generator or coroutine and cannot be "
            "run again; use on_nonfinite='warn'"
        )
    if plan.batch is not None:
        raise PlanError(
            f"{record.planner.method.name} is a generator or coroutine and cannot be "
            "@batched; batch the plain function that it calls"
        )
    return _dressed(drive(_preparer(record)), record)


def _plain(record: Planned) -> _Function:
    plan, planner = record.plan, record.planner
    quick = _quick(record)
    general = _general(record, quick)
    traced = make_traced(record.raw, planner, general)
    is_compiling = torch.compiler.is_compiling

    def long_call(*args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return traced(args, kwargs)
        return general(args, kwargs)

    if quick is None:
        return long_call
    ready, only, switch = quick.ready, planner.method.only, SWITCH
    short = make_short(record.raw, plan, planner)

    def call(*args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return traced(args, kwargs)
        if switch.on:
            return general(args, kwargs)
        x = COLD
        if kwargs:
            if len(args) == 1 and len(kwargs) == 1 and only in kwargs:
                x = ready(args[0], kwargs[only])
        elif len(args) == 2:  # noqa: PLR2004 - the module and one input
            x = ready(args[0], args[1])
        return general(args, kwargs) if x is COLD else short(args[0], x)

    return call


def _quick(record: Planned) -> Quick | None:
    plan, planner = record.plan, record.planner
    if not has_short_path(plan):
        return None
    chunker = planner.chunker
    learnt = NOTHING if chunker is None else chunker.learnt
    ready = make_ready(plan, planner.reader, learnt)
    return Quick(ready, make_short(as_run(record.raw), plan, planner))


def _general(
    record: Planned, quick: Quick | None
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    planner, switch = record.planner, SWITCH
    run, recorded = planner.run, make_recorded(planner, quick)

    def general(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        overrides = OVERRIDES.get()
        if overrides is None:
            return recorded(args, kwargs) if switch.on else run(args, kwargs)
        # What the method calls in turn follows its own plan again.
        token = OVERRIDES.set(None)
        try:
            return record.variant(overrides)(*args, **kwargs)
        finally:
            OVERRIDES.reset(token)

    return general


def _preparer(record: Planned) -> Prepare:
    def prepare(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Start:
        if torch.compiler.is_dynamo_compiling():
            raise LeaveGraph(f"{record.planner.method.name} yields or awaits")
        if torch.compiler.is_compiling():
            name = record.planner.method.name
            raise PlanError(f"{name} yields or awaits and cannot be exported")
        planner, overrides = record.planner, OVERRIDES.get()
        if overrides is not None:
            plan = record.plan.override(overrides)
            planner = Planner(record.raw, plan, planner.method)
        return functools.partial(driven, planner, args, kwargs)

    return prepare


# Copied along, Dynamo's marks of an inner function make it skip or misread the outer.
_MARKS_OF_DYNAMO: Final = (
    "_torchdynamo",
    "get_compiler_config",
    "aot_compile",
    "_is_torch_compile",
    "_isolate_recompiles",
)


def _dressed(call: _Function, record: Planned) -> _Function:
    functools.update_wrapper(call, record.raw, updated=())
    for name, value in getattr(record.raw, "__dict__", {}).items():
        if not name.startswith(_MARKS_OF_DYNAMO):
            call.__dict__[name] = value
    call.__dict__["__wrapped__"] = record.raw
    call.__dict__["__unfussy__"] = record
    return call
