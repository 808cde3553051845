"""
Whether a call is one chunk, told at a glance.

Most calls are, and of few plain inputs; finding the batch in any inputs takes longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch

from unfussy._batching import Batch
from unfussy._inputs import Arguments, named_inputs
from unfussy._method import Method

__all__ = ["is_one_chunk"]

_PLAIN: Final = frozenset({int, float, bool, str, type(None)})


def is_one_chunk(given: Arguments, start: int, batch: Batch, method: Method) -> bool:
    """
    Tell whether all inputs can run at once, before any memory has run out.

    Where this is not plain at a glance, the answer is no.
    """
    if batch.progress or batch.keep == "cpu":
        return False
    if batch.size == "auto":
        return True
    args, kwargs = given
    if batch.over is None:
        return _fit([*args[start:], *kwargs.values()], batch.size)
    inputs = named_inputs(args, kwargs, start, method)
    declared = [inputs.get(name) for name in batch.over]
    return all(map(_has_items, declared)) and _fit(declared, batch.size)


def _fit(values: Iterable[Any], size: int) -> bool:
    length = -1
    for value in values:
        if _has_items(value):
            n = value.shape[0]
            if n > size or (n != length and length >= 0):
                return False
            length = n
        elif type(value) not in _PLAIN:
            return False
    return True


def _has_items(value: Any) -> bool:
    kind = type(value)
    if kind is torch.Tensor:
        return value.layout is torch.strided and not value.is_nested and value.ndim > 0
    return kind is np.ndarray and value.ndim > 0
