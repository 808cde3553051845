"""
How an entry of a plan gets onto a function, which may have some already.

What comes back is a plain function with the signature, the documentation and the type
of the one that was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from unfussy._compile import compile_plan, planned
from unfussy._plan import Plan
from unfussy.errors import PlanError

__all__ = ["bare_or_called", "decorate"]

F = TypeVar("F", bound=Callable[..., Any])


def bare_or_called(fn: Any, plan: Plan, /) -> Any:
    """Return *fn* with *plan*, or a decorator if *fn* is None."""
    return (lambda fn: decorate(fn, plan)) if fn is None else decorate(fn, plan)


def decorate(fn: F, plan: Plan, /) -> F:
    """
    Return *fn* with the entries of *plan* added to its own.

    Raises:
        PlanError: If *fn* is no function, or its plan says otherwise already.
    """
    _check_function(fn)
    record = planned(fn)
    raw = fn if record is None else record.raw
    if record is not None:
        plan = record.plan.merge(plan, record.planner.method.name)
    _check_names(raw, plan)
    return compile_plan(raw, plan)  # type: ignore[return-value]


def _check_function(fn: object) -> None:
    if isinstance(fn, (classmethod, staticmethod, property)):
        kind = type(fn).__name__
        raise PlanError(f"put the decorator below @{kind}, next to the function")
    if isinstance(fn, (type, nn.Module)):
        kind = "class" if isinstance(fn, type) else "module"
        raise PlanError(
            f"this is a {kind}; decorate its methods, or use unfuss(module)"
        )
    if not callable(fn):
        raise PlanError(f"decorators go on functions, got {fn!r}")


def _check_names(raw: Callable[..., Any], plan: Plan) -> None:
    skip = plan.move.skip if plan.move is not None else ()
    over = plan.batch.over if plan.batch is not None else ()
    beside = () if plan.batch is None else tuple(plan.batch.injected())
    parameters = inspect.signature(raw).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    settings = (("skip", skip), ("over", over or ()), ("pad or pack", beside))
    for setting, names in settings:
        for name in names:
            if name.partition("[")[0] not in parameters:
                known = ", ".join(parameters)
                raise PlanError(
                    f"{setting} names {name!r}, which is no parameter of "
                    f"{raw.__qualname__}({known})"
                )
