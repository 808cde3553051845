"""
A method over a source of any length, a window of items at a time.

A window is what one call of the method gets: some chunks' worth of items, so that
their order can be planned, and few enough that memory stays bounded. While the method
computes on one window, a thread pulls the next from the source and puts it together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from unfussy._apart import Separator
from unfussy._batching import (
    Downloader,
    Failed,
    Outcome,
    Uploader,
    feed,
    join,
)
from unfussy._batching.transfer import link_to
from unfussy._outputs import finish_output
from unfussy._preparing import Inputs, Places, Window, prepare
from unfussy._recorded import as_ahead
from unfussy._recording import RUN, WAIT, timed
from unfussy._sources import takes_time, windows_of
from unfussy._targets import Target

__all__ = ["Results", "run_windows"]


@dataclass(frozen=True, slots=True)
class Results:
    """
    What a window gave.

    Attributes:
        start: The index of its first item in the source.
        stop: The index behind its last one.
        parts: Results of several items each, and which items of the window these are.
        failures: The items that failed, by their index in the source.
    """

    start: int
    stop: int
    parts: tuple[tuple[Places, Any], ...]
    failures: tuple[Failed, ...] = ()

    @property
    def n_done(self) -> int:
        """How many items have a result."""
        return self.stop - self.start - len(self.failures)

    def items(self, separator: Separator) -> list[Any]:
        """Return the result of every item in order, or its `Failed`."""
        found: list[Any] = [None] * (self.stop - self.start)
        for failed in self.failures:
            found[failed.index - self.start] = failed
        # The largest first: of few items it is the hardest to tell what is one.
        for places, result in sorted(self.parts, key=lambda part: -len(part[0])):
            rows = separator.items(result, len(places))
            if len(rows) == len(found):
                return rows
            for i, row in zip(places.tolist(), rows):
                found[i] = row
        return found

    def joined(self) -> Any:
        """
        Return the results of all items that have one, joined in order.

        Raises:
            AmbiguousBatchError: If they cannot be joined.
        """
        if len(self.parts) == 1:
            return self.parts[0][1]
        order = np.argsort(np.concatenate([places for places, _ in self.parts]))
        sizes = [len(places) for places, _ in self.parts]
        return join([result for _, result in self.parts], sizes, order)


def run_windows(
    target: Target,
    source: Iterable[Any],
    shared: Mapping[str, Any],
    *,
    start: int = 0,
    depth: int = 2,
    threaded: bool | None = None,
    to_cpu: bool = False,
) -> Generator[Results, None, None]:
    """
    Call a method on a source, window by window, and yield what each gave.

    Args:
        target: The method.
        source: The items.
        shared: What every call gets beside the items.
        start: How many items to leave out at the beginning.
        depth: How many windows may be made ready ahead.
        threaded: Whether a thread makes them ready; None decides.
        to_cpu: Whether results are wanted on the CPU, whatever the method's plan says.

    Raises:
        AmbiguousBatchError: If a window does not give one result an item.
        Exception: What the source or the method raises, behind what came before.
    """
    device = target.device
    link = link_to(device)
    uploader = None if link is None else Uploader(device, link=link)
    if threaded is None:
        threaded = link is not None or takes_time(source)
    windows = windows_of(source, start, target.size)
    make = as_ahead(target.name, partial(prepare, target, uploader))
    with closing(feed(windows, make, depth=depth, threaded=threaded)) as ready:
        if link is None or not (to_cpu or target.leaves_device):
            yield from _all_computed(target, ready, shared)
            return
        computed = _all_computed(target.staying(), ready, shared)
        with closing(Downloader(device, link=link).download(computed)) as here:
            yield from (_finished(target, results) for results in here)


# --- running -----------------------------------------------------------------------


def _all_computed(
    target: Target, ready: Iterator[Window], shared: Mapping[str, Any]
) -> Generator[Results, None, None]:
    made: list[Window]
    while made := timed(WAIT, list, islice(ready, 1)):
        yield _computed(target, made.pop(), shared)


def _computed(target: Target, window: Window, shared: Mapping[str, Any]) -> Results:
    parts: list[tuple[Places, Any]] = []
    failures: list[Failed] = []
    for places, inputs in window.inputs:
        result = _called(target, inputs, window, shared)
        if isinstance(result, Outcome):
            failures += [
                Failed(window.start + int(places[failed.index]), failed.error)
                for failed in result.failures
            ]
            places, result = places[list(result.indices)], result.result  # noqa: PLW2901
        if len(places):
            parts.append((places, result))
    failures.sort(key=lambda failed: failed.index)
    stop = window.start + window.n
    return Results(window.start, stop, tuple(parts), tuple(failures))


def _called(
    target: Target, inputs: Inputs, window: Window, shared: Mapping[str, Any]
) -> Any:
    try:
        return timed(RUN, target.call, inputs, shared)
    except Exception as error:
        last = window.start + window.n - 1
        error.add_note(f"{target.name}: in items {window.start} to {last} of a source")
        raise


def _finished(target: Target, results: Results) -> Results:
    """Return *results*, which are on the CPU by now, in the form that is asked for."""
    output = target.plan.output
    if output is None:
        return results
    form = replace(output, device="keep")
    parts = [
        (places, finish_output(result, form, None, target.name))
        for places, result in results.parts
    ]
    return replace(results, parts=tuple(parts))
