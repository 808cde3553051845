"""Progress of long calls: a tqdm bar, or anything that can be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from unfussy.errors import MissingExtraError

__all__ = ["Progress", "ticker"]

Progress: TypeAlias = bool | Callable[[int], object] | None


@contextmanager
def ticker(
    progress: Progress, *, total: int, label: str
) -> Iterator[Callable[[int], object]]:
    """
    Give a function to call with the number of items that were just finished.

    Args:
        progress: True for a bar (extra ``progress``), a function to be called
            instead, or None or False for nothing.
        total: How many items there are.
        label: What the bar is called.

    Raises:
        MissingExtraError: If a bar is asked for and tqdm is not installed.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    else:
        with _bar(total, label) as tick:
            yield tick


@contextmanager
def _bar(total: int, label: str) -> Iterator[Callable[[int], object]]:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("tqdm", "progress") from error
    with tqdm(total=total, desc=label, unit="item") as bar:
        yield bar.update
