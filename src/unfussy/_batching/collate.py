"""
The items of a batch argument that one chunk gets.

Runs of tensors and arrays are views. The items of a list stay a list, or become one
tensor.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from unfussy._batching.joining import is_array, like_list, resized
from unfussy._batching.stacking import AS_LISTS, Collation, collate
from unfussy._tree import Tree, node_for

__all__ = ["Indices", "item_at", "take"]

Indices: TypeAlias = range | NDArray[np.intp]
"""Which items of the batch are in a chunk, ascending."""


def take(value: Tree, indices: Indices, how: Collation = AS_LISTS) -> Tree:
    """Return the items at *indices* of a batch argument; runs of tensors as views."""
    if is_array(value):
        return _rows(value, indices, how) if value.ndim else value
    if isinstance(value, list):
        if isinstance(indices, range):
            items = value[indices.start : indices.stop]
        else:
            items = [value[i] for i in indices.tolist()]
        return like_list(value, items) if how.form == "list" else collate(items, how)
    node = node_for(type(value))
    if node is None:
        return value
    parts = {key: take(child, indices, how) for key, child in node.children(value)}
    return resized(node.replace(value, parts), (len(indices),))


def _rows(value: Any, indices: Indices, how: Collation) -> Any:
    if isinstance(indices, range):
        rows = value[indices.start : indices.stop]
    elif isinstance(value, torch.Tensor):
        rows = value[torch.from_numpy(indices).to(value.device)]
    else:
        rows = value[indices]
    if how.form == "pack" and value.ndim > 1:
        return rows.reshape(len(rows) * value.shape[1], *value.shape[2:])
    return rows


def item_at(value: Tree, i: int) -> Tree:
    """Return item *i* of a batch argument."""
    if is_array(value):
        return value[i] if value.ndim else value
    if isinstance(value, list):
        return value[i]
    node = node_for(type(value))
    if node is None:
        return value
    parts = {key: item_at(child, i) for key, child in node.children(value)}
    return resized(node.replace(value, parts), ())
