"""
The cheapest cuts of a list of lengths, shortest first.

Every chunk is padded to its last length, which is its longest. A cut is told by where
a chunk stops: ``[2, 5]`` are the chunks ``[0:2]`` and ``[2:5]``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import numpy as np

from unfussy._batching.terms import Terms

__all__ = ["cut_exactly", "stops_of"]


def cut_exactly(lengths: Sequence[float], terms: Terms) -> list[int]:
    """
    Return the stops of the cheapest chunks, in O(n log n).

    The cheapest chunks that end with item ``i`` start where some cheapest chunks stop.
    Of two such starts the later one gains on the earlier with every longer item, so it
    takes over once and for good, and the starts worth keeping stand in a queue.
    """
    expiries = _expiries(lengths, terms)
    prices, starts = [0.0], [0]
    queue: deque[tuple[int, int]] = deque()  # starts, and the item each is best from
    for item, length in enumerate(lengths):
        _enqueue(queue, item, prices, lengths, expiries)
        while len(queue) > 1 and queue[1][1] <= item:
            queue.popleft()
        start = queue[0][0]
        starts.append(start)
        prices.append(prices[start] + terms.startup + (item + 1 - start) * length)
    return stops_of(starts)


def _expiries(lengths: Sequence[float], terms: Terms) -> list[int]:
    """Return, for each start, the first item that no chunk from there can hold."""
    n = len(lengths)
    earliest = [i + 1 - terms.most_items(x, n) for i, x in enumerate(lengths)]
    return list(np.searchsorted(earliest, np.arange(n), side="right").tolist())


def _enqueue(
    queue: deque[tuple[int, int]],
    start: int,
    prices: Sequence[float],
    lengths: Sequence[float],
    expiries: Sequence[int],
) -> None:
    best_from = start
    while queue:
        rival, rival_from = queue[-1]
        even = (prices[start] - prices[rival]) / (start - rival)
        # A rival that no longer fits is beaten, whatever the lengths say.
        end = max(start, expiries[rival])
        best_from = bisect_left(lengths, even, start, end)
        if best_from > rival_from:
            break
        queue.pop()
    if best_from < len(lengths):
        queue.append((start, best_from))


def stops_of(starts: Sequence[int]) -> list[int]:
    """Return where chunks stop, given where the one that stops at each place starts."""
    stops = []
    stop = len(starts) - 1
    while stop:
        stops.append(stop)
        stop = starts[stop]
    return stops[::-1]
