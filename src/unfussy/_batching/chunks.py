"""A plan of chunks: which items run together, what is padding, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, TypeAlias

import numpy as np

from unfussy._batching.terms import Terms

__all__ = ["ChunkPlan", "Floats", "Indices", "lower_bound", "padded_sum"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Indices: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ChunkPlan:
    """
    Which items run together, in which order, and what that costs.

    Costs are counted in elements, padding included; a start-up is worth some of them.
    Printed, a plan says in three lines how good it is.

    Attributes:
        chunks: The items of each chunk by their index, ascending, in arrays that
            cannot be written to. Chunks stand in the order in which they should run.
        padded: How many elements the chunks have, padding included.
        useful: How many of them are no padding.
        startup: How many elements the start-up of a chunk is worth.
        lower_bound: A price that no plan of these items can beat, and perhaps none
            can reach: no padding at all, in the fewest chunks that could hold them.

    Examples:
        >>> from unfussy import plan
        >>> chunk_plan = plan([3, 300, 5, 280, 4, 4], startup=10)
        >>> for chunk in chunk_plan.chunks:
        ...     print(chunk)
        [1]
        [3]
        [0 2 4 5]
        >>> print(chunk_plan)
        6 items in 3 chunks of 1 to 4
        0.7 % padding
        price 1.04 of the lower bound
    """

    chunks: tuple[Indices, ...]
    padded: float
    useful: float
    startup: float
    lower_bound: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many items each chunk has."""
        return tuple(map(len, self.chunks))

    @property
    def n_items(self) -> int:
        """How many items there are in all."""
        return sum(map(len, self.chunks))

    @property
    def waste(self) -> float:
        """The share of elements that are padding, from 0 to 1."""
        return max(0.0, 1 - self.useful / self.padded) if self.padded else 0.0

    @property
    def price(self) -> float:
        """The cost of all chunks in elements, their start-ups included."""
        return self.padded + self.startup * len(self.chunks)

    def __repr__(self) -> str:
        return (
            f"<ChunkPlan: {_count(self.n_items, 'item')} in "
            f"{_count(len(self.chunks), 'chunk')}, {self.waste:.1%} padding>"
        )

    def __str__(self) -> str:
        if not self.chunks:
            return "no items, no chunks"
        sizes = self.sizes
        least, most = min(sizes), max(sizes)
        each = f"{most}" if least == most else f"{least} to {most}"
        return (
            f"{_count(self.n_items, 'item')} in {_count(len(sizes), 'chunk')} "
            f"of {each}\n{100 * self.waste:.1f} % padding\n"
            f"price {self.price / self.lower_bound:.2f} of the lower bound"
        )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def lower_bound(lengths: Floats, terms: Terms) -> float:
    """Return a price that no chunks of these items can beat, not even unpadded ones."""
    useful = float(lengths.sum())
    alone = lengths > (np.inf if terms.budget is None else terms.budget)
    n_alone = int(alone.sum())
    needs: Sequence[float] = [
        0 if terms.budget is None else float(lengths[~alone].sum()) / terms.budget,
        (len(lengths) - n_alone) / (terms.max_items or len(lengths) or 1),
    ]
    # Sums are rounded, and a hair too much must not count as a chunk.
    n_chunks = n_alone + ceil(max(needs) * (1 - _ROUNDING))
    return useful + terms.startup * n_chunks


def padded_sum(lengths: Floats, stops: Sequence[int]) -> float:
    """Return how many elements the chunks have, padding included."""
    ends = np.asarray(stops, dtype=np.intp)
    return float(np.diff(ends, prepend=0) @ lengths[ends - 1])
