"""
Whether a call is one chunk, told at a glance.

Most calls are, and of few plain inputs; finding the batch in any inputs takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import torch

from unfussy._batching import Batch
from unfussy._inputs import named_inputs
from unfussy._method import Method
from unfussy._underway import Call

__all__ = ["FEW", "MANY", "SMALL", "SMALL_BYTES", "is_plain", "make_glance"]

FEW: Final = 8
"""So many items are always tried at once."""
MANY: Final = 64
"""So many are, if they are small."""
SMALL: Final = 2**21
"""So many numbers are small, all items together."""
SMALL_BYTES: Final = 4 * SMALL
"""What these take in float32."""
_PLAIN: Final = frozenset({int, float, bool, str, type(None)})


def is_plain(batch: Batch) -> bool:
    """Tell whether a call that is one chunk is just a call."""
    return not (
        batch.progress
        or batch.keep == "cpu"
        or batch.item is not None
        or batch.cost is not None
        or batch.budget is not None
        or batch.group is not None
        or batch.on_error != "raise"
        or batch.join != "auto"
        or batch.makes_arrays
    )


def make_glance(batch: Batch, method: Method) -> Callable[[Call], bool]:
    """
    Return what tells whether all inputs of a call can run at once.

    Where this is not plain at a glance, the answer is no.
    """
    if not is_plain(batch):
        return lambda _: False
    over, fits = batch.over, _make_fits(batch)

    def glance(call: Call) -> bool:
        if over is None:
            return fits([*call.args[call.start :], *call.kwargs.values()])
        inputs = named_inputs(call.args, call.kwargs, call.start, method)
        declared = [inputs.get(name) for name in over]
        return all(map(_has_items, declared)) and fits(declared)

    return glance


def _make_fits(batch: Batch) -> Callable[[Iterable[Any]], bool]:
    size = batch.size
    if size == "all":
        return lambda values: _length(values) is not None

    def fits(values: Iterable[Any]) -> bool:
        length = _length(values)
        if length is None:
            return False
        if size != "auto":
            return length <= size
        return length <= FEW or (length <= MANY and _are_small(values))

    return fits


def _length(values: Iterable[Any]) -> int | None:
    """Return the one length of all that has items, -1 if nothing has, else None."""
    length = -1
    for value in values:
        if _has_items(value):
            n = value.shape[0]
        elif type(value) in (dict, tuple):
            n = _length(value.values() if type(value) is dict else value)
        elif type(value) in _PLAIN:
            continue
        else:
            return None
        if n is None or (n != length and min(n, length) >= 0):
            return None
        length = max(n, length)
    return length


def _are_small(values: Iterable[Any]) -> bool:
    return sum(map(_count, values)) <= SMALL


def _count(value: Any) -> int:
    if type(value) is torch.Tensor:
        return value.numel()
    if type(value) is np.ndarray:
        return value.size
    if type(value) in (dict, tuple):
        return sum(map(_count, value.values() if type(value) is dict else value))
    return 0


def _has_items(value: Any) -> bool:
    kind = type(value)
    if kind is torch.Tensor:
        return value.layout is torch.strided and not value.is_nested and value.ndim > 0
    return kind is np.ndarray and value.ndim > 0
