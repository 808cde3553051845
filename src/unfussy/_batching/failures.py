"""
Items that fail, told apart from those that share a chunk with them.

A chunk that raises is cut in half, and in half again, until the items to blame are
alone. The others are computed, and the report names who failed and why.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unfussy._batching.joining import items_of
from unfussy._batching.oom import drop_frames

__all__ = [
    "Failed",
    "ItemsFailedWarning",
    "Outcome",
    "describe_failures",
    "let_go",
    "note_origin",
]


@dataclass(frozen=True, slots=True)
class Failed:
    """
    Stands for the result of an item that raised.

    Attributes:
        index: Which item.
        error: What it raised. Its traceback is gone, as it would keep alive what the
            call was given; a note says where it was raised.
    """

    index: int
    error: Exception

    def __str__(self) -> str:
        return f"item {self.index}: {type(self.error).__name__}: {self.error}"


class ItemsFailedWarning(UserWarning):
    """Items raised and were skipped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a call with ``on_error="return"`` gives.

    Attributes:
        result: The joined results of the items that did not fail, in order; None if
            all failed.
        indices: Which items these are.
        failures: The others, in order.

    Examples:
        >>> import torch
        >>> from unfussy import batched
        >>> class Roots(torch.nn.Module):
        ...     @batched(on_error="return")
        ...     def roots(self, x):
        ...         if (x < 0).any():
        ...             raise ValueError("negative")
        ...         return x.sqrt()
        >>> outcome = Roots().eval().roots(torch.tensor([4.0, -1.0, 9.0]))
        >>> outcome.result, outcome.indices
        (tensor([2., 3.]), (0, 2))
        >>> print(*outcome.failures)
        item 1: ValueError: negative
    """

    result: Any
    indices: tuple[int, ...]
    failures: tuple[Failed, ...]

    def __iter__(self) -> Iterator[Any]:
        """Yield the result of each item in the caller's order, or its `Failed`."""
        done = items_of(self.result, len(self.indices)) if self.indices else []
        found = dict(zip(self.indices, done))
        found.update((failed.index, failed) for failed in self.failures)
        yield from (found[i] for i in sorted(found))

    def __len__(self) -> int:
        return len(self.indices) + len(self.failures)


def describe_failures(failures: tuple[Failed, ...], most: int = 5) -> str:
    """Return a few lines that name who failed and why."""
    lines = [str(failed) for failed in failures[:most]]
    if len(failures) > most:
        lines.append(f"and {len(failures) - most} more")
    return "\n".join(lines)


# --- errors that are kept ----------------------------------------------------------


def note_origin(error: Exception) -> None:
    """Note on *error* in which line it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    for frame in last:
        error.add_note(f"raised in {frame.name} ({frame.filename}:{frame.lineno})")


def let_go(error: Exception) -> None:
    """
    Free what *error* keeps alive: the frames of the attempt, and of all callers.

    Call it outside the except block. An error that the caller was handling already is
    left alone.
    """
    drop_frames(error)
    todo: list[BaseException | None] = [error]
    seen = {id(sys.exception())}
    for each in todo:
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            todo += [each.__cause__, each.__context__]
