"""
A method on a user's input: in one call, or by parts that survive a kill.

By parts it goes only where the method would be cut anyhow. A first dimension may be
time, or the joints of one pose: nobody but the author or the caller can tell.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from unfussy._arrays import is_picture
from unfussy._batching import Outcome
from unfussy._batching.joining import is_array
from unfussy._batching.sinks import Sink, open_sink
from unfussy._jobs import describe_job
from unfussy._mixin import EasyOptions
from unfussy._options import configure
from unfussy._targets import Target, make_target
from unfussy._windows import run_windows
from unfussy._writing import check_rows, write_to
from unfussy.cli.drawings import write_drawings
from unfussy.cli.inputs import is_items, names_of, read_whole
from unfussy.cli.outputs import describe_output, is_by_row, write_output
from unfussy.errors import InputValueError

__all__ = ["Order", "carry_out"]

_OPTIONS: Final = frozenset(EasyOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class Order:
    """
    What is to be done.

    Attributes:
        method: The method.
        inputs: What it is called on.
        arguments: What it gets beside that.
        settings: As in `configure`.
        out: Where the result goes.
        restarts: Whether what is there of it is dropped.
        shows: Whether there is a bar.
        say: Tells the user something.
        as_arrays: Makes arrays of a result that has none, or None.
        draw: Draws a result on what it is of, and returns the picture; or None.
        drawings: The folder for these, if they are wanted.
    """

    method: Callable[..., Any]
    inputs: Any
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    out: Path
    restarts: bool
    shows: bool
    say: Callable[[str], object]
    as_arrays: Callable[[Any], Mapping[str, Any]] | None = None
    draw: Callable[[Any, Any], Any] | None = None
    drawings: Path | None = None

    @property
    def rows(self) -> Path:
        """Where rows go as they come: what gets names is put together at the end."""
        if self.out.suffix.lower() == ".npz" and names_of(self.inputs) is not None:
            return self.out.with_name(f"{self.out.name}.rows") / "result.npy"
        return self.out


def carry_out(order: Order) -> str:
    """
    Run a method, write what it returns, and return a line about that.

    Raises:
        InputValueError: If the result does not fit the kind of file, or belongs to
            another job.
        Exception: Whatever the method raises.
    """
    target = make_target(configure(order.method, **order.settings), None)
    if not _may_be_cut(order, target) or not _by_parts(order, target):
        return _written_at_once(order)
    if order.rows == order.out:
        return describe_output(order.out)
    told = write_output(order.out, _with_names(order, np.load(order.rows)))
    shutil.rmtree(order.rows.parent)
    return told


def _written_at_once(order: Order) -> str:
    result = _called(order)
    told = write_output(order.out, _with_names(order, _as_written(order, result)))
    if order.drawings is None or order.draw is None:
        return told
    return f"{told}\n{write_drawings(order.drawings, order.draw, order.inputs, result)}"


def _as_written(order: Order, result: Any) -> Any:
    if order.as_arrays is None or order.out.suffix.lower() not in {".npz", ""}:
        return result
    return order.as_arrays(result)


def _with_names(order: Order, result: Any) -> Any:
    """Return *result* with what its items are called, where there is room for it."""
    names, suffix = names_of(order.inputs), order.out.suffix.lower()
    if names is not None and suffix == ".json":
        rows = list(result) if isinstance(result, (list, tuple, Outcome)) else []
        return dict(zip(names, rows)) if len(rows) == len(names) else result
    if names is None or suffix != ".npz":
        return result
    arrays = result if isinstance(result, Mapping) else {"result": result}
    return {**arrays, "names": np.array(names)}


def _called(order: Order) -> Any:
    method, settings = order.method, {**order.settings, "progress": order.shows}
    inputs = read_whole(order.inputs)
    # An easy method gets its own keywords: it may do more than what is planned.
    if inspect.signature(method).parameters.keys() >= _OPTIONS:
        return method(inputs, **settings, return_numpy=True, **order.arguments)
    return configure(method, **settings, out="numpy")(inputs, **order.arguments)


# --- by parts ----------------------------------------------------------------------


def _may_be_cut(order: Order, target: Target) -> bool:
    batch, inputs = target.plan.batch, order.inputs
    if batch is None or batch.size == "all" or not is_by_row(order.rows):
        return False
    if order.as_arrays is not None or order.drawings is not None:
        return False
    if target.names != ("",) or _is_item(inputs, batch.item):
        return False
    if is_array(inputs):
        return bool(inputs.ndim)
    return isinstance(inputs, list) or is_items(inputs)


def _is_item(inputs: Any, item: Any) -> bool:
    if item is None:
        return False
    if isinstance(item, int):
        return getattr(inputs, "ndim", None) == item or is_picture(inputs)
    return isinstance(inputs, item)


def _by_parts(order: Order, target: Target) -> bool:
    """Run the method by parts, and tell whether it can be."""
    with _open(order, target) as sink:
        n = len(order.inputs)
        if sink.is_finished:
            order.say(f"{order.out} is there already; --restart computes it anew")
        elif sink.position:
            order.say(f"goes on at item {sink.position} of {n}")
        elif not _gives_rows(order, target):
            return False
        try:
            write_to(
                sink,
                order.rows,
                target,
                order.inputs,
                order.arguments,
                progress=order.shows,
            )
        except BaseException:
            if sink.rows:
                order.say(
                    f"{sink.position} of {n} items are done; the same command goes on "
                    "there"
                )
            raise
    return True


def _open(order: Order, target: Target) -> Sink:
    job = describe_job(target, order.inputs, order.arguments)
    order.rows.parent.mkdir(exist_ok=True)
    rows = len(order.inputs) if target.on_error == "raise" else None
    try:
        return open_sink(order.rows, job=job, rows=rows, resume=not order.restarts)
    except InputValueError as error:
        text = str(error).replace("resume=False", "--restart")
        raise InputValueError(text) from error


def _gives_rows(order: Order, target: Target) -> bool:
    """Tell, of one item, whether the method gives a row of arrays for it."""
    if not len(order.inputs):
        return False
    windows = run_windows(target, order.inputs[:1], order.arguments, threaded=False)
    try:
        with closing(windows):
            check_rows(target.name, next(windows).joined(), 1)
    except Exception:  # noqa: BLE001 - the whole may be one item; if not, it is told
        return False
    return True
