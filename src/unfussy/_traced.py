"""
The same plan while torch.compile or torch.export traces the call.

Dynamo follows neither locks nor private guards, so here the contexts are torch's
public ones. Inputs are moved and modes are kept as in eager mode. The batch is run as
a whole: the compiled program around the call owns the memory. A call that no graph
can hold is made outside of it, so that the plan is followed all the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from unfussy._arrays import is_numbers, is_picture, to_array
from unfussy._call import Planner, is_low
from unfussy._devices import FLOATS, Place, anchor, has_own_place, place_of
from unfussy._inputs import Arguments, check_subject, subject_first, subject_of
from unfussy._method import Method
from unfussy._moving import Move, Moved, make_mover
from unfussy._outputs import Output
from unfussy._plan import BLOCKS, OVERRIDES, Plan
from unfussy._precision import (
    LOW,
    Precision,
    PrecisionName,
    Target,
    autocast_for,
)
from unfussy._traced_modes import autocast, evaluated, gradients, switches
from unfussy._traced_tree import first_leaf, is_followed, visit_traced
from unfussy.errors import PlanError

__all__ = ["LeaveGraph", "make_traced"]

_Call: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class LeaveGraph(BaseException):
    """Raised in a graph only: Dynamo then runs the frames around as they are."""


def make_traced(fn: Callable[..., Any], planner: Planner, general: _Call) -> _Call:
    """
    Return a function that calls *fn* as planned, in a form that Dynamo follows.

    Args:
        fn: The author's function.
        planner: The plan.
        general: Makes the call outside of graphs.
    """
    plan, method = planner.plan, planner.method
    precision = plan.precision or Precision("inherit")
    raises = precision.outputs == "float32" and precision.precision != "inherit"

    def traced(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = subject_first(args, kwargs, method)
        if torch.compiler.is_dynamo_compiling():
            followed = _are_followed(args, kwargs, plan.move, method)
            leaves = precision.keep_fp32 or precision.looks
            if BLOCKS.are_open or leaves or not followed:
                outside: _Call = torch.compiler.disable(general)  # type: ignore[no-untyped-call]
                return outside(args, kwargs)
        elif OVERRIDES.get() is not None:
            return general(args, kwargs)
        elif precision.keep_fp32:
            raise PlanError(f"{method.name}: keep_fp32 cannot be exported")
        elif precision.looks:
            raise PlanError(f"{method.name}: on_nonfinite cannot be exported")
        subject, module, start = subject_of(args, method)
        place, given = _place_of(module, subject), (args[start:], kwargs)
        if plan.move is not None:
            check_subject(subject, method)
            args, kwargs = _moved((args, kwargs), start, plan.move, place, method)
        target = _target_of(precision.precision, place.type, place.dtype)
        low = raises and is_low(target, place.type)

        def body() -> Any:
            with gradients(plan.modes), autocast(precision, target, place.type):
                return fn(*args, **kwargs)

        result = evaluated(body, module) if switches(plan.modes, module) else body()
        return _finished(result, plan, given, low=low)

    return traced


# --- where and how -----------------------------------------------------------------

# What eager calls remember would be a side effect of the graph, so it is not asked.


def _place_of(module: nn.Module | None, subject: Any) -> Place:
    first = None if module is None else anchor(module)
    if first is None or first.dtype not in FLOATS or not _is_at_home(subject, first):
        return place_of(module, subject)
    return Place(first.device, first.dtype, first.device.type)


def _is_at_home(subject: Any, first: torch.Tensor) -> bool:
    return not first.is_meta and not has_own_place(subject)


def _target_of(
    precision: PrecisionName, kind: str, dtype: torch.dtype | None
) -> Target:
    return autocast_for(precision, kind, dtype)


# Asked once while the graph is made, as `torch.compiler.assume_constant_result` has it.
_target_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


# --- inputs ------------------------------------------------------------------------


def _are_followed(
    args: tuple[Any, ...], kwargs: dict[str, Any], move: Move | None, method: Method
) -> bool:
    """Tell whether no input has to be read or moved outside of the graph."""
    if move is None:
        return True
    named = {method.label(i): value for i, value in enumerate(args)} | kwargs
    return all(
        is_followed(value)
        and not (method.parameter_of(label) in method.declared and _is_read(value))
        for label, value in named.items()
    )


def _is_read(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return is_numbers(value) or any(map(_is_read, value))
    if isinstance(value, dict):
        return any(map(_is_read, value.values()))
    return is_picture(value)


def _moved(
    given: Arguments, start: int, move: Move, place: Place, method: Method
) -> Arguments:
    args, kwargs = given
    moved: Moved = {}
    mover = make_mover(move, place)
    # Where a module has no precision to follow, a double array is NumPy's default.
    array_mover = make_mover(move, replace(place, dtype=place.real()))

    def leaf(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return array_mover(torch.as_tensor(x), moved)
        return mover(x, moved)

    def bring(label: str, value: Any) -> Any:
        if label in move.skip or method.parameter_of(label) in move.skip:
            return value
        return visit_traced(value, leaf)

    positional = [bring(method.label(i), args[i]) for i in range(start, len(args))]
    named = {name: bring(name, value) for name, value in kwargs.items()}
    return (*args[:start], *positional), named


# --- results -----------------------------------------------------------------------


def _finished(result: Any, plan: Plan, given: Any, *, low: bool) -> Any:
    steps: list[Callable[[Any], Any]] = []
    if low:
        steps.append(_to_float32)
    if plan.batch is not None and plan.batch.keep == "cpu":
        steps.append(_to_cpu)
    if plan.output is not None:
        steps.extend(_output_steps(plan.output, given))

    def finish(result: Any) -> Any:
        for step in steps:
            result = visit_traced(result, step)
        return result

    if steps and torch.compiler.is_dynamo_compiling() and not is_followed(result):
        finish = torch.compiler.disable(finish)  # type: ignore[no-untyped-call]
    return finish(result)


def _output_steps(output: Output, given: Any) -> list[Callable[[Any], Any]]:
    first = first_leaf(given)
    arrays = isinstance(first, np.ndarray)
    if output.kind == "numpy" or (output.kind == "mirror" and arrays):
        return [_to_array]
    if output.device == "cpu" or (output.device == "input" and arrays):
        return [_to_cpu, _to_tensor]
    if output.device == "input" and first is not None:
        return [functools.partial(_to, device=first.device), _to_tensor]
    return [_to_tensor]


def _to(x: Any, device: torch.device) -> Any:
    return x.to(device) if isinstance(x, torch.Tensor) else x


def _to_cpu(x: Any) -> Any:
    return _to(x, torch.device("cpu"))


def _to_float32(x: Any) -> Any:
    if not isinstance(x, torch.Tensor) or x.dtype not in LOW:
        return x
    # Strict export asserts of what `x.float()` is given the dtype without autocast.
    return torch.empty_like(x, dtype=torch.float32).copy_(x)


def _to_array(x: Any) -> Any:
    return to_array(x) if isinstance(x, torch.Tensor) else x


def _to_tensor(x: Any) -> Any:
    return torch.as_tensor(x) if isinstance(x, np.ndarray) else x
