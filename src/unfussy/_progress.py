"""
Progress of long calls: a tqdm bar, or anything that can be called.

Left to itself, a bar comes late and only to those who can see it: a call that is over
within a second neither shows nor imports anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any, Final, TypeAlias

from unfussy.errors import MissingExtraError

__all__ = ["Progress", "Tick", "ticker"]

Progress: TypeAlias = bool | Callable[[int], object] | None
"""True for a bar, False for none, None to decide, or what is called instead."""
Tick: TypeAlias = Callable[[int], object]

_LONG: Final = 1.0  # seconds


def _sees_bars() -> bool:
    # A program without a console has no stderr, and a closed one raises.
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


@contextmanager
def ticker(
    progress: Progress,
    *,
    total: int | None,
    label: str,
    _clock: Callable[[], float] = monotonic,
    _isatty: Callable[[], bool] = _sees_bars,
) -> Iterator[Tick]:
    """
    Give a function to call with the number of items that were just finished.

    Args:
        progress: True for a bar (extra ``progress``), a function to be called
            instead, or False for nothing. With None there is a bar if stderr is a
            terminal, tqdm is installed, and after a second there is work left.
        total: How many items there are; None if that is not known.
        label: What the bar is called.

    Raises:
        MissingExtraError: If a bar is asked for and tqdm is not installed.
    """
    if callable(progress):
        yield progress
    elif progress:
        with _bar(total, label) as bar:
            yield bar.update
    elif progress is None and _isatty():
        with ExitStack() as stack:
            yield _late_bar(total, label, stack, _clock)
    else:
        yield _ignore


def _ignore(_: int) -> None:
    """Take note of nothing."""


def _bar(total: int | None, label: str) -> Any:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("tqdm", "progress") from error
    return tqdm(total=total, desc=label, unit="item", file=sys.stderr)


def _late_bar(
    total: int | None, label: str, stack: ExitStack, clock: Callable[[], float]
) -> Tick:
    start, done = clock(), 0
    update: Tick | None = None

    def tick(n: int) -> None:
        nonlocal done, update
        if update is not None:
            update(n)
            return
        done += n
        age = clock() - start
        if age >= _LONG and (total is None or done < total):
            update = _open(total, label, stack, age)
            update(done)

    return tick


def _open(total: int | None, label: str, stack: ExitStack, age: float) -> Tick:
    """Open a bar that has been there, unseen, for *age* seconds."""
    try:
        bar = stack.enter_context(_bar(total, label))
    except MissingExtraError:
        return _ignore
    if not bar.disable:
        bar.start_t -= age
        bar.last_print_t -= age
    update: Tick = bar.update
    return update
