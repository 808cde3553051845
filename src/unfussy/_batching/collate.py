"""
Cut arguments along the batch, and join results along it.

A *batch argument* is a tensor or array, cut along its first dimension; a list, whose
items are the batch; or a tuple, mapping, record or distribution of those, cut leaf by
leaf. Everything else is shared by all chunks. Results are joined by the same rules:
what has one entry for each item of its chunk is joined, what is the same for every
chunk is kept once, and anything else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.distributions import Distribution
from torch.nn.utils.rnn import PackedSequence

from unfussy._arrays import is_numbers
from unfussy._tree import Tree, node_for, step
from unfussy.errors import AmbiguousBatchError, DoesNotFitError

__all__ = ["cut", "find_batch", "join"]


def find_batch(
    arguments: Mapping[str, Tree],
    over: tuple[str, ...] | None,
    method: str,
    refusal: str | None = None,
) -> dict[str, int]:
    """
    Return which *arguments* carry the batch, and its length for each.

    Args:
        arguments: The call's arguments by name.
        over: The names of those that carry it, if the author declared them.
        method: The method's name, for errors.
        refusal: What ran out of memory, if that is why a batch is looked for.

    Raises:
        AmbiguousBatchError: If the arguments' lengths differ.
        DoesNotFitError: If there is a *refusal*, and no batch to cut.
    """
    try:
        lengths = _find_lengths(arguments, over, method)
    except AmbiguousBatchError as error:
        if refusal is None:
            raise
        raise DoesNotFitError(f"{refusal}. The inputs cannot be cut: {error}") from None
    if refusal is not None and not lengths:
        raise DoesNotFitError(f"{method}: {refusal}. No input carries a batch to cut.")
    return lengths


def _find_lengths(
    arguments: Mapping[str, Tree], over: tuple[str, ...] | None, method: str
) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for name, value in arguments.items():
        if over is not None and (name not in over or value is None):
            continue
        found = set(_lengths(value, declared=over is not None))
        if over is not None and not found:
            raise AmbiguousBatchError(
                f"{method}: argument {name!r} is declared to carry the batch, but "
                f"{_describe(value)} has no first dimension to cut"
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


def _lengths(value: Tree, *, declared: bool) -> Iterator[int]:
    """Yield the number of items of every part of *value* that can be cut."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if value.ndim and _can_be_sliced(value):
            yield value.shape[0]
    elif isinstance(value, list):
        if declared or not is_numbers(value):
            yield len(value)
    elif not isinstance(value, PackedSequence):
        node = node_for(type(value))
        for _, child in () if node is None else node.children(value):
            yield from _lengths(child, declared=declared)


def _can_be_sliced(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (
        value.layout is torch.strided and not value.is_nested
    )


def cut(value: Tree, start: int, stop: int) -> Tree:
    """Return items *start* to *stop* of a batch argument; tensors as views."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value[start:stop] if value.ndim else value
    if isinstance(value, list):
        return _like_list(value, value[start:stop])
    node = node_for(type(value))
    if node is None:
        return value
    parts = {key: cut(child, start, stop) for key, child in node.children(value)}
    return _resized(node.replace(value, parts), stop - start)


def _like_list(value: list[Any], items: list[Any]) -> list[Any]:
    # Slicing a subclass of list gives a plain list.
    if type(value) is list:
        return items
    copied: list[Any] = type(value).__new__(type(value))
    copied.__dict__.update(value.__dict__)
    list.extend(copied, items)
    return copied


def _resized(value: Any, length: int) -> Any:
    """Give a rebuilt distribution, ours to change, the batch shape of its tensors."""
    if isinstance(value, Distribution) and value._batch_shape:  # noqa: SLF001
        shape = (length, *value._batch_shape[1:])  # noqa: SLF001
        value._batch_shape = torch.Size(shape)  # noqa: SLF001
    return value


# --- joining -----------------------------------------------------------------------


def join(parts: Sequence[Tree], sizes: Sequence[int], path: str = "result") -> Tree:
    """
    Join the results of consecutive chunks.

    Args:
        parts: One result for each chunk.
        sizes: How many items each chunk had.
        path: What to call the result in errors.

    Raises:
        AmbiguousBatchError: If some part of the results has neither one entry for
            each item nor the same value in every chunk.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if len({type(part) for part in parts}) > 1:
        raise _cannot_join(path, "is of different types in different chunks")
    if isinstance(first, (torch.Tensor, np.ndarray)):
        return _join_arrays(parts, sizes, path)
    if isinstance(first, list):
        return _join_lists(parts, sizes, path)
    if isinstance(first, PackedSequence):
        raise _cannot_join(path, "is a packed sequence; return padded tensors instead")
    if node_for(type(first)) is None:
        return _same(parts, path)
    return _join_containers(parts, sizes, path)


def _join_arrays(parts: Sequence[Any], sizes: Sequence[int], path: str) -> Any:
    first = parts[0]
    if all(part.ndim and part.shape[0] == n for part, n in zip(parts, sizes)):
        if len({tuple(part.shape[1:]) for part in parts}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise _cannot_join(
                path, f"has shapes {shapes}; return a list with one entry an item"
            )
        if isinstance(first, np.ndarray):
            return np.concatenate(parts)
        return torch.cat(list(parts))
    equal: Any = np.array_equal if isinstance(first, np.ndarray) else torch.equal
    if all(part.shape == first.shape and equal(part, first) for part in parts[1:]):
        return first
    raise _cannot_join(
        path,
        f"has shape {tuple(first.shape)} for a chunk of {sizes[0]} and differs "
        "between chunks; return one value an item and reduce outside",
    )


def _join_lists(parts: Sequence[Any], sizes: Sequence[int], path: str) -> Any:
    if all(len(part) == n for part, n in zip(parts, sizes)):
        return _like_list(parts[0], [item for part in parts for item in part])
    if len({len(part) for part in parts}) > 1:
        raise _cannot_join(path, "is a list of different lengths in different chunks")
    columns = [
        join(column, sizes, f"{path}[{i}]") for i, column in enumerate(zip(*parts))
    ]
    return _like_list(parts[0], columns)


def _join_containers(parts: Sequence[Any], sizes: Sequence[int], path: str) -> Any:
    node = node_for(type(parts[0]))
    assert node is not None  # noqa: S101 - by the caller
    children = [dict(node.children(part)) for part in parts]
    if len({tuple(each) for each in children}) > 1:
        raise _cannot_join(path, "has different keys in different chunks")
    joined = {
        key: join([each[key] for each in children], sizes, path + step(node, key))
        for key in children[0]
    }
    length = sum(sizes)
    changed = {k: v for k, v in joined.items() if v is not children[0][k]}
    return _resized(node.replace(parts[0], changed), length) if changed else parts[0]


def _same(parts: Sequence[Any], path: str) -> Any:
    first = parts[0]
    if all(part is first or part == first for part in parts[1:]):
        return first
    raise _cannot_join(
        path,
        f"is {_describe(first)} and differs between chunks; return one value an item "
        "and reduce outside",
    )


def _cannot_join(path: str, what: str) -> AmbiguousBatchError:
    return AmbiguousBatchError(f"results of chunks cannot be joined: {path} {what}")


def _describe(value: object) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
