"""
Items of a list as one tensor: stacked, padded to the longest, or concatenated.

Items that are containers become one container of tensors. What is no array, such as
strings and pictures, stays a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pad_sequence

from unfussy._arrays import array_from_numbers, from_array, is_numbers
from unfussy._batching.batch import Pad
from unfussy._batching.joining import is_array, resized
from unfussy._tree import Tree, node_for
from unfussy.errors import InputTypeError, InputValueError

__all__ = ["AS_LISTS", "Collation", "Form", "as_arrays", "collate", "lengthened"]

Form: TypeAlias = Literal["list", "stack", "pad", "pack"]

_NUMBERS: Final = (bool, int, float, complex, np.number, np.bool_)
_SHORT: Final = 256  # numbers of an item: fewer are not worth a copy of their own


@dataclass(frozen=True, slots=True)
class Collation:
    """
    What becomes of the items of a list.

    Attributes:
        form: Whether they stay a list, or become one tensor and how.
        pad: How they are padded.
    """

    form: Form = "list"
    pad: Pad = field(default_factory=Pad)


AS_LISTS: Final = Collation()


def collate(items: list[Any], how: Collation) -> Tree:
    """Return *items* as one tensor, or as one container of tensors."""
    if not items or how.form == "list":
        return items
    first = items[0]
    if is_array(first):
        return _joined(items, how)
    if is_numbers(first):
        return _joined([array_from_numbers(item) for item in items], how)
    if isinstance(first, _NUMBERS):
        return array_from_numbers(items)
    node = None if isinstance(first, PackedSequence) else node_for(type(first))
    if node is None:
        return items
    columns = zip(*(dict(node.children(item)).items() for item in items))
    parts = {
        column[0][0]: collate([child for _, child in column], how) for column in columns
    }
    return resized(node.replace(first, parts), (len(items),))


def _joined(items: Sequence[Any], how: Collation) -> Any:
    if not all(isinstance(item, np.ndarray) for item in items):
        items = [
            item if isinstance(item, torch.Tensor) else from_array(item)
            for item in items
        ]
    return _JOINS[how.form](items, how.pad)


def _stacked(items: Sequence[Any], pad: Pad | None = None) -> Any:  # noqa: ARG001
    if isinstance(items[0], np.ndarray):
        return np.stack(items)
    return torch.stack([*items])


def _concatenated(items: Sequence[Any], pad: Pad) -> Any:  # noqa: ARG001
    if not items[0].ndim:
        return _stacked(items)
    if isinstance(items[0], np.ndarray):
        return np.concatenate(items)
    return torch.cat([*items])


def _padded(items: Sequence[Any], pad: Pad) -> Any:
    axis, first = pad.axis, items[0]
    if first.ndim <= axis:
        return _stacked(items)
    lengths = [item.shape[axis] for item in items]
    if min(lengths) == max(lengths):
        return _stacked(items)
    if isinstance(first, np.ndarray):
        short = not axis and sum(item.size for item in items) < _SHORT * len(items)
        return (_scattered if short else _filled)(items, lengths, pad)
    if not axis:
        return pad_sequence([*items], batch_first=True, padding_value=pad.value)
    return _filled(items, lengths, pad)


def _scattered(items: Sequence[Any], lengths: list[int], pad: Pad) -> Any:
    """Pad many short arrays in a few steps."""
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    first = items[0]
    whole = np.full((*real.shape, *first.shape[1:]), pad.value, dtype=first.dtype)
    whole[real] = np.concatenate(items)
    return whole


def _filled(items: Sequence[Any], lengths: list[int], pad: Pad) -> Any:
    axis, first = pad.axis, items[0]
    shape = (len(items), *first.shape[:axis], max(lengths), *first.shape[axis + 1 :])
    whole: Any
    if isinstance(first, np.ndarray):
        whole = np.full(shape, pad.value, dtype=first.dtype)
    else:
        whole = first.new_full(shape, pad.value)
    before = (slice(None),) * axis
    for row, item, length in zip(whole, items, lengths):
        row[(*before, slice(length))] = item
    return whole


_JOINS: Final[Mapping[str, Callable[[Sequence[Any], Pad], Any]]] = {
    "stack": _stacked,
    "pad": _padded,
    "pack": _concatenated,
}


def lengthened(value: Tree, axis: int, length: int, extra: int, filler: float) -> Tree:
    """Return *value* with its arrays that are *length* long made *extra* longer."""
    if not is_array(value):
        node = node_for(type(value))
        if node is None or isinstance(value, PackedSequence):
            return value
        children = node.children(value)
        parts = {k: lengthened(x, axis, length, extra, filler) for k, x in children}
        return node.replace(value, parts)
    if value.ndim <= axis or value.shape[axis] != length:
        return value
    shape = (*value.shape[:axis], extra, *value.shape[axis + 1 :])
    if isinstance(value, np.ndarray):
        end = np.full(shape, filler, dtype=value.dtype)
        return np.concatenate([value, end], axis)
    return torch.cat([value, value.new_full(shape, filler)], axis)


# --- lists of numbers ----------------------------------------------------------------


def as_arrays(value: Tree) -> Tree:
    """
    Return a batch argument with numbers as arrays, where items are lists of numbers.

    All get one dtype, as they would in one array; empty ones have none of their own.
    """
    if isinstance(value, list):
        return _items_as_arrays(value)
    node = None if is_array(value) else node_for(type(value))
    if node is None or isinstance(value, PackedSequence):
        return value
    children = dict(node.children(value))
    parts = {key: as_arrays(child) for key, child in children.items()}
    changed = {key: new for key, new in parts.items() if new is not children[key]}
    return node.replace(value, changed) if changed else value


def _items_as_arrays(items: list[Any]) -> Any:
    try:
        if all(isinstance(item, _NUMBERS) for item in items):
            return array_from_numbers(items) if items else items
        if not all(map(is_numbers, items)):
            return items
        arrays = [array_from_numbers(item) for item in items]
    except (InputTypeError, InputValueError):
        return items  # whoever collates the one to blame says so
    dtypes = {array.dtype for array in arrays if array.size}
    common = np.result_type(*dtypes) if dtypes else np.dtype(np.int64)
    return [array.astype(common, copy=False) for array in arrays]
