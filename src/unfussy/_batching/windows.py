"""
Plans for a stream: of what is held, then of the next, and so on.

A window is counted in chunks, not in items: what sorting gains depends on how many
chunks there are to sort for. In windows of 32, prices are 0 to 5 % above those of
knowing all items beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Final, TypeVar

from unfussy._batching.chunks import ChunkPlan
from unfussy._batching.cost import DEFAULT_RATIOS
from unfussy._batching.planner import plan
from unfussy._batching.terms import Terms
from unfussy.errors import InputValueError

__all__ = ["WINDOW", "plan_windows"]

WINDOW: Final = 32
"""How many chunks' worth of items to hold."""

_STARTUP_SHARE: Final = 0.02
_LEAST_SHARE: Final = 1e-3

T = TypeVar("T")


def plan_windows(
    items: Iterable[T],
    length: Callable[[T], float],
    /,
    *,
    startup: float = DEFAULT_RATIOS["cpu"],
    budget: float | None = None,
    max_items: int | None = None,
    window: int = WINDOW,
) -> Iterator[tuple[list[T], ChunkPlan]]:
    """
    Hold some of a stream, plan it, give both, and go on.

    Nothing is asked of *items* while what was held is not given. A chunk counts as
    full at its limits, or where its start-up is a fiftieth of its cost.

    Args:
        items: What to plan, perhaps without an end.
        length: Tells how many elements an item has.
        startup: How many elements the start-up of a chunk is worth.
        budget: The most elements of a chunk, padding included.
        max_items: The most items of a chunk.
        window: How many chunks' worth of items to hold, about.

    Yields:
        The items held, and their plan, whose indices count from the first of them.

    Raises:
        InputValueError: If a length, or an option, allows no chunk.
        Exception: Whatever *items* or *length* raise, after all that came before was
            given.

    Examples:
        >>> words = "a bb cc dddd e".split()
        >>> for held, chunk_plan in plan_windows(words, len, window=1, max_items=2):
        ...     print(held, chunk_plan.sizes)
        ['a', 'bb'] (2,)
        ['cc', 'dddd'] (2,)
        ['e'] (1,)
    """
    terms = Terms(startup, budget, max_items)
    if not window >= 1:
        raise InputValueError(f"window must be at least 1 chunk, got {window}")

    def planned(lengths: list[float]) -> ChunkPlan:
        return plan(lengths, startup=startup, budget=budget, max_items=max_items)

    source, goes_on = iter(items), True
    while goes_on:
        held: list[T] = []
        lengths: list[float] = []
        try:
            goes_on = _pull(source, length, held, lengths, terms=terms, window=window)
        except Exception:
            if held:
                yield held, planned(lengths)
            raise
        if held:
            yield held, planned(lengths)


def _pull(
    source: Iterator[T],
    length: Callable[[T], float],
    held: list[T],
    lengths: list[float],
    *,
    terms: Terms,
    window: int,
) -> bool:
    """Fill *held* and *lengths* with a window, and tell whether it became full."""
    filled = 0.0
    for item in source:
        found = length(item)
        held.append(item)
        lengths.append(found)
        filled += _share_of_chunk(found, terms)
        if filled >= window:
            return True
    return False


def _share_of_chunk(length: float, terms: Terms) -> float:
    full = min(terms.budget or inf, terms.startup / _STARTUP_SHARE)
    # Items without elements fill the memory too.
    share = max(length, terms.startup * _LEAST_SHARE) / full
    return min(1.0, max(share, 1 / (terms.max_items or inf)))
