"""
Run chunks one after the other, and survive what does not fit and what raises.

A chunk that runs out of memory is cut and tried again, smaller; what is done stays
done. Nothing of a failed attempt is alive when the next one starts. Where the author
allows it, items that raise are told apart from those that do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from unfussy._batching.batch import Batch
from unfussy._batching.chunks import ChunkPlan
from unfussy._batching.collate import Indices
from unfussy._batching.cost import CostFit
from unfussy._batching.failures import Failed, let_go, note_origin
from unfussy._batching.governor import Governor
from unfussy._batching.memory import PeakMeter
from unfussy._batching.oom import oom_kind, release_memory
from unfussy._batching.planner import plan, plan_in_order
from unfussy._batching.work import Work, ascending, merged
from unfussy._recording import current
from unfussy.errors import DoesNotFitError

__all__ = ["Done", "Execution", "Measures", "Run"]

_LARGER = 1.1
_TRUSTED = 3  # times more or less than assumed
_ENOUGH = 20  # start-ups in a chunk: then they are a twentieth of it

Run: TypeAlias = Callable[[Indices], Any]
"""Runs the items at some indices, ascending, and returns their result."""


@dataclass(frozen=True, slots=True)
class Done:
    """
    A chunk that was run.

    Attributes:
        indices: Which items were in it, ascending.
        result: What the method returned.
    """

    indices: Indices
    result: Any


@dataclass(slots=True)
class Measures:
    """
    What chunks under one governor have shown.

    Attributes:
        fit: How long they take.
        largest: The greatest cost of those whose memory was measured.
    """

    fit: CostFit = field(default_factory=CostFit)
    largest: float = 0.0


@dataclass(slots=True)
class Execution:
    """
    One call in chunks.

    Attributes:
        run: What runs a chunk.
        n: How many items there are in all.
        batch: How to cut.
        governor: What is known of how much fits.
        measures: What its chunks have shown.
        startup: What the start-up of a chunk is worth, in units of cost, until then.
        method: The method's name, for errors.
        refuse: Makes the error for a smallest chunk that does not fit, from the index
            of its first item, how many they are, and what the refusal said.
        tick: Called with the number of items that were just finished.
        meter: Measures the memory that a chunk takes, where that is of interest.
        timed: Whether the time of a chunk is that of its computation.
        failures: The items that raised.
        refused: Whether memory ran out.
        allowed: What the last chunk might have cost.
    """

    run: Run
    n: int
    batch: Batch
    governor: Governor
    measures: Measures
    startup: float
    method: str
    refuse: Callable[[int, int, str], DoesNotFitError]
    tick: Callable[[int], object]
    meter: PeakMeter | None = None
    timed: bool = False
    failures: list[Failed] = field(default_factory=list)
    refused: bool = False
    allowed: float = inf

    def all(self, works: Iterable[Work]) -> list[Done]:
        """
        Run all works.

        Raises:
            DoesNotFitError: If the smallest chunk does not fit.
            Exception: What the method raises, unless items may fail.
        """
        return [done for work in works for done in self._work(work)]

    def learn_refusal(self, works: Sequence[Work]) -> None:
        """Learn that all items at once were refused."""
        self.refused = True
        _note_refusal()
        if self.n > self.batch.min_size:
            self.governor.refused(sum(work.cost for work in works))
        release_memory()

    def _work(self, work: Work) -> Iterator[Done]:
        budget, most = self._budget(work), self._most
        allowed_most = most
        queue = deque(self._planned(work, budget))
        now = budget
        while queue:
            if now >= 2 * budget and len(queue) > 1 and self._may_plan_again(work):
                queue, budget = deque(self._planned(merged(queue), now)), now
            whole = queue.popleft()
            piece, rest = self._divided(whole, now, most)
            most = allowed_most
            done, trouble = self._attempt(piece)
            if isinstance(trouble, str) and self._shrinks(piece, trouble):
                # Others may have raised the limit meanwhile; this has to get smaller.
                most = len(piece) - 1
                queue.appendleft(whole)
            elif rest is not None:
                queue.appendleft(rest)
            if isinstance(trouble, Exception):
                queue.extendleft(self._blamed(piece, trouble))
            if done is not None:
                yield done
            if queue and (now < inf or trouble is not None):
                now = self._budget(work)

    @property
    def _most(self) -> int:
        return self.n if isinstance(self.batch.size, str) else self.batch.size

    def _may_plan_again(self, work: Work) -> bool:
        # Not after a failure: halves would be put together with the culprit again.
        return work.padded and not work.ordered and self.batch.on_error == "raise"

    def _divided(
        self, whole: Work, allowed: float, most: int
    ) -> tuple[Work, Work | None]:
        """Return what to run now of *whole*, and the rest."""
        n = min(max(whole.head(allowed), self.batch.min_size), most)
        if n >= len(whole):
            return whole, None
        return whole.part(0, n), whole.part(n, len(whole))

    def _budget(self, work: Work) -> float:
        """Return what a chunk of *work* may cost."""
        self.allowed = self.governor.allow()
        if self.batch.budget is not None:
            return min(self.allowed, self.batch.budget)
        if self.timed and work.padded:  # more gains nothing, and caches overflow
            return min(self.allowed, _ENOUGH * self.startup)
        return self.allowed

    # --- planning ------------------------------------------------------------------

    def _planned(self, work: Work, budget: float) -> list[Work]:
        """Return *work* as chunks, as far as that is worth planning."""
        if work.ordered or not isinstance(work.lengths, np.ndarray) or len(work) < 2:  # noqa: PLR2004
            return [work] if len(work) else []
        chunks = [work.pick(chunk) for chunk in self._plan(work, budget).chunks]
        return [chunk.from_longest() for chunk in chunks] if work.padded else chunks

    def _plan(self, work: Work, budget: float) -> ChunkPlan:
        most = None if isinstance(self.batch.size, str) else self.batch.size
        room = None if budget == inf else max(budget, 1.0)
        plans = plan if work.padded else plan_in_order
        lengths = np.broadcast_to(np.asarray(work.lengths), len(work))
        return plans(lengths, startup=self._startup, budget=room, max_items=most)

    @property
    def _startup(self) -> float:
        """What the start-up of a chunk is worth, by what has been measured."""
        known, assumed = self.measures.fit.cost, self.startup
        if known is None:
            return assumed
        # Planned chunks are of like sizes, which tell little, and that with noise.
        return min(max(known.ratio, assumed / _TRUSTED), assumed * _TRUSTED)

    def preview(self, works: Sequence[Work]) -> ChunkPlan:
        """Return how *works* would be cut, as far as is known now."""
        budgets = [self._budget(work) for work in works]
        plans = [self._plan(work, most) for work, most in zip(works, budgets)]
        pieces = [
            piece
            for work, most in zip(works, budgets)
            for piece in self._pieces(work, most)
        ]
        return ChunkPlan(
            chunks=tuple(np.sort(np.asarray(piece.indices)) for piece in pieces),
            padded=sum(piece.cost for piece in pieces),
            useful=sum(piece.useful for piece in pieces),
            startup=max((each.startup for each in plans), default=self.startup),
            lower_bound=sum(each.lower_bound for each in plans),
        )

    def _pieces(self, work: Work, budget: float) -> Iterator[Work]:
        for chunk in self._planned(work, budget):
            rest: Work | None = chunk
            while rest is not None:
                piece, rest = self._divided(rest, budget, self._most)
                yield piece

    # --- attempts ------------------------------------------------------------------

    def _attempt(self, piece: Work) -> tuple[Done | None, str | Exception | None]:
        """Return what was done; or what a refusal said; or what an item raised."""
        try:
            return self._measured(piece), None
        except Exception as error:
            kind = None if self.batch.on_oom == "raise" else oom_kind(error)
            # Of one item, a mere suspicion is not worth hiding the error for.
            if kind == "suspect" and len(piece) <= self.batch.min_size:
                kind = None
            if kind is None and self.batch.on_error == "raise":
                self._note(error, piece)
                raise
            failed = error
        # A refusal leaves this frame as text only: its traceback would keep the failed
        # attempt's tensors alive during the next one.
        if kind is None:
            note_origin(failed)
        let_go(failed)
        return None, failed if kind is None else f"{type(failed).__name__}: {failed}"

    def _measured(self, piece: Work) -> Done:
        cost, indices = piece.cost, ascending(piece.indices)
        if self._wants_peak(cost):
            assert self.meter is not None  # noqa: S101 - or there is no wish
            with self.meter:
                start = perf_counter()
                result = self.run(indices)
                seconds = perf_counter() - start
            peak, self.measures.largest = self.meter.peak, cost
        else:
            start = perf_counter()
            result, peak = self.run(indices), None
            seconds = perf_counter() - start
        self._learn(cost, seconds, peak)
        if (frame := current()) is not None:
            pads = self.batch.makes_arrays
            costs = (cost, piece.useful) if pads else (0.0, 0.0)
            frame.ran(len(indices), int(seconds * 1e9), *costs)
        self.tick(len(indices))
        return Done(indices, result)

    def _wants_peak(self, cost: float) -> bool:
        # Measuring takes longer than small chunks do, and once for each size will do.
        if self.meter is None or cost <= _LARGER * self.measures.largest:
            return False
        return self.governor.wants_peak

    def _learn(self, cost: float, seconds: float, peak: int | None) -> None:
        if not self.timed:
            self.governor.succeeded(cost, peak=peak)
            return
        self.governor.succeeded(cost, seconds=seconds, peak=peak)
        self.measures.fit.add(cost, seconds)

    def _note(self, error: Exception, piece: Work) -> None:
        if len(piece) < self.n:
            indices = ascending(piece.indices)
            error.add_note(
                f"{self.method}: in a chunk of {len(piece)} of {self.n} items, "
                f"{indices[0]} to {indices[-1]}"
            )

    def _shrinks(self, piece: Work, refusal: str) -> bool:
        """Learn from a refusal, and tell whether there is a smaller chunk to try."""
        self.refused = True
        _note_refusal()
        self.governor.refused(piece.cost)
        release_memory()
        if len(piece) > self.batch.min_size:
            return True
        indices = ascending(piece.indices)
        error = self.refuse(int(indices[0]), len(piece), refusal)
        if self.batch.on_error == "raise":
            raise error
        self._give_up(indices, error)
        return False

    def _blamed(self, piece: Work, error: Exception) -> list[Work]:
        """Return the halves of what raised, last first; or take note of the culprit."""
        if len(piece) > 1:
            middle = len(piece) // 2
            return [piece.part(middle, len(piece)), piece.part(0, middle)]
        self._give_up(piece.indices, error)
        return []

    def _give_up(self, indices: Indices, error: Exception) -> None:
        self.failures.extend(Failed(int(i), error) for i in indices)
        self.tick(len(indices))


def _note_refusal() -> None:
    if (frame := current()) is not None:
        frame.retries += 1
