"""
Methods over sources of any length, and results as they come.

Memory stays bounded however long the source is, results are in its order, and what
came before an error is not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import Any, Final
from warnings import warn

from unfussy._apart import Separator
from unfussy._batching import (
    Failed,
    ItemsFailedWarning,
    OnError,
    describe_failures,
)
from unfussy._progress import Progress, Tick, ticker
from unfussy._recorded import as_steps, note_window
from unfussy._recording import JOIN, timed
from unfussy._sources import check_source, length_of
from unfussy._targets import Target, make_target
from unfussy._windows import Results, run_windows

__all__ = ["stream"]

_NAMED: Final = 5  # failures in a warning


def stream(
    method: Callable[..., Any],
    source: Iterable[Any],
    /,
    *,
    on_error: OnError | None = None,
    depth: int = 2,
    threaded: bool | None = None,
    progress: Progress = False,
    **shared: Any,
) -> Generator[Any, None, None]:
    """
    Call a method on each item of a source, and yield the results in order.

    Items run in chunks, as large as for `batched` and planned in windows; a thread
    pulls and puts together the next ones meanwhile. Arrays are stacked where they are
    of one shape, unless the method takes a list. The source may be endless: some
    windows of items are in memory at a time. What was pulled before an error of the
    source gives its results before the error is raised.

    Close the generator, or let it run out, and no thread is left. Options of blocks
    around the call hold for the whole stream.

    Args:
        method: A method that takes a batch, decorated or not. For chunks of another
            size, ``configure(method, batch_size=16)``.
        source: One item at a time: arrays, tensors, strings, pictures, records; or an
            array or tensor of them, such as a file that is mapped into memory. If
            ``over`` names several parameters, tuples or mappings of one item each.
        on_error: What becomes of an item that raises, if not what the method's plan
            says: ``"raise"`` its error, ``"skip"`` it and warn at the end, or
            ``"return"`` a `Failed` in its place.
        depth: How many windows may be ready ahead.
        threaded: Whether a thread makes them ready. By default where the source is
            no list, tuple or array in memory, or the device is CUDA or XPU.
        progress: As in `batched`; here False is the default.
        **shared: What every call of the method gets beside the items.

    Yields:
        The result of each item: a row of what the method returns, or an entry where
        it returns a list. Rows are views; copy one to keep it without its chunk.

    Raises:
        AmbiguousBatchError: If the method does not return one result an item.
        InputTypeError: If *source* is one single item.
        Exception: Whatever the source or the method raises.

    Examples:
        >>> import torch
        >>> from unfussy import batched
        >>> class Double(torch.nn.Module):
        ...     @batched(size=2)
        ...     def double(self, x):
        ...         return {"y": 2 * x}
        >>> numbers = (torch.tensor([float(i)]) for i in range(3))
        >>> [item["y"].item() for item in stream(Double().double, numbers)]
        [0.0, 2.0, 4.0]
    """
    check_source(source)
    target = make_target(method, on_error)
    windows = run_windows(target, source, shared, depth=depth, threaded=threaded)
    ticking = ticker(progress, total=length_of(source), label=target.name)
    return as_steps(target.name, _stream(target, windows, ticking))


def _stream(
    target: Target,
    windows: Generator[Results, None, None],
    ticking: AbstractContextManager[Tick],
) -> Generator[Any, None, None]:
    separator, skipped = Separator(target.name), _Skipped(target.name)
    skips = target.on_error == "skip"
    with closing(windows), ticking as tick:
        for done in windows:
            note_window(done.stop - done.start, len(done.failures))
            for item in timed(JOIN, done.items, separator):
                tick(1)
                if skips and isinstance(item, Failed):
                    skipped.add(item)
                else:
                    yield item
    skipped.warn()


@dataclass(slots=True)
class _Skipped:
    """How many items were skipped, and the first of them; a stream may be endless."""

    name: str
    n: int = 0
    first: list[Failed] = field(default_factory=list)

    def add(self, failed: Failed) -> None:
        self.n += 1
        if self.n <= _NAMED:
            self.first.append(failed)

    def warn(self) -> None:
        if not self.n:
            return
        text = f"{self.name}: {self.n} items were skipped:\n"
        text += describe_failures(tuple(self.first), _NAMED)
        if self.n > _NAMED:
            text += f"\nand {self.n - _NAMED} more"
        warn(text, ItemsFailedWarning, stacklevel=3)
