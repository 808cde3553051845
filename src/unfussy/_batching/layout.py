"""
How the items of a call may be put together: which may share a chunk, at what cost.

Tensors and arrays have equal items by nature; lists may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from unfussy._arrays import is_numbers
from unfussy._batching.batch import Batch
from unfussy._batching.collate import Indices, item_at
from unfussy._batching.joining import is_array
from unfussy._batching.sealing import has_sealed, unsealed
from unfussy._batching.sizes import (
    bytes_per_item,
    kinds_of,
    lists_in,
    shape_of,
    size_of,
    tensors_in,
)
from unfussy._batching.work import Lengths, Work
from unfussy._tree import Tree, node_for
from unfussy.errors import AmbiguousBatchError, InputTypeError, InputValueError

__all__ = ["Layout", "Work", "lay_out"]

Counts: TypeAlias = NDArray[np.intp]
_Groups: TypeAlias = Mapping[Hashable, Sequence[int] | range]
_LEAST = 1e-9  # what costs nothing could never be cut


@dataclass(frozen=True, slots=True)
class Layout:
    """
    How the items of a call may be put together.

    Attributes:
        works: Items that may share chunks.
        real: The true length of each item, if items are padded or concatenated.
        width: Their length if all are parts of one tensor, which stays as long.
        bytes_per_item: What an item takes, about.
        unit: What an item costs, about.
        kind: What kind of items these are, as far as memory is concerned.
    """

    works: list[Work]
    real: Counts | None
    width: int | None
    bytes_per_item: float
    unit: float
    kind: Hashable

    @property
    def is_even(self) -> bool:
        """Whether no chunk holds items that cost more than others."""
        return not any(isinstance(work.lengths, np.ndarray) for work in self.works)


def lay_out(
    values: Sequence[Tree], n: int, batch: Batch, method: str, *, ordered: bool = False
) -> Layout:
    """
    Look at the *n* items of the batch arguments *values*.

    Args:
        values: The batch arguments.
        n: How many items each has.
        batch: How they are cut.
        method: The method's name, for errors.
        ordered: Whether chunks have to be runs of items, in the caller's order.

    Raises:
        AmbiguousBatchError: If the parts of one item that are padded together differ
            in length.
        InputTypeError: If the group of an item cannot be told from others.
        InputValueError: If the cost of an item is no number from 0.
    """
    columns = [column for value in values for column in lists_in(value)]
    costs = _costs(values, n, batch, method)
    real, width = None, None
    if not columns:
        works, real, width = _rectangular(values, n, batch, costs)
    elif batch.ragged == "list":
        lengths = _sizes(columns, n) if costs is None else costs
        works = [Work(range(n), lengths, padded=True)]
    elif batch.ragged == "equal":
        works = list(_equal(columns, n, costs))
    else:
        works, real = _ragged(columns, n, batch, costs, method)
    if (keys := _keys(values, n, batch, method)) is not None:
        works = [part for work in works for part in work.split(keys)]
    works = [work.levelled() for work in works]
    unit = sum(work.useful for work in works) / max(n, 1) or 1.0
    if ordered:
        runs = [run for work in works for run in work.runs()]
        works = sorted(runs, key=lambda run: run.indices[0])
    kind = batch.ragged, tuple(kinds_of(values))
    return Layout(works, real, width, bytes_per_item(values, n), unit, kind)


def _asked(
    ask: Callable[..., Any], values: Sequence[Tree], n: int, batch: Batch
) -> Iterator[Any]:
    """Yield what *ask* says of each item, or `_Unknown` where that may fail later."""
    opened = unsealed if any(map(has_sealed, values)) else lambda item: item
    for i in range(n):
        try:
            yield ask(*(opened(item_at(value, i)) for value in values))
        except Exception:
            if batch.on_error == "raise":
                raise
            yield _Unknown()


class _Unknown:
    """The group of an item that cannot be looked at: like no other."""


def _keys(
    values: Sequence[Tree], n: int, batch: Batch, method: str
) -> list[Hashable] | None:
    if batch.group is None:
        return None
    ask: Any = batch.group
    keys = list(_asked(ask, values, n, batch))
    for i, key in enumerate(keys):
        if not _is_hashable(key):
            raise InputTypeError(
                f"{method}: the group of an item is a number, a string or a tuple of "
                f"these, got {type(key).__name__} for item {i}"
            )
    return keys


def _is_hashable(key: object) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    # Two tensors are never the same key, whatever they hold.
    return not is_array(key)


def _costs(values: Sequence[Tree], n: int, batch: Batch, method: str) -> Lengths | None:
    if batch.cost is None:
        return None
    ask: Any = batch.cost
    told = _asked(ask, values, n, batch)
    found = [0.0 if isinstance(cost, _Unknown) else float(cost) for cost in told]
    costs = np.array(found, dtype=np.float64)
    usable = np.isfinite(costs) & (costs >= 0)
    if not usable.all():
        i = int(np.argmin(usable))
        raise InputValueError(
            f"{method}: the cost of an item is a number from 0, got {found[i]} for "
            f"item {i}"
        )
    return np.maximum(costs, _LEAST)


def _rectangular(
    values: Sequence[Tree], n: int, batch: Batch, costs: Lengths | None
) -> tuple[list[Work], Counts | None, int | None]:
    tensors = [leaf for value in values for leaf in tensors_in(value) if leaf.ndim]
    real, width = None, None
    if batch.makes_arrays:
        axis = 1 + (0 if batch.pad is None else batch.pad.axis)
        width = next((leaf.shape[axis] for leaf in tensors if leaf.ndim > axis), 1)
        real, length = np.full(n, width, dtype=np.intp), width
    else:
        length = sum(map(_size_of_row, tensors))
    padded = costs is not None and batch.ragged in {"pad", "list"}
    lengths = float(max(length, 1)) if costs is None else costs
    return [Work(range(n), lengths, padded)], real, width


def _size_of_row(tensor: Any) -> int:
    row = tensor[:1]
    return row.numel() if isinstance(row, torch.Tensor) else int(row.size)


def _sizes(columns: list[list[Any]], n: int) -> Lengths:
    rows = (sum(size_of(column[i]) for column in columns) for i in range(n))
    return np.fromiter((max(row, 1) for row in rows), np.float64, n)


# --- equal shapes ------------------------------------------------------------------


def _equal(columns: list[list[Any]], n: int, costs: Lengths | None) -> Iterator[Work]:
    groups: dict[Hashable, list[int]] = {}
    for i in range(n):
        key = tuple(shape_of(column[i]) for column in columns)
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        indices = _indices(members, n)
        if costs is None:
            size = sum(size_of(column[members[0]]) for column in columns)
            yield Work(indices, float(max(size, 1)))
        else:
            yield Work(indices, costs[np.asarray(indices)])


def _indices(members: Sequence[int], n: int) -> Indices:
    return range(n) if len(members) == n else np.array(members, dtype=np.intp)


# --- different lengths -------------------------------------------------------------


def _ragged(
    columns: list[list[Any]],
    n: int,
    batch: Batch,
    costs: Lengths | None,
    method: str,
) -> tuple[list[Work], Counts]:
    axis = batch.pad.axis if batch.ragged == "pad" and batch.pad is not None else 0
    groups, table = _plain(columns, n, axis) or _looked_through(columns, n, axis)
    real = np.zeros(n, dtype=np.intp)
    works = []
    for members in groups.values():
        indices = np.asarray(members, dtype=np.intp)
        sizes = [table[i] for i in members]
        real[indices] = _one_length(sizes, members, batch, method)
        lengths = np.maximum(real[indices], 1.0) if costs is None else costs[indices]
        works.append(Work(indices, lengths, padded=batch.ragged == "pad"))
    return works, real


def _plain(
    columns: list[list[Any]], n: int, axis: int
) -> tuple[_Groups, Sequence[Sequence[int]]] | None:
    """Look at items that are arrays, alike but for their lengths, all at once."""
    if len(columns) > 1 or {*map(type, columns[0])} - {torch.Tensor, np.ndarray}:
        return None
    shapes = [item.shape for item in columns[0]]
    kinds = {(*shape[:axis], -1, *shape[axis + 1 :]) for shape in shapes}
    if len(kinds) > 1 or len({item.dtype for item in columns[0]}) > 1:
        return None
    if len(shapes[0]) <= axis:
        return None
    return {None: range(n)}, [shape[axis : axis + 1] for shape in shapes]


def _looked_through(
    columns: list[list[Any]], n: int, axis: int
) -> tuple[_Groups, Sequence[Sequence[int]]]:
    groups: dict[Hashable, list[int]] = {}
    table: list[list[int]] = []
    for i in range(n):
        leaves = [leaf for column in columns for leaf in _leaves(column[i], axis)]
        groups.setdefault(tuple(key for key, _ in leaves), []).append(i)
        table.append([size for _, size in leaves if size >= 0])
    return groups, table


def _leaves(item: Any, axis: int) -> Iterator[tuple[Hashable, int]]:
    """Yield, for each array of an item, what may not differ, and its length or -1."""
    if is_numbers(item):
        item = np.asarray(item)
    if is_array(item):
        shape = tuple(item.shape)
        if len(shape) <= axis:
            yield (shape, item.dtype), -1
        else:
            yield (shape[:axis], shape[axis + 1 :], item.dtype), shape[axis]
    elif (node := node_for(type(item))) is not None:
        for key, child in node.children(item):
            for rest, size in _leaves(child, axis):
                yield (key, rest), size
    else:
        yield None, -1


def _one_length(
    sizes: Sequence[Sequence[int]], members: Sequence[int], batch: Batch, method: str
) -> Counts:
    """
    Return the length of each item: that of its parts which differ between items.

    Where none does, the first one counts.
    """
    table = np.array(sizes, dtype=np.intp).reshape(len(sizes), -1)
    if not table.shape[1]:
        return np.ones(len(sizes), dtype=np.intp)
    varies = (table != table[:1]).any(0)
    found = table[:, varies] if varies.any() else table
    uneven = (found != found[:, :1]).any(1)
    if uneven.any() and batch.injected():
        i = int(np.argmax(uneven))
        lengths = " and ".join(map(str, found[i].tolist()))
        wanted = " and ".join(batch.injected())
        raise AmbiguousBatchError(
            f"{method}: the parts of item {members[i]} have lengths {lengths}, so "
            f"there is no one {wanted} for them; pad them alike, pass what has a fixed "
            "size as an argument of its own, or leave it out"
        )
    longest: Counts = found.max(1) if varies.any() else table[:, 0]
    return longest
