"""
Features and labels as people have them, as rows of numbers and as plain labels.

N rows, D numbers each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import array_from_numbers, from_array, is_numbers, to_array
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface.searching import Rows

__all__ = [
    "check_count",
    "check_lengths",
    "dense",
    "like",
    "on_host",
    "plain_labels",
    "spread_labels",
]

# Squares of shorter or longer rows leave the range of single precision.
_SHORTEST: Final = 1e-18
_LONGEST: Final = 1e18


def dense(value: Any, /) -> Any:
    """
    Return *value* as a tensor or an array of real numbers, with their dtype.

    Raises:
        InputTypeError: If it is no tensor, array or list of such, of real numbers.
    """
    if isinstance(value, (list, tuple)):
        value = array_from_numbers(value) if is_numbers(value) else _stacked(value)
    if isinstance(value, Tensor):
        value = value.detach()
    elif not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        kind = type(value).__name__
        raise InputTypeError(f"features are a tensor, an array or a list, got a {kind}")
    if not _is_real(value):
        raise InputTypeError(f"features are real numbers, got {value.dtype}")
    return value


def _stacked(values: Sequence[Any]) -> Any:
    parts = [dense(value) for value in values]
    if all(isinstance(part, Tensor) for part in parts):
        return torch.stack(parts)
    return np.stack(list(map(on_host, parts)))


def _is_real(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_complex() and value.dtype != torch.bool
    return value.dtype.kind in "iuf"


def on_host(rows: Any, /) -> Rows:
    """Return a tensor or an array as an array."""
    return to_array(rows) if isinstance(rows, Tensor) else rows


def like(array: Rows, given: Any, /) -> Any:
    """Return *array* as a tensor where *given* is one, else as it is."""
    if isinstance(given, Tensor):
        return from_array(array).to(given.device)
    return array


def check_lengths(norms: Rows, /, what: str) -> None:
    """
    Make sure that rows are zero, or neither very short nor very long.

    Raises:
        InputValueError: If one is not, or holds NaN or infinity.
    """
    bad = ~((norms == 0) | (norms > _SHORTEST) & (norms < _LONGEST))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputValueError(
            f"{what} {row} has the length {norms[row]}; leave it out, or scale it so "
            "that it can be compared"
        )


def check_count(name: str, count: int, /) -> None:
    """
    Make sure that *count* is at least one.

    Raises:
        InputValueError: If it is less.
    """
    if count < 1:
        raise InputValueError(f"{name} is a whole number from 1, got {count}")


def plain_labels(labels: Sequence[Any] | Rows | Tensor, /) -> list[str | int]:
    """
    Return *labels* as strings and whole numbers of Python.

    Raises:
        InputTypeError: If one is neither.
    """
    plain: list[Any] = [
        x.item() if isinstance(x, (np.generic, Tensor)) else x for x in labels
    ]
    for label in plain:
        if not isinstance(label, (str, int)) or isinstance(label, bool):
            raise InputTypeError(
                f"labels are strings or whole numbers, got {label!r}, a "
                f"{type(label).__name__}"
            )
    return plain


def spread_labels(labels: Any, n: int, /) -> list[str | int]:
    """
    Return one label for each of *n* queries.

    Raises:
        InputValueError: If there are neither one nor *n*.
    """
    if isinstance(labels, (str, int, np.integer)):
        return plain_labels([labels]) * n
    if len(labels) != n:
        raise InputValueError(
            f"verify() takes one label, or one for each query, got {len(labels)} for "
            f"{n}"
        )
    return plain_labels(labels)
