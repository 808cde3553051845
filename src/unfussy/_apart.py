"""
Results of windows taken apart by item, those of every window in the same way.

Three feature maps of three items look like three results. So what the first windows
said holds for all: which parts have an entry for each item, and which are the same
for all of them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

from unfussy._batching.joining import describe, is_array, resized
from unfussy._tree import Tree, node_for, step
from unfussy.errors import AmbiguousBatchError

__all__ = ["Separator"]

_Way: TypeAlias = Literal["rows", "parts", "same"]


class Separator:
    """
    Takes results apart.

    Args:
        name: The method's name, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ways: dict[str, _Way] = {}
        self._same: dict[str, Any] = {}

    def items(self, result: Tree, n: int) -> list[Tree]:
        """
        Return what each of *n* items got.

        Tensors and arrays give views of their rows, lists their entries; what is the
        same for all is in every item.

        Raises:
            AmbiguousBatchError: If nothing in *result* has an entry for each item, or
                something has in one window and not in another.
        """
        items = self._apart(result, n, "result")
        if "rows" not in self._ways.values():
            raise self._error("result", result, n, "return one row an item")
        return items

    def _apart(self, value: Tree, n: int, path: str) -> list[Tree]:
        way = self._ways.get(path)
        if way is None:
            way = self._ways[path] = _way_of(value, n)
        if way == "rows":
            return self._rows(value, n, path)
        if way == "parts" and (node := node_for(type(value))) is not None:
            columns = {
                key: self._apart(child, n, path + step(node, key))
                for key, child in node.children(value)
            }
            rows = (
                {key: column[i] for key, column in columns.items()} for i in range(n)
            )
            return [resized(node.replace(value, row), ()) for row in rows]
        if not _are_same(self._same.setdefault(path, value), value):
            raise self._error(path, value, n, "and was another one for others")
        return [value] * n

    def _rows(self, value: Any, n: int, path: str) -> list[Any]:
        if _way_of(value, n) != "rows":
            raise self._error(path, value, n, "and had one entry for each of others")
        return list(value)

    def _error(self, path: str, value: Any, n: int, what: str) -> AmbiguousBatchError:
        count = f" of {len(value)}" if isinstance(value, list) else ""
        return AmbiguousBatchError(
            f"{self._name}: {path} is {describe(value)}{count} for {n} items, {what}"
        )


def _way_of(value: Any, n: int) -> _Way:
    if is_array(value):
        return "rows" if value.ndim and value.shape[0] == n else "same"
    if isinstance(value, list) and len(value) == n:
        return "rows"
    is_whole = isinstance(value, PackedSequence) or node_for(type(value)) is None
    return "same" if is_whole else "parts"


def _are_same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    if is_array(a) or is_array(b):
        return type(a) is type(b) and np.array_equal(a, b)
    return bool(type(a) is type(b) and a == b)
