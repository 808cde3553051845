"""
The short path of the commonest call: a module, and one input that is ready for it.

The mode is entered and the method called in as few frames as can be. What turns out
to be unusual is left to the general path, which follows the same plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from unfussy._batching import drop_frames, is_out_of_memory
from unfussy._call import Planner
from unfussy._cast_once import CastOnce
from unfussy._devices import place_of
from unfussy._lease import LEASES, EvalLease, needs_lease
from unfussy._modes import Modes, inference_guard, normal, set_grad_enabled
from unfussy._plan import Plan
from unfussy._precision import (
    Autocast,
    is_any_autocast_enabled,
    to_float32,
)

__all__ = ["make_short"]

_Function: TypeAlias = Callable[..., Any]
_Two: TypeAlias = Callable[[Any, Any], Any]


def make_short(fn: _Function, plan: Plan, planner: Planner) -> _Two:
    """Return what calls *fn* with a module and one input that is ready."""
    run = _in_modes(fn, plan)
    evaluates = plan.modes is not None and plan.modes.eval
    casts = plan.precision is not None and plan.precision.precision != "inherit"
    any_autocast, run_ready, leases = is_any_autocast_enabled, planner.run_ready, LEASES
    if plan.precision is not None and plan.precision.precision in {"fp16", "bf16"}:
        run = _in_low_precision(fn, plan, planner)

    def short(subject: Any, x: Any) -> Any:
        try:
            if casts and any_autocast():
                return run_ready(subject, x)
            if evaluates:
                calm = leases.calm  # as in `needs_lease`, and cheaper than a call of it
                if calm is None or subject.training or leases.calm is not calm:
                    return leased(subject, x)
            return run(subject, x)
        except (RuntimeError, MemoryError) as error:
            if not splits or not is_out_of_memory(error):
                raise
            refusal = f"{type(error).__name__}: {error}"
            drop_frames(error)
        # Outside the except block, so that nothing of the attempt is alive.
        return planner.run((subject, x), {}, refusal)

    def leased(subject: Any, x: Any) -> Any:
        if not needs_lease(subject):
            return run(subject, x)
        with EvalLease(subject):
            return run(subject, x)

    splits = plan.batch is not None and plan.batch.on_oom == "split"
    return short


def _in_low_precision(fn: _Function, plan: Plan, planner: Planner) -> _Two:
    raises = plan.precision is not None and plan.precision.outputs == "float32"
    # Autocast casts a weight once for all chunks, but not in inference mode.
    shared = plan if plan.batch is None else replace(plan, modes=_shared(plan.modes))
    if plan.precision is not None and plan.precision.weights == "cast_once":
        fn = _casting_once(fn, planner.method.name)
    run = _in_modes(_raised(fn) if raises else fn, shared)

    def call(subject: Any, x: Any) -> Any:
        place = place_of(subject, subject)
        if not (target := planner.target(place)):
            return planner.run_ready(subject, x)
        with Autocast(place.type, target):
            return run(subject, x)

    return call


def _casting_once(fn: _Function, method: str) -> _Two:
    def call(subject: Any, x: Any) -> Any:
        with CastOnce(subject, place_of(subject, subject).type, method):
            return fn(subject, x)

    return call


def _shared(modes: Modes | None) -> Modes | None:
    return None if modes is None else replace(modes, mode="no_grad")


def _raised(fn: _Function) -> _Two:
    def call(subject: Any, x: Any) -> Any:
        return to_float32(fn(subject, x))

    return call


def _in_modes(fn: _Function, plan: Plan) -> _Two:
    modes = plan.modes
    if modes is None:
        return fn
    if modes.mode == "no_grad":
        return _without_grad(fn)
    if modes.result == "keep":
        return _in_inference(fn)
    return _in_inference_made_normal(fn)


def _without_grad(fn: _Function) -> _Two:
    is_grad_enabled = torch.is_grad_enabled

    def call(subject: Any, x: Any) -> Any:
        if not is_grad_enabled():
            return fn(subject, x)
        set_grad_enabled(False)
        try:
            return fn(subject, x)
        finally:
            set_grad_enabled(True)

    return call


def _in_inference(fn: _Function) -> _Two:
    enabled = torch.is_inference_mode_enabled

    def call(subject: Any, x: Any) -> Any:
        if enabled():
            return fn(subject, x)
        with inference_guard(True):  # noqa: FBT003
            return fn(subject, x)

    return call


def _in_inference_made_normal(fn: _Function) -> _Two:
    enabled, tensor = torch.is_inference_mode_enabled, torch.Tensor

    def call(subject: Any, x: Any) -> Any:
        if enabled():
            return fn(subject, x)
        with inference_guard(True):  # noqa: FBT003
            result = fn(subject, x)
        if type(result) is tensor and result.is_inference():
            return result.clone()
        return normal(result)

    return call
