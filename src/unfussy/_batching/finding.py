"""
Which arguments carry the batch.

A *batch argument* is a tensor or array, cut along its first dimension; a list, whose
items are the batch; or a tuple, mapping, record or distribution of those, cut leaf by
leaf. Everything else is shared by all chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

from unfussy._arrays import is_numbers
from unfussy._batching.joining import describe
from unfussy._tree import Tree, node_for
from unfussy.errors import AmbiguousBatchError, DoesNotFitError

__all__ = ["can_be_sliced", "find_batch", "is_batch_list"]


def find_batch(
    arguments: Mapping[str, Tree],
    over: tuple[str, ...] | None,
    method: str,
    refusal: str | None = None,
    *,
    nested: bool = False,
) -> dict[str, int]:
    """
    Return which *arguments* carry the batch, and its length for each.

    Empty lists do if the first argument is one and nothing else carries a batch;
    beside a batch they may be anything.

    Args:
        arguments: The call's arguments by name.
        over: The names of those that carry it, if the author declared them.
        method: The method's name, for errors.
        refusal: What ran out of memory, if that is why a batch is looked for.
        nested: Whether lists of lists of numbers are batches: of rows.

    Raises:
        AmbiguousBatchError: If the arguments' lengths differ.
        DoesNotFitError: If there is a *refusal*, and no batch to cut.
    """
    try:
        lengths = _find_lengths(arguments, over, method, nested=nested)
    except AmbiguousBatchError as error:
        if refusal is None:
            raise
        raise DoesNotFitError(f"{refusal}. The inputs cannot be cut: {error}") from None
    if refusal is not None and not lengths:
        raise DoesNotFitError(f"{method}: {refusal}. No input carries a batch to cut.")
    return lengths or _find_empty(arguments)


def _find_empty(arguments: Mapping[str, Tree]) -> dict[str, int]:
    empty = {name: 0 for name, value in arguments.items() if _is_empty(value)}
    return empty if next(iter(arguments), None) in empty else {}


def _is_empty(value: Tree) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_empty, value.values()))
    return isinstance(value, list) and not value


def _find_lengths(
    arguments: Mapping[str, Tree],
    over: tuple[str, ...] | None,
    method: str,
    *,
    nested: bool,
) -> dict[str, int]:
    lengths: dict[str, int] = {}
    declared = over is not None
    for name, value in arguments.items():
        if over is not None and (name not in over or value is None):
            continue
        found = set(_lengths(value, declared=declared, nested=nested))
        if declared and not found:
            raise AmbiguousBatchError(
                f"{method}: argument {name!r} is declared to carry the batch, but "
                f"{describe(value)} has no first dimension to cut"
            )
        if len(found) > 1:
            raise AmbiguousBatchError(_different({name: found}, method, over))
        if found:
            lengths[name] = found.pop()
    if len(set(lengths.values())) > 1:
        different = {name: {length} for name, length in lengths.items()}
        raise AmbiguousBatchError(_different(different, method, over))
    return lengths


def _different(
    lengths: dict[str, set[int]], method: str, over: tuple[str, ...] | None
) -> str:
    listed = ", ".join(
        f"{name!r} has {' and '.join(map(str, sorted(found)))}"
        for name, found in lengths.items()
    )
    advice = (
        "give them equal lengths"
        if over is not None
        else "say which of them carry the batch: @batched(over=(...))"
    )
    return f"{method}: arguments have different numbers of items ({listed}); {advice}"


def _lengths(value: Tree, *, declared: bool, nested: bool) -> Iterator[int]:
    """Yield the number of items of every part of *value* that can be cut."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if value.ndim and can_be_sliced(value):
            yield value.shape[0]
    elif isinstance(value, list):
        if is_batch_list(value, declared=declared, nested=nested):
            yield len(value)
    elif not isinstance(value, PackedSequence):
        node = node_for(type(value))
        for _, child in () if node is None else node.children(value):
            yield from _lengths(child, declared=declared, nested=nested)


def is_batch_list(value: list[Any], *, declared: bool, nested: bool) -> bool:
    """Tell whether the entries of a list are items, and not numbers of a size."""
    rows = nested and len(value) > 0 and type(value[0]) in (list, tuple)
    return declared or rows or not is_numbers(value)


def can_be_sliced(value: Any) -> bool:
    """Tell whether a tensor or array has rows that can be had one by one."""
    return isinstance(value, np.ndarray) or (
        value.layout is torch.strided and not value.is_nested
    )
