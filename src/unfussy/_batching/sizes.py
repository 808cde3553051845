"""
What items look like, seen from outside: how large they are, and of what kind.

Looks at shapes and types alone, never at values.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from unfussy._arrays import is_numbers, is_picture
from unfussy._batching.joining import is_array
from unfussy._tree import Tree, node_for

__all__ = [
    "bytes_per_item",
    "kinds_of",
    "lists_in",
    "shape_of",
    "size_of",
    "tensors_in",
]

_SAMPLE = 8


def lists_in(value: Tree) -> Iterator[list[Any]]:
    """Yield every list of items in a batch argument."""
    if isinstance(value, list):
        yield value
    elif not is_array(value) and (node := node_for(type(value))) is not None:
        for _, child in node.children(value):
            yield from lists_in(child)


def tensors_in(value: Tree) -> Iterator[Any]:
    """Yield every tensor or array in a batch argument that is in no list."""
    if is_array(value):
        yield value
    elif not isinstance(value, list) and (node := node_for(type(value))) is not None:
        for _, child in node.children(value):
            yield from tensors_in(child)


def shape_of(item: Any) -> Hashable:
    """Return what items must have in common to be stacked."""
    if isinstance(item, (torch.Tensor, np.ndarray)):
        return item.shape, item.dtype
    if is_picture(item):
        return item.size, item.mode
    if is_numbers(item):
        return _shape_of_numbers(item)
    node = node_for(type(item))
    if node is None:
        return None
    return type(item), tuple(
        (key, shape_of(child)) for key, child in node.children(item)
    )


def _shape_of_numbers(numbers: Sequence[Any]) -> Hashable:
    if any(isinstance(row, (list, tuple)) for row in numbers):
        return tuple(
            _shape_of_numbers(row) if isinstance(row, (list, tuple)) else None
            for row in numbers
        )
    return len(numbers)


def size_of(item: Any) -> int:
    """Return how many numbers or characters an item has."""
    if isinstance(item, np.ndarray):
        return item.size
    if isinstance(item, torch.Tensor):
        return item.numel()
    if isinstance(item, (str, bytes)):
        return len(item)
    if is_picture(item):
        return 3 * int(math.prod(item.size))
    node = node_for(type(item))
    if node is None:
        return 1
    return sum(size_of(child) for _, child in node.children(item))


def bytes_per_item(values: Sequence[Tree], n: int) -> float:
    """Return what an item of *n* takes, as far as the first ones can tell."""
    total = 0.0
    for value in values:
        for leaf in tensors_in(value):
            total += leaf.nbytes / max(n, 1)
        for column in lists_in(value):
            few = column[:_SAMPLE]
            total += sum(_bytes_of(item) for item in few) / max(len(few), 1)
    return total


def _bytes_of(item: Any) -> float:
    if isinstance(known := getattr(item, "nbytes", None), int):
        return known
    return float(sum(leaf.nbytes for leaf in tensors_in(item))) or 4.0 * size_of(item)


def kinds_of(values: Sequence[Tree]) -> Iterator[Hashable]:
    """Yield what kind of items there are: dimensions and dtypes, not sizes."""
    for value in values:
        for leaf in tensors_in(value):
            yield leaf.ndim, leaf.dtype
        for column in filter(None, lists_in(value)):
            first = column[0]
            if is_array(first):
                yield first.ndim, first.dtype
            else:
                yield type(first).__qualname__
