"""
Which items run together, so that a job costs least.

What is given is a cost, not a batch size: a start-up for each chunk, and its padded
elements. Some best chunks are always runs of the items sorted by length, so planning
is sorting, and then cutting well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from unfussy._batching.approximate import cut_by_price, cut_under_ceilings
from unfussy._batching.chunks import (
    ChunkPlan,
    Floats,
    Indices,
    lower_bound,
    padded_sum,
)
from unfussy._batching.cost import DEFAULT_RATIOS
from unfussy._batching.exact import cut_exactly
from unfussy._batching.terms import Terms
from unfussy.errors import InputTypeError, InputValueError

__all__ = ["ChunkPlan", "plan", "plan_in_order"]

_Numbers: TypeAlias = "Sequence[float] | np.ndarray[Any, np.dtype[Any]]"

_EXACT_UP_TO: Final = 2000
_STARTUP: Final = DEFAULT_RATIOS["cpu"]
_MANY: Final = 2**16


def plan(
    lengths: _Numbers,
    /,
    *,
    startup: float = _STARTUP,
    budget: float | None = None,
    max_items: int | None = None,
) -> ChunkPlan:
    """
    Choose chunks of items that are padded to the longest of their chunk.

    Up to 2,000 items no plan is cheaper. Beyond that, prices of usual lengths are
    within 2 % of the best.

    Args:
        lengths: How many elements each item has: frames, tokens, pixels.
        startup: How many elements the start-up of a chunk is worth: some hundred
            on a CPU, some thousand on an accelerator.
        budget: The most elements of a chunk, padding included. A longer item runs
            alone.
        max_items: The most items of a chunk.

    Returns:
        A plan that begins with the longest items, which are hardest on memory.

    Raises:
        InputValueError: If a length is negative or not finite, or if *startup*,
            *budget* or *max_items* allow no chunk.
        InputTypeError: If *lengths* are not numbers.

    Examples:
        >>> from unfussy import plan
        >>> plan([8, 9, 250, 7, 240], startup=64).sizes
        (2, 3)
        >>> plan([8, 9, 250, 7, 240], startup=64, budget=256).sizes
        (1, 1, 3)
    """
    terms = Terms(startup, budget, max_items)
    values = _checked(lengths, "plan", "lengths")
    order = _sorted_order(values)
    ascending = values[order]
    stops = _cut(ascending, terms)
    return ChunkPlan(
        chunks=_pick(order, stops),
        padded=padded_sum(ascending, stops),
        useful=float(ascending.sum()),
        startup=startup,
        lower_bound=lower_bound(ascending, terms),
    )


def _checked(numbers: _Numbers, function: str, name: str) -> Floats:
    try:
        found = np.asarray(numbers)
    except ValueError as error:
        raise InputTypeError(
            f"{function}() takes one number an item: {error}"
        ) from None
    if found.dtype.kind not in "biuf" or found.ndim != 1:
        raise InputTypeError(
            f"{function}() takes {name} as one number an item, got "
            f"{found.ndim} dimensions of {found.dtype}"
        )
    values = found.astype(np.float64)
    unusable = ~((values >= 0) & (values < np.inf))
    if unusable.any():
        i = int(unusable.argmax())
        raise InputValueError(
            f"{function}() takes {name} that are finite and not negative; item {i} "
            f"has {found[i]}"
        )
    return values


def _sorted_order(lengths: Floats) -> Indices:
    """Return the items by rising length."""
    if len(lengths) <= _EXACT_UP_TO:
        return np.argsort(lengths, kind="stable")
    # NumPy sorts small integers ten times as fast.
    if lengths.max() < _MANY and np.array_equal(small := lengths.astype("u2"), lengths):
        return np.argsort(small, kind="stable")
    return np.argsort(lengths)


def _cut(ascending: Floats, terms: Terms) -> list[int]:
    if len(ascending) <= _EXACT_UP_TO:
        return cut_exactly(ascending.tolist(), terms)
    sums = np.concatenate([[0.0], ascending.cumsum()])
    candidates = [
        cut(ascending, sums, terms) for cut in (cut_by_price, cut_under_ceilings)
    ]
    return min(
        candidates,
        key=lambda stops: padded_sum(ascending, stops) + terms.startup * len(stops),
    )


def _pick(order: Indices, stops: list[int]) -> tuple[Indices, ...]:
    starts = [0, *stops[:-1]]
    for i in _unsorted(order, stops):
        order[starts[i] : stops[i]].sort()
    order.flags.writeable = False
    return tuple([order[a:b] for a, b in zip(reversed(starts), reversed(stops))])


def _unsorted(order: Indices, stops: list[int]) -> list[int]:
    """Return which chunks may hold indices that do not ascend."""
    falls = np.flatnonzero(order[1:] < order[:-1])
    return list(np.unique(np.searchsorted(stops, falls, side="right")).tolist())


# --- in order ----------------------------------------------------------------------


def plan_in_order(
    costs: _Numbers,
    /,
    *,
    startup: float = _STARTUP,
    budget: float | None = None,
    max_items: int | None = None,
) -> ChunkPlan:
    """
    Choose the fewest chunks of items that keep their order and need no padding.

    For items of equal shape, and for items that are put one behind the other.

    Args:
        costs: How many elements each item has.
        startup: How many elements the start-up of a chunk is worth.
        budget: The most elements of a chunk, all its items together. A larger item
            runs alone.
        max_items: The most items of a chunk.

    Raises:
        InputValueError: If a cost is negative or not finite, or if *startup*,
            *budget* or *max_items* allow no chunk.
        InputTypeError: If *costs* are not numbers.

    Examples:
        >>> plan_in_order([4, 4, 4, 4, 4], budget=8).sizes
        (2, 2, 1)
    """
    terms = Terms(startup, budget, max_items)
    values = _checked(costs, "plan_in_order", "costs")
    n, useful = len(values), float(values.sum())
    if n and values.min() == values.max():
        size = terms.most_items(float(values[0]), n)
        stops = [*range(size, n, size), n]
    else:
        stops = _fill(values, terms)
    items = np.arange(n)
    items.flags.writeable = False
    chunks = tuple([items[start:stop] for start, stop in zip([0, *stops], stops)])
    return ChunkPlan(chunks, useful, useful, startup, lower_bound(values, terms))


def _fill(costs: Floats, terms: Terms) -> list[int]:
    n = len(costs)
    budget = np.inf if terms.budget is None else terms.budget
    sums = np.concatenate([[0.0], costs.cumsum()])
    stops: list[int] = []
    start = 0
    while start < n:
        fits = int(sums.searchsorted(sums[start] + budget, side="right")) - 1
        start = min(max(fits, start + 1), start + (terms.max_items or n), n)
        stops.append(start)
    return stops
