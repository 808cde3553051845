"""
What stands among the items of a batch and is none: sealed while the batch is cut.

A list of numbers in a structure is a size or a set of labels, and a sparse tensor
cannot be cut. Sealed, they look like any other value that all items share.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from unfussy._batching.finding import can_be_sliced, is_batch_list
from unfussy._batching.joining import is_array
from unfussy._tree import Tree, node_for, tree_leaves, tree_map

__all__ = ["has_sealed", "seal", "unsealed"]


class _Sealed:
    # No record: those are containers.
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def seal(value: Tree, *, declared: bool, nested: bool) -> Tree:
    """
    Return a batch argument with what is shared in it sealed.

    Args:
        value: The argument.
        declared: Whether its author says that it carries the batch.
        nested: Whether lists of lists of numbers are batches: of rows.
    """
    if isinstance(value, (list, PackedSequence)) or is_array(value):
        return value
    return _seal(value, declared=declared, nested=nested)


def _seal(value: Tree, *, declared: bool, nested: bool) -> Tree:
    if isinstance(value, torch.Tensor):
        return value if can_be_sliced(value) or not value.ndim else _Sealed(value)
    if isinstance(value, list):
        is_batch = is_batch_list(value, declared=declared, nested=nested)
        return value if is_batch else _Sealed(value)
    node = None if isinstance(value, PackedSequence) else node_for(type(value))
    if node is None:
        return value
    children = dict(node.children(value))
    parts = {
        key: _seal(child, declared=declared, nested=nested)
        for key, child in children.items()
    }
    changed = {key: new for key, new in parts.items() if new is not children[key]}
    return node.replace(value, changed) if changed else value


def has_sealed(value: Tree) -> bool:
    """Tell whether something in *value* is sealed."""
    if isinstance(value, list) or is_array(value):
        return False
    return any(isinstance(leaf, _Sealed) for leaf in tree_leaves(value))


def unsealed(value: Tree) -> Tree:
    """Return *value* with what is sealed in it as it came."""
    return tree_map(lambda x: x.value if isinstance(x, _Sealed) else x, value)
