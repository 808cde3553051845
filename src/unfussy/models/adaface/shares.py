"""The part of the work that each process of a job does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unfussy.distributed import (
    all_gather,
    get_rank,
    get_world_size,
    is_dist_avail_and_initialized,
)
from unfussy.errors import InputValueError

__all__ = ["Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """
    Every n-th of many things, beginning with the process's rank.

    Attributes:
        rank: Which process this is.
        n: How many there are.
        is_together: Whether they can gather what each has done.
    """

    rank: int = 0
    n: int = 1
    is_together: bool = False

    @classmethod
    def of(cls, rank: int | None, world_size: int | None) -> Share:
        """
        Return the share of a *rank*, or that of this process if both are None.

        Raises:
            InputValueError: If only one is given, or there is no such rank.
        """
        if rank is None and world_size is None:
            return cls(get_rank(), get_world_size(), is_dist_avail_and_initialized())
        if rank is None or world_size is None or not 0 <= rank < world_size:
            raise InputValueError(
                "give both rank= and world_size=, or neither; ranks are from 0 to "
                f"world_size - 1, got rank={rank}, world_size={world_size}"
            )
        return cls(rank, world_size)

    def of_rows(self, n: int, /) -> range:
        """Return which of *n* rows to compute here: all, if nothing can be gathered."""
        return range(self.rank, n, self.n) if self.is_together else range(n)

    def gather(self, part: Tensor, /) -> Tensor:
        """Return all rows, in order, of which *part* are those of `of_rows`."""
        if not self.is_together:
            return part
        parts = all_gather(part)
        whole = part.new_empty((sum(map(len, parts)), *part.shape[1:]))
        for rank, rows in enumerate(parts):
            whole[rank :: self.n] = rows
        return whole
