"""
Methods over sources of any length, and results into files that survive a kill.

The engine's windows go to a crash-safe sink, each with the position in the source up
to which it reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from unfussy._batching import Failed
from unfussy._batching.joining import is_array
from unfussy._batching.sinks import Sink, open_sink
from unfussy._jobs import describe_job
from unfussy._progress import Progress, ticker
from unfussy._recorded import as_stream, note_window
from unfussy._recording import JOIN, OUTPUT, timed
from unfussy._sources import check_source, length_of
from unfussy._targets import Target, make_target
from unfussy._tree import tree_paths
from unfussy._windows import Results, run_windows
from unfussy.errors import AllItemsFailedError, InputValueError

__all__ = ["Written", "check_rows", "run_to", "write_to"]


@dataclass(frozen=True, slots=True)
class Written:
    """
    What `run_to` wrote; prints as a line.

    Attributes:
        path: The file or folder.
        rows: How many rows each array has.
        n_resumed: How many items were done before.
        failures: Why items gave no row, by their index in the source.
    """

    path: Path
    rows: int
    n_resumed: int
    failures: Mapping[int, str]

    def __str__(self) -> str:
        failed = f", {len(self.failures)} items failed" if self.failures else ""
        resumed = f", the first {self.n_resumed} items done before"
        return f"{self.path}: {self.rows} rows{failed}{resumed * bool(self.n_resumed)}"


def run_to(
    path: str | PathLike[str],
    method: Callable[..., Any],
    source: Iterable[Any],
    /,
    *,
    resume: bool = True,
    job: str | None = None,
    on_error: Literal["raise", "skip"] | None = None,
    durable: bool = True,
    progress: Progress = None,
    **shared: Any,
) -> Written:
    """
    Call a method on each item of a source, and write the results to a file.

    The file appears whole or not at all. A run that ends early, even killed, leaves
    what it has beside it, and the same call goes on from there: at most a second's or
    16 MiB of results are computed again. Nothing of another job is ever overwritten
    unasked; where the result is there already, nothing is computed.

    Args:
        path: A file ``.npy`` for one array, readable by
            ``numpy.load(mmap_mode="r")``; or a folder for results of several arrays,
            one ``.npy`` for each, named by its path in the result.
        method: A method that takes a batch and returns arrays with one row an item.
        source: As in `stream`. To go on, it has to give the same items again: what
            has items by index skips those that are done, else they are pulled again.
        resume: Whether to go on with what is there; else begin anew.
        job: What is computed, if method, weights, source and arguments do not tell:
            two calls with the same *job* are taken for the same.
        on_error: ``"skip"`` items that raise: row *i* is that of the *i*-th item that
            did not, and ``<path>.failures.jsonl`` names the others.
        durable: Whether results survive a loss of power, and not only of the process.
        progress: As in `batched`.
        **shared: What every call of the method gets beside the items.

    Raises:
        AllItemsFailedError: If every item was skipped.
        InputTypeError: If *source* is one single item.
        InputValueError: If *path* holds another job's results, or does not fit the
            form of the results.
        Exception: Whatever the source or the method raises; what is done stays.

    Examples:
        >>> import numpy, torch
        >>> from unfussy import auto_device, batched
        >>> class Net(torch.nn.Linear):
        ...     @batched
        ...     @auto_device
        ...     def embed(self, x):
        ...         return self(x).detach()
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> x = numpy.zeros((5, 4))
        >>> written = run_to(Path(mkdtemp(), "z.npy"), Net(4, 2).embed, x)
        >>> numpy.load(written.path, mmap_mode="r").shape
        (5, 2)
    """
    check_source(source)
    target = make_target(method, on_error)
    job = job or describe_job(target, source, shared)
    rows = length_of(source) if target.on_error == "raise" else None
    with open_sink(path, job=job, rows=rows, resume=resume, durable=durable) as sink:
        write = as_stream(target.name, write_to)
        return write(sink, Path(path), target, source, shared, progress=progress)


def write_to(
    sink: Sink,
    path: Path,
    target: Target,
    source: Iterable[Any],
    shared: Mapping[str, Any],
    *,
    progress: Progress = None,
) -> Written:
    """
    Write what is missing in an open sink, and finish it; see `run_to`.

    Raises:
        Exception: What `run_to` raises.
    """
    start, total = sink.position, length_of(source)
    if not sink.is_finished:
        windows = run_windows(target, source, shared, start=start, to_cpu=True)
        ticking = ticker(progress, total=total, label=target.name)
        with closing(windows), ticking as tick:
            tick(start)
            first = _write_all(sink, windows, target.name, tick)
        _finish(sink, target, source, shared, first)
    return Written(path, sink.rows, start, sink.failures)


def _write_all(
    sink: Sink, windows: Iterable[Results], name: str, tick: Callable[[int], object]
) -> Failed | None:
    """Write windows, and return the first item that failed, if one did."""
    first = None
    for done in windows:
        note_window(done.stop - done.start, len(done.failures))
        for failed in done.failures:
            first = first or failed
            sink.fail(failed.index, f"{type(failed.error).__name__}: {failed.error}")
        if done.n_done:
            result = timed(JOIN, done.joined)
            check_rows(name, result, done.n_done)
            timed(OUTPUT, sink.write, result, done.stop)
        else:
            sink.skip(done.stop)
        tick(done.stop - done.start)
    return first


def _finish(
    sink: Sink,
    target: Target,
    source: Any,
    shared: Mapping[str, Any],
    first: Failed | None,
) -> None:
    if not sink.rows and first is not None:
        raise AllItemsFailedError(
            f"{target.name}: all {sink.position} items failed; the first is {first}"
        ) from first.error
    if not sink.rows and is_array(source) and len(target.names) == 1:
        # Who is called with no items tells what a row would be.
        sink.write(target.call({target.names[0]: source[:0]}, shared), sink.position)
    sink.finish()


def check_rows(name: str, result: Any, n: int) -> None:
    """
    Make sure that *result* has a row for each of *n* items.

    Raises:
        InputValueError: If some part of it has not.
    """
    for path, leaf in tree_paths(result):
        shape = tuple(getattr(leaf, "shape", ()))
        if shape[:1] != (n,):
            what = f"shape {shape}" if hasattr(leaf, "shape") else type(leaf).__name__
            raise InputValueError(
                f"{name}: results go to a file row by row, and result{path} has "
                f"{what} for {n} items; return one row an item"
            )
