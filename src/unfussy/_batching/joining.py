"""
Join results along the batch, and take them apart by item.

What has one entry for each item of its chunk is joined, in the caller's order; what
is the same for every chunk is kept once; anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import Distribution
from torch.nn.utils.rnn import PackedSequence

from unfussy._tree import Tree, node_for, step
from unfussy.errors import AmbiguousBatchError

__all__ = [
    "Order",
    "describe",
    "emptied",
    "is_array",
    "items_of",
    "join",
    "like_list",
    "resized",
]

Order: TypeAlias = NDArray[np.intp]
"""Where among the joined chunks each item of the caller is."""

_SMALL: Final = 2**16  # bytes: larger ones are not the same for every chunk by chance
_NUMBERS: Final = (int, float, complex, np.number)


class _Unclear(Exception):  # noqa: N818 - never leaves this file
    """Chunks of one size do not tell whether something is an entry for each item."""


def join(
    parts: Sequence[Tree],
    sizes: Sequence[int],
    order: Order | None = None,
    *,
    ask: Callable[[], tuple[Tree, int] | None] | None = None,
    alike: Callable[[], bool] = bool,
) -> Tree:
    """
    Join the results of chunks.

    Chunks that all have one size may not tell what is an entry for each item from
    what is as large by chance, nor what is the same for every chunk from what happens
    to be.

    Args:
        parts: One result for each chunk.
        sizes: How many items each chunk had.
        order: Where each item is, if the chunks were not run in the caller's order.
        ask: Gives the result of another number of items, and that number; only
            called where it makes a difference. It may find none.
        alike: Tells whether the chunks had equal items, so that it is no wonder if
            their results are equal.

    Raises:
        AmbiguousBatchError: If some part of the results has neither one entry for
            each item nor the same value in every chunk.
    """
    if ask is not None and len({*sizes}) == 1 < len(parts):
        try:
            return _Joint(sizes, order, alike).join(parts, "result")
        except _Unclear:
            pass
        if (another := ask()) is not None:
            return _join_with(parts, sizes, order, another)
    return _Joint(sizes, order).join(parts, "result")


def _join_with(
    parts: Sequence[Tree],
    sizes: Sequence[int],
    order: Order | None,
    another: tuple[Tree, int],
) -> Tree:
    """Join *parts* in the light of another one, which is left out of the result."""
    part, size = another
    if order is None:
        order = np.arange(sum(sizes), dtype=np.intp)
    return _Joint([*sizes, size], order).join([*parts, part], "result")


@dataclass(frozen=True, slots=True)
class _Joint:
    sizes: Sequence[int]
    order: Order | None
    alike: Callable[[], bool] | None = None

    def join(self, parts: Sequence[Tree], path: str) -> Tree:
        first = parts[0]
        if len(parts) == 1 and self.order is None:
            return first
        if len({type(part) for part in parts}) > 1:
            raise _cannot_join(path, "is of different types in different chunks")
        if is_array(first):
            return self._arrays(parts, path)
        if isinstance(first, list):
            return self._lists(parts, path)
        if isinstance(first, PackedSequence):
            raise _cannot_join(
                path, "is a packed sequence; return padded tensors instead"
            )
        if node_for(type(first)) is None:
            return self._same(parts, path)
        return self._containers(parts, path)

    def _arrays(self, parts: Sequence[Any], path: str) -> Any:
        first = parts[0]
        if len(parts) > 1 and all(part is first for part in parts):
            return first  # the method's own, and not a result of items
        if all(part.ndim and part.shape[0] == n for part, n in zip(parts, self.sizes)):
            if self.alike and _are_small_and_equal(parts) and not self.alike():
                raise _Unclear
            if len({tuple(part.shape[1:]) for part in parts}) > 1:
                shapes = ", ".join(str(tuple(part.shape)) for part in parts)
                raise _cannot_join(
                    path,
                    f"has shapes {shapes}; return a list with one entry an item, or "
                    "ask for join='items'",
                )
            return self._concatenated(parts)
        if _are_equal(parts):
            if self.alike and _is_one_number(first) and self._may_count(first.item()):
                raise _Unclear
            return first
        raise _cannot_join(
            path,
            f"has shape {tuple(first.shape)} for a chunk of {self.sizes[0]} and "
            "differs between chunks; return one value an item and reduce outside",
        )

    def _concatenated(self, parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], np.ndarray):
            joined = np.concatenate(parts)
            return joined if self.order is None else joined[self.order]
        together = torch.cat(list(parts))
        if self.order is None:
            return together
        return together[torch.from_numpy(self.order).to(together.device)]

    def _lists(self, parts: Sequence[Any], path: str) -> Any:
        if all(len(part) == n for part, n in zip(parts, self.sizes)):
            if self.alike and _look_like_columns(parts, self.sizes[0]):
                raise _Unclear
            items = [item for part in parts for item in part]
            if self.order is not None:
                items = [items[i] for i in self.order.tolist()]
            return like_list(parts[0], items)
        if len({len(part) for part in parts}) > 1:
            raise _cannot_join(
                path, "is a list of different lengths in different chunks"
            )
        columns = enumerate(zip(*parts))
        joined = [self.join(column, f"{path}[{i}]") for i, column in columns]
        return like_list(parts[0], joined)

    def _same(self, parts: Sequence[Any], path: str) -> Any:
        first = parts[0]
        if not all(part is first or part == first for part in parts[1:]):
            raise _cannot_join(
                path,
                f"is {describe(first)} and differs between chunks; return one value an "
                "item and reduce outside",
            )
        if self.alike and isinstance(first, _NUMBERS) and self._may_count(first):
            raise _Unclear
        return first

    def _may_count(self, number: Any) -> bool:
        """Tell whether a number may be of the items in a chunk, or their sum."""
        n = self.sizes[0]
        if isinstance(number, (bool, complex)) or not number:
            return False
        return bool(number % n == 0 if n > 1 else number == 1)

    def _containers(self, parts: Sequence[Any], path: str) -> Any:
        node = node_for(type(parts[0]))
        assert node is not None  # noqa: S101 - by the caller
        children = [dict(node.children(part)) for part in parts]
        if len({tuple(each) for each in children}) > 1:
            raise _cannot_join(path, "has different keys in different chunks")
        joined = {
            key: self.join([each[key] for each in children], path + step(node, key))
            for key in children[0]
        }
        changed = {k: v for k, v in joined.items() if v is not children[0][k]}
        if not changed:
            return parts[0]
        n = sum(self.sizes) if self.order is None else len(self.order)
        return resized(node.replace(parts[0], changed), (n,))


def _are_equal(parts: Sequence[Any]) -> bool:
    first = parts[0]
    equal: Any = np.array_equal if isinstance(first, np.ndarray) else torch.equal
    return all(
        part.shape == first.shape and part.dtype == first.dtype and equal(part, first)
        for part in parts[1:]
    )


def _is_one_number(array: Any) -> bool:
    return bool(math.prod(array.shape) == 1)


def _are_small_and_equal(parts: Sequence[Any]) -> bool:
    return parts[0].nbytes <= _SMALL and _are_equal(parts)


def _look_like_columns(parts: Sequence[list[Any]], n: int) -> bool:
    """Tell whether *n* entries may each hold *n* items, or be the same for all."""
    entries = [entry for part in parts for entry in part]
    if all(is_array(entry) for entry in entries):
        return all(entry.ndim and len(entry) == n for entry in entries)
    plain = all(isinstance(entry, (str, *_NUMBERS)) for entry in entries)
    return plain and all(part == parts[0] for part in parts)


def _cannot_join(path: str, what: str) -> AmbiguousBatchError:
    return AmbiguousBatchError(f"results of chunks cannot be joined: {path} {what}")


# --- items -------------------------------------------------------------------------


def items_of(result: Tree, n: int) -> list[Tree]:
    """
    Take the result of *n* items apart.

    Tensors and arrays with *n* rows give views of their rows, lists with *n* entries
    their entries; what does not carry the batch is in every item.
    """
    if is_array(result):
        carries = result.ndim and result.shape[0] == n
        return list(result) if carries else [result] * n
    if isinstance(result, list) and len(result) == n:
        return list(result)
    node = None if isinstance(result, PackedSequence) else node_for(type(result))
    if node is None:
        return [result] * n
    columns = {key: items_of(child, n) for key, child in node.children(result)}
    rows = ({key: column[i] for key, column in columns.items()} for i in range(n))
    return [resized(node.replace(result, row), ()) for row in rows]


def emptied(result: Tree, n: int) -> Tree:
    """Return what *result*, of *n* items, would be of none."""
    if is_array(result):
        if not result.ndim or result.shape[0] != n:
            return result
        none = result[:0]  # a view, which would keep the memory of all
        return none.clone() if isinstance(none, torch.Tensor) else none.copy()
    if isinstance(result, list) and len(result) == n:
        return like_list(result, [])
    node = None if isinstance(result, PackedSequence) else node_for(type(result))
    if node is None:
        return result
    parts = {key: emptied(child, n) for key, child in node.children(result)}
    return resized(node.replace(result, parts), (0,))


def is_array(value: object) -> bool:
    """Tell whether *value* is a tensor or an array."""
    return isinstance(value, (torch.Tensor, np.ndarray))


def like_list(value: list[Any], items: list[Any]) -> list[Any]:
    """Return *items* as a list of the type of *value*, with its attributes."""
    # Slicing a subclass of list gives a plain list.
    if type(value) is list:
        return items
    copied: list[Any] = type(value).__new__(type(value))
    copied.__dict__.update(value.__dict__)
    list.extend(copied, items)
    return copied


def resized(value: Any, leading: tuple[int, ...]) -> Any:
    """Give a rebuilt distribution, ours to change, the batch shape of its tensors."""
    if isinstance(value, Distribution) and value._batch_shape:  # noqa: SLF001
        shape = (*leading, *value._batch_shape[1:])  # noqa: SLF001
        value._batch_shape = torch.Size(shape)  # noqa: SLF001
    return value


def describe(value: object) -> str:
    """Tell in a few words what *value* is, for errors."""
    if is_array(value):
        shape = tuple(value.shape)  # type: ignore[attr-defined]
        return f"a {type(value).__name__} of shape {shape}"
    return f"a {type(value).__name__}"
