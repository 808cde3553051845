"""What a recorded call was given: how many items, how many bytes, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import torch

from unfussy._inputs import subject_first, subject_of
from unfussy._method import Method
from unfussy._recording import Frame
from unfussy._tree import tree_leaves

__all__ = ["note_input", "note_inputs"]

T = TypeVar("T")

_ARRAYS: Final = frozenset({torch.Tensor, np.ndarray})


def note_input(frame: Frame, x: Any) -> bool:
    """Take note of one tensor or array, and tell whether *x* is one with items."""
    try:
        if type(x) not in _ARRAYS or not x.ndim or type(x.shape[0]) is not int:
            return False
        frame.items, frame.nbytes = x.shape[0], x.nbytes
    except Exception:  # noqa: BLE001 - sparse and nested ones have no such sizes
        return False
    if isinstance(x, torch.Tensor):
        frame.device = x.device
    return True


def note_inputs(
    frame: Frame, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Take note of the arguments of any call."""
    try:
        args, kwargs = subject_first(args, kwargs, method)
        _, _, start = subject_of(args, method)
        inputs = [*args[start:], *kwargs.values()]
        frame.nbytes = sum(map(_nbytes, inputs))
        frame.items = _first(map(_length, inputs), 1)
        frame.device = _device(inputs)
    except Exception:  # noqa: BLE001 - who reads the inputs next says what is wrong
        return


def _device(inputs: list[Any]) -> torch.device | None:
    leaves = chain(inputs, chain.from_iterable(map(tree_leaves, inputs)))
    first = next((x for x in leaves if isinstance(x, torch.Tensor)), None)
    return None if first is None else first.device


def _nbytes(value: Any) -> int:
    known = getattr(value, "nbytes", None)
    if known is not None:
        return int(known)
    if isinstance(value, Mapping):
        return sum(map(_nbytes, value.values()))
    if not isinstance(value, (list, tuple)) or not value:
        return 0
    if isinstance(value[0], (int, float)):  # as the numbers that they become
        return 8 * len(value)
    return sum(map(_nbytes, value))


def _length(value: Any) -> int | None:
    """Return how many items *value* looks like; None if like none."""
    shape = getattr(value, "shape", None)
    if shape is not None:  # not `len`, which tracing warns of
        return shape[0] if len(shape) and type(shape[0]) is int else None
    if isinstance(value, Mapping):
        return _first(map(_length, value.values()), None)
    return len(value) if isinstance(value, (list, tuple)) else None


def _first(values: Iterable[int | None], default: T) -> int | T:
    return next((value for value in values if value is not None), default)
