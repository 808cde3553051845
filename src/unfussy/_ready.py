"""
The input of a common call, where it should be: one input, one module, no options.

It is decided in one frame that nothing unusual holds. Whatever is unusual is left to
the general path, which follows the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from unfussy._batching import Batch
from unfussy._devices import FLOATS, anchor, is_ordinary
from unfussy._fitting import FEW, MANY, SMALL, is_plain
from unfussy._inputs import InputReader
from unfussy._learnt import Learnt
from unfussy._plan import OVERRIDES, Plan
from unfussy._precision import autocast_for

__all__ = ["COLD", "NOTHING", "has_short_path", "make_ready"]

_Ready: TypeAlias = Callable[[Any, Any], Any]

COLD: Final = object()
"""What the short path answers to a call that is not a common one."""


class _Nothing:
    tight = False


NOTHING: Final = _Nothing()
"""What is learnt of calls that are not cut."""


def has_short_path(plan: Plan) -> bool:
    """Tell whether calls that follow *plan* may be common ones."""
    batch, move = plan.batch, plan.move
    if plan.output is not None or (move is not None and (move.skip or move.copy)):
        return False
    if batch is not None and (batch.over or not is_plain(batch)):
        return False
    precision = plan.precision
    return precision is None or not (precision.keep_fp32 or precision.looks)


def make_ready(
    plan: Plan, reader: InputReader | None, learnt: Learnt | _Nothing = NOTHING
) -> _Ready:
    """
    Return what gives a module's one input, moved, or `COLD`.

    Args:
        plan: What calls follow.
        reader: What brings inputs to the module, or None.
        learnt: What calls in chunks have taught.
    """
    automatic = plan.precision is not None and plan.precision.precision == "auto"
    if reader is None and not automatic:
        return _make_ready_as_it_is(plan, learnt)
    calm: set[torch.device] = set()  # devices on which nothing unusual holds
    keeps = plan.move is not None and plan.move.float64 == "keep"
    tensor, doubles = torch.Tensor, frozenset() if keeps else _DOUBLES
    ordinary, overrides, bring = is_ordinary, OVERRIDES.get, _make_bring(plan, reader)
    cuts, size, is_large = plan.batch is not None, _most(plan.batch), _is_large(plan)

    def ready(subject: Any, x: Any) -> Any:
        try:
            if overrides() is not None or (
                cuts
                and (
                    type(n := x.shape[0]) is not int
                    or learnt.tight
                    or (n > size and is_large(x, n))
                )
            ):
                return COLD
            first = anchor(subject)
        except _NOT_COMMON:
            return COLD
        if first is None or not ordinary(subject):
            return COLD
        device = first.device
        if device not in calm:
            if device.type == "meta" or (automatic and _switches(device)):
                return COLD
            calm.add(device)
        if type(x) is tensor and x.device == device and x.dtype not in doubles:
            return x
        return bring(x, first, device)

    return ready


def _make_ready_as_it_is(plan: Plan, learnt: Learnt | _Nothing) -> _Ready:
    ordinary, overrides = is_ordinary, OVERRIDES.get
    cuts, size, is_large = plan.batch is not None, _most(plan.batch), _is_large(plan)

    def ready(subject: Any, x: Any) -> Any:
        try:
            if overrides() is not None or (
                cuts
                and (
                    type(n := x.shape[0]) is not int
                    or learnt.tight
                    or (n > size and is_large(x, n))
                )
            ):
                return COLD
        except _NOT_COMMON:
            return COLD
        return x if ordinary(subject) else COLD

    return ready


_NOT_COMMON: Final = (AttributeError, IndexError)  # no module, or nothing to cut
_LEAVES: Final = frozenset({torch.Tensor, np.ndarray})
_DOUBLES: Final = frozenset({torch.float64, torch.complex128})


def _most(batch: Batch | None) -> float:
    """Return how many items are one chunk whatever they are."""
    if batch is None or batch.size == "all":
        return math.inf
    return FEW if batch.size == "auto" else batch.size


def _is_large(plan: Plan) -> Callable[[Any, int], bool]:
    if plan.batch is None or plan.batch.size != "auto":
        return lambda x, n: True  # noqa: ARG005
    return lambda x, n: n > MANY or math.prod(x.shape) > SMALL


def _switches(device: torch.device) -> bool:
    return bool(autocast_for("auto", device.type, torch.float32))


def _make_bring(
    plan: Plan, reader: InputReader | None
) -> Callable[[Any, torch.Tensor, torch.device], Any]:
    """Return what converts and moves an input that is not where the module lives."""
    if reader is None:
        return lambda x, first, device: x  # noqa: ARG005
    cuts, bring_it, kinds = plan.batch is not None, reader.bring, _LEAVES
    # A list may have to be read as numbers, or cut by item, first.
    nests = not reader.reads and not cuts

    def bring(x: Any, first: torch.Tensor, device: torch.device) -> Any:
        if not nests and type(x) not in kinds:
            return COLD
        if cuts and not first.is_cpu:  # the move itself may run out of memory
            return COLD
        dtype = first.dtype
        return bring_it(x, device, dtype) if dtype in FLOATS else COLD  # quantised

    return bring
