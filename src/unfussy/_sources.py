"""
A source of items in windows: some items at a time, with the index of the first.

Arrays are sliced, and what can be asked by index is. So both go on in the middle
without a look at what is before it; everything else is pulled through.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import suppress
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from unfussy._batching import Batch, lay_out
from unfussy._batching.joining import is_array
from unfussy.errors import InputTypeError

__all__ = ["Items", "Size", "check_source", "length_of", "takes_time", "windows_of"]

Items: TypeAlias = Any
"""A list of items, or an array with an item in each row."""
Size: TypeAlias = Callable[[float], int]
"""Tells how many items of so many bytes a window may have."""


def check_source(source: object) -> None:
    """
    Make sure that *source* gives items.

    Raises:
        InputTypeError: If it is one item, or gives something else than items.
    """
    single = isinstance(source, (str, bytes, Mapping, np.generic))
    if single or not _is_iterable(source):
        raise InputTypeError(
            "a source gives one item after the other, such as a list, an array or a "
            f"generator; got one {type(source).__name__}"
        )
    if is_array(source) and not getattr(source, "ndim", 0):
        raise InputTypeError("a source has an item in each row, got an array of none")


def _is_iterable(source: object) -> bool:
    return isinstance(source, Iterable) or hasattr(source, "__getitem__")


def length_of(source: Iterable[Any]) -> int | None:
    """Return how many items *source* has, if it can tell."""
    with suppress(TypeError, NotImplementedError):  # loaders of endless data sets
        return len(source) if isinstance(source, Sized) else None
    return None


def takes_time(source: object) -> bool:
    """Tell whether pulling from *source* may be worth a thread."""
    if isinstance(source, np.memmap):
        return True
    return not (is_array(source) or isinstance(source, (list, tuple)))


def windows_of(
    source: Iterable[Any], start: int, size: Size
) -> Generator[tuple[int, Items], None, None]:
    """
    Yield windows of items, each with the index of its first.

    A generator is closed at the end, however that comes.

    Args:
        source: The items.
        start: How many to leave out.
        size: How many a window may have.

    Raises:
        Exception: What *source* raises, after what came before it.
    """
    try:
        if is_array(source):
            yield from _slices(source, start, size)
        else:
            yield from _pulled(_elements(source, start), start, size)
    finally:
        if isinstance(source, Generator):
            source.close()


def _slices(source: Any, start: int, size: Size) -> Iterator[tuple[int, Items]]:
    n = len(source)
    item_bytes = source.nbytes / max(n, 1)
    while start < n:
        stop = min(start + size(item_bytes), n)
        yield start, source[start:stop]
        start = stop


def _elements(source: Any, start: int) -> Iterator[Any]:
    # Data sets of torch have items by index, and no end that `iter` would find.
    by_index = isinstance(source, Sequence) or not hasattr(source, "__iter__")
    if by_index and hasattr(source, "__len__"):
        return (source[i] for i in range(start, len(source)))
    return islice(source, start, None)


def _pulled(
    elements: Iterator[Any], start: int, size: Size
) -> Iterator[tuple[int, Items]]:
    items: list[Any] = []
    total = 0.0
    try:
        for item in elements:
            items.append(item)
            total += _bytes_of(item)
            if len(items) >= size(total / len(items)):
                yield start, items
                start, items, total = start + len(items), [], 0.0
    except Exception:
        # Not for an interrupt, which is meant to be heard at once.
        if items:
            yield start, items
        raise
    if items:
        yield start, items


def _bytes_of(item: Any) -> float:
    return lay_out([[item]], 1, Batch(), "").bytes_per_item
