"""What a chunk costs and what it may hold: all that a planner has to know."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from unfussy.errors import InputValueError

__all__ = ["Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a chunk costs, and what it may hold.

    Attributes:
        startup: What a chunk costs besides its elements, in elements.
        budget: The most elements of a chunk of several items, or None.
        max_items: The most items of a chunk, or None.
    """

    startup: float
    budget: float | None = None
    max_items: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.startup < inf:
            raise InputValueError(
                f"startup must be a finite number above 0, got {self.startup}; without "
                "it, every item would be a chunk of its own"
            )
        for name in ("budget", "max_items"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise InputValueError(
                    f"{name} must be at least 1, got {value}; None sets no limit"
                )

    def most_items(self, length: float, n_items: int) -> int:
        """Return how many of *n_items* fit into a chunk whose longest is *length*."""
        most = n_items if self.max_items is None else min(n_items, self.max_items)
        if self.budget is None or most * length <= self.budget:
            return most
        return max(1, int(self.budget // length))
