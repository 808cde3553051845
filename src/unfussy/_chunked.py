"""
One call in chunks: few at once, many one after the other, and none.

Brings the engine of `_batching`, which knows items and costs, together with the
arguments and the results of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from warnings import warn

import numpy as np
import torch

from unfussy._batching import (
    ChunkPlan,
    Done,
    Draws,
    Execution,
    Failed,
    Governor,
    Indices,
    ItemsFailedWarning,
    Measures,
    Outcome,
    PeakMeter,
    default_ratio,
    describe_failures,
    is_out_of_memory,
    lay_out,
    memory_of,
    oom_kind,
)
from unfussy._cutting import Cutting, collations, prepared
from unfussy._devices import place_of
from unfussy._fitting import FEW, MANY, SMALL_BYTES
from unfussy._inputs import Arguments, describe_item
from unfussy._learnt import Learnt, first_items
from unfussy._outputs import gathered
from unfussy._progress import ticker
from unfussy._recording import CONVERT, JOIN, OUTPUT, timed
from unfussy._results import Results
from unfussy._underway import Call
from unfussy.errors import AllItemsFailedError, DoesNotFitError, PlanError

__all__ = ["Arrive", "Body", "Chunked"]

Body: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""Moves the arguments of a chunk and calls the method."""
Arrive: TypeAlias = Callable[
    [tuple[Any, ...], dict[str, Any], frozenset[str]], Arguments
]
"""Moves all arguments but those of some names."""

_CPU = torch.device("cpu")
# Items of mean length that the start-up of a chunk may be worth.
_FEW_ON_CPU = 2.5
_FEW = 100.0


class Chunked:
    """One call in chunks."""

    __slots__ = (
        "_batch",
        "_body",
        "_call",
        "_cutting",
        "_device",
        "_draws",
        "_hows",
        "_inputs",
        "_known",
        "_layout",
        "_n",
        "_name",
        "_to_cpu",
        "_values",
    )

    _body: Body
    _cutting: Cutting

    def __init__(
        self,
        known: Learnt,
        call: Call,
        inputs: Mapping[str, Any],
        lengths: Mapping[str, int],
    ) -> None:
        self._known, self._batch, self._call = known, known.batch, call
        self._name, self._n = known.method.name, next(iter(lengths.values()))
        self._inputs = inputs
        self._hows = collations(lengths, known.batch, known.method)
        self._values = timed(CONVERT, prepared, inputs, self._hows, known.batch)
        self._draws = Draws(x for name, x in inputs.items() if name not in lengths)
        self._layout = timed(
            CONVERT,
            lay_out,
            list(self._values.values()),
            self._n,
            known.batch.asking(call.subject, self._name),
            self._name,
            ordered=bool(self._draws),
        )
        self._device = call.place.device or place_of(call.module).device or _CPU
        arrays = call.form is not None and call.form.arrays
        self._to_cpu = known.on_cpu or (known.mirrors and arrays)
        if call.frame is not None:
            call.frame.items = self._n

    def run(self, body: Body, arrive: Arrive, whole: str | None = None) -> Any:
        """
        Run all chunks and return the joined result.

        Args:
            body: Moves the arguments of a chunk and calls the method.
            arrive: Moves the arguments that are shared by all chunks.
            whole: Why the batch must not be cut, if it must not.

        Raises:
            DoesNotFitError: If the smallest chunk does not fit.
            PlanError: If it must not be cut, and has to be.
            Exception: What the method raises, unless items may fail.
        """
        self._body, call = body, self._call
        shared = arrive(call.args, call.kwargs, frozenset(self._hows))
        method = self._known.method
        self._cutting = Cutting(
            self._values, self._hows, shared, self._layout, self._batch, method, self._n
        )
        if not self._n:
            returns = self._batch.on_error == "return"
            result = self._results().empty(self._run)
            return Outcome(result, (), ()) if returns else result
        if whole is not None:
            return self._finished([self._uncut(whole)], ())
        if self._is_small() and (done := self._at_once()) is not None:
            return self._finished([done], ())
        return self._in_chunks()

    def _in_chunks(self) -> Any:
        with ticker(self._batch.progress, total=self._n, label=self._name) as tick:
            execution = self._execution(tick)
            done = self._all(execution)
        failures = sorted(execution.failures, key=lambda failed: failed.index)
        return self._finished(done, tuple(failures))

    def _all(self, execution: Execution) -> list[Done]:
        try:
            if self._call.refusal is not None:
                execution.learn_refusal(self._layout.works)
            return execution.all(self._layout.works)
        finally:
            self._known.tight |= execution.refused
            self._known.items = execution.allowed / self._layout.unit

    def _finished(self, done: list[Done], failures: tuple[Failed, ...]) -> Any:
        if failures and not done and self._batch.on_error == "skip":
            raise AllItemsFailedError(
                f"{self._name}: all {self._n} items failed; the first is {failures[0]}"
            ) from failures[0].error
        result = timed(JOIN, self._results().joined, done) if done else None
        if failures and self._call.frame is not None:
            self._call.frame.failures = len(failures)
        if self._batch.on_error == "return":
            failed = {failure.index for failure in failures}
            good = tuple(i for i in range(self._n) if i not in failed)
            return Outcome(result, good, failures)
        if failures:
            text = f"{self._name}: {len(failures)} of {self._n} items were skipped:\n"
            warn(text + describe_failures(failures), ItemsFailedWarning, stacklevel=2)
        return result

    def _results(self) -> Results:
        return Results(
            known=self._known,
            module=self._call.module,
            inputs=self._inputs,
            values=self._values,
            layout=self._layout,
            cutting=self._cutting,
            called=self._called,
            draws=self._draws,
        )

    def preview(self) -> ChunkPlan:
        """Return how the call would be cut."""
        return self._execution(lambda _: None).preview(self._layout.works)

    # --- in one chunk --------------------------------------------------------------

    def _is_one_chunk(self) -> bool:
        """Tell whether the author's settings leave all items together."""
        works, size = self._layout.works, self._batch.size
        budget = self._batch.budget
        return (
            len(works) == 1
            and (isinstance(size, str) or self._n <= size)
            and (budget is None or works[0].cost <= budget)
        )

    def _is_small(self) -> bool:
        """Tell whether all items are tried at once, as few plain inputs are."""
        n, batch = self._n, self._batch
        few = n <= FEW or (n <= MANY and n * self._layout.bytes_per_item <= SMALL_BYTES)
        careful = self._known.tight or self._call.refusal is not None
        plain = not batch.progress and batch.on_error == "raise"
        if not few or careful or not plain or not self._is_one_chunk():
            return False
        return not isinstance(self._layout.works[0].lengths, np.ndarray)

    def _at_once(self) -> Done | None:
        """Run all items in one chunk, and tell by None that they do not fit."""
        try:
            return self._whole()
        except (RuntimeError, MemoryError) as error:
            if self._batch.on_oom == "raise" or not is_out_of_memory(error):
                raise
            self._call.refusal = f"{type(error).__name__}: {error}"
        return None

    def _whole(self) -> Done:
        return Done(range(self._n), self._run(range(self._n)))

    def _uncut(self, why: str) -> Done:
        """Run all items in one chunk, or not at all."""
        if not self._is_one_chunk():
            raise PlanError(
                f"{why}, and cutting would change them; add @inference or call .eval()"
            )
        try:
            return self._whole()
        except (RuntimeError, MemoryError) as error:
            if self._batch.on_oom == "raise" or oom_kind(error) != "definite":
                raise
            refusal = f"{type(error).__name__}: {error}"
        raise DoesNotFitError(f"{why}, so it cannot be cut. {refusal}")

    # --- in several ----------------------------------------------------------------

    def _execution(self, tick: Callable[[int], object]) -> Execution:
        batch, device = self._batch, self._device
        governor, automatic = self._governor(), batch.size == "auto"
        return Execution(
            run=self._run,
            n=self._n,
            batch=batch,
            governor=governor,
            measures=self._known.measures.setdefault(governor, Measures()),
            startup=self._startup(),
            method=self._name,
            refuse=self._does_not_fit,
            tick=tick,
            meter=PeakMeter(device) if automatic else None,
            timed=automatic and device.type == "cpu",
        )

    def _startup(self) -> float:
        """Return what the start-up of a chunk is worth until there are measurements."""
        known, unit = default_ratio(self._device.type), self._layout.unit
        if self._batch.makes_arrays and self._batch.cost is None:
            return known  # in frames, tokens and the like
        few = unit * (_FEW_ON_CPU if self._device.type == "cpu" else _FEW)
        return max(few, known) if unit >= 1 else few  # megapixels, perhaps

    def _governor(self) -> Governor:
        layout, place = self._layout, self._call.place
        key = self._device, place.dtype, self._call.target, layout.kind
        start = float("inf")
        if self._batch.size == "auto":
            first = first_items(
                self._device, layout.bytes_per_item, is_even=layout.is_even
            )
            start = first * layout.unit
        return self._known.limits.of(
            self._call.module, key, start=start, device=self._device
        )

    def _does_not_fit(self, i: int, n: int, refusal: str) -> DoesNotFitError:
        item = describe_item(self._inputs, frozenset(self._hows), i)
        what = "one single item" if n == 1 else f"the smallest chunk, {n} items,"
        memory = memory_of(self._device)
        room = "" if memory is None else f" ({memory} on {self._device})"
        return DoesNotFitError(
            f"{self._name}: {what} ({item}) does not fit into memory{room}; use a "
            "smaller input, lower precision or a larger device. The last attempt "
            f"said: {refusal}"
        )

    # --- running -------------------------------------------------------------------

    def _run(self, indices: Indices) -> Any:
        if not self._draws.generators:
            return self._called(timed(CONVERT, self._cutting.of, indices))
        with self._draws.undone():
            return self._called(timed(CONVERT, self._cutting.of, indices))

    def _called(self, arguments: Arguments) -> Any:
        result = self._body(*arguments)
        return timed(OUTPUT, gathered, result) if self._to_cpu else result
