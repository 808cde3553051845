"""
Cheap cuts of a list of lengths that is too long for the cheapest.

There are two ways, and the better of them is good: by price is best for many chunks,
under ceilings for few. Lengths stand shortest first, and cuts are told as in
`cut_exactly`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from unfussy._batching.exact import stops_of
from unfussy._batching.terms import Terms

__all__ = ["cut_by_price", "cut_under_ceilings"]

_Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
_Ints: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"

_N_LEVELS: Final = 256


def cut_by_price(lengths: _Floats, sums: _Floats, terms: Terms) -> list[int]:
    """
    Return stops such that each chunk, longest first, pays least per useful element.

    Args:
        lengths: The lengths, shortest first.
        sums: Their cumulative sums, from 0.
        terms: What a chunk costs, and what it may hold.
    """
    values, totals = lengths.data, sums.data
    stops = []
    stop = len(values)
    while stop:
        stops.append(stop)
        stop -= _cheapest_size(values, totals, stop, terms)
    return stops[::-1]


def _cheapest_size(
    lengths: Sequence[float], sums: Sequence[float], stop: int, terms: Terms
) -> int:
    longest = lengths[stop - 1]
    most = terms.most_items(longest, stop)

    def is_enough(size: int) -> bool:
        """Tell whether one more item would raise the price of a useful element."""
        useful, price = sums[stop] - sums[stop - size], terms.startup + size * longest
        return longest * useful > lengths[stop - size - 1] * price

    if most == 1 or not is_enough(most - 1):
        return most
    # The price of a useful element falls and then rises, so this can be bisected.
    return 1 + bisect_left(range(1, most), True, key=is_enough)  # noqa: FBT003


def cut_under_ceilings(
    lengths: _Floats, sums: _Floats, terms: Terms, *, n_levels: int = _N_LEVELS
) -> list[int]:
    """
    Return the stops of the cheapest chunks that are padded to a few lengths only.

    Args:
        lengths: The lengths, shortest first.
        sums: Their cumulative sums, from 0.
        terms: What a chunk costs, and what it may hold.
        n_levels: How many lengths to choose from, about.
    """
    levels = _levels(lengths, sums, n_levels)
    ceilings = lengths[levels[1:] - 1].tolist()
    most = [terms.most_items(ceiling, len(lengths)) for ceiling in ceilings]
    prices, starts = np.zeros(len(levels)), [0]
    for i, ceiling in enumerate(ceilings, start=1):
        sizes = levels[i] - levels[:i]
        chunks = np.ceil(sizes / most[i - 1])
        candidates = prices[:i] + sizes * ceiling + chunks * terms.startup
        starts.append(int(candidates.argmin()))
        prices[i] = candidates[starts[i]]
    stops: list[int] = []
    for i in reversed(stops_of(starts)):
        stops += range(int(levels[i]), int(levels[starts[i]]), -most[i - 1])
    return stops[::-1]


def _levels(lengths: _Floats, sums: _Floats, n_levels: int) -> _Ints:
    """Return where to cut at most: evenly by length, and evenly by elements."""
    n, half = len(lengths), n_levels // 2
    if n <= n_levels:
        return np.arange(n + 1)
    by_length = np.linspace(lengths[0], lengths[-1], half, endpoint=False)
    by_elements = np.linspace(0, sums[-1], half, endpoint=False)
    items = np.append(
        np.searchsorted(lengths, by_length, side="right") - 1,
        np.searchsorted(sums[1:], by_elements),
    )
    # Equal lengths are not told apart: a level ends with the last of them.
    ends = np.searchsorted(lengths, lengths[np.unique(items)], side="right")
    return np.unique(np.append(ends, [0, n]))
