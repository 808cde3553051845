"""
Where trials are made and held against the plain method: for speed, and for equality.

The plain method is what was given, in eval mode and without gradients. Results are
held against those of its float32 version, on the example and on another batch size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch

from unfussy._lease import EvalLease
from unfussy._optimizing.candidate import Candidate, Trial, Undo
from unfussy._optimizing.deviation import Deviation, deviation_of
from unfussy._optimizing.estimates import Estimate
from unfussy._optimizing.examples import Example, copied
from unfussy._optimizing.seeds import seeded
from unfussy._optimizing.target import Target
from unfussy._optimizing.timing import Comparison, Contender, compare, measure
from unfussy._optimizing.trials import Build, build, tensors_of, written_tensors
from unfussy._precision import LOW, autocast_for, to_float32
from unfussy.errors import UnfussyError

__all__ = ["Untriable", "Workshop", "told"]


class Untriable(UnfussyError, RuntimeError):  # noqa: N818 - a verdict, never raised far
    """Nothing can be tried on a copy of the module."""


def told(error: BaseException) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200].rstrip(": ")


@dataclass(frozen=True, slots=True)
class _Case:
    """An example, what the plain method makes of it, and what float32 does."""

    example: Example
    plain: Any
    reference: Any


class Workshop:
    """
    A method, with all that is needed to try candidates on it.

    Args:
        target: The method.
        args: The example's arguments.

    Attributes:
        target: The method.
        plain: A trial to which nothing was done.
        own_error: How far the plain method itself is from float32.
        asks_low: Whether the plain method computes in low precision.

    Raises:
        Untriable: If the module cannot be copied, or gives another result each time.
        Exception: Whatever the method raises of the example.
    """

    def __init__(self, target: Target, args: tuple[Any, ...]) -> None:
        if target.obstacle:
            raise Untriable(f"the module cannot be copied: {target.obstacle}")
        self.target, self._example = target, Example(args)
        self._own = self._first_call()
        self.plain = self.build(())
        self.asks_low = _is_low(self.plain.trial)
        self._repeats = True
        self._cases = list(self._make_cases())
        self.own_error = max(_deviation(x.plain, x).value for x in self._cases)

    def build(self, candidates: Iterable[Candidate]) -> Build:
        """Return a new trial with *candidates* applied."""
        args = self._example.args
        return build(self.target, args, candidates, own=self._own)

    # --- equality ------------------------------------------------------------------

    def check(self, tried: Build) -> Deviation:
        """Return how far the results of *tried* are from the reference, at worst."""
        worst = Deviation(0.0)
        with tried.in_force(tried.settings):
            for case in self._cases:
                found = _deviation(seeded(tried, case.example), case)
                if found.value > worst.value:
                    worst = found
                if not self._repeats:
                    break  # only the first call of a trial can be compared
        return worst

    def check_again(self, tried: Build) -> Deviation:
        """Check *tried* once more, now that it has been called often."""
        return self.check(tried) if self._repeats else Deviation(0.0)

    def _first_call(self) -> frozenset[int]:
        args = copied(self._example.args)
        try:
            own, result, _ = written_tensors(self.target, args)
        except Exception as error:
            self._raise_own_error()
            raise Untriable(f"the module cannot be copied: {told(error)}") from error
        del result
        self._example.note_writing(args)
        return own

    def _raise_own_error(self) -> None:
        """Raise what the user's own module raises of the example, if it does."""
        module, args = self.target.module, copied(self._example.args)
        with EvalLease(module):
            self.target.today(module, *args)

    def _make_cases(self) -> Iterator[_Case]:
        first = copied(seeded(self.plain, self._example))
        self._repeats = self._is_same(seeded(self.plain, self._example), first)
        if not self._repeats:
            again = seeded(self.build(()), self._example)
            if not self._is_same(again, first):
                raise Untriable(
                    "its results differ from call to call, also with the random "
                    "generators seeded, so that nothing can be compared with them"
                )
        yield self._case(self._example, first)
        other = self._example.of_another_size(self.target.raw, self.target.plan)
        if other is not None and self._repeats:
            try:
                plain = copied(seeded(self.plain, other))
            except Exception:  # noqa: BLE001 - no size the method is made for
                return
            yield self._case(other, plain)

    def _is_same(self, result: Any, first: Any) -> bool:
        return deviation_of(result, first).value <= _NOISE[self.asks_low]

    def _case(self, example: Example, plain: Any) -> _Case:
        reference = plain
        if self.asks_low:
            try:
                reference = self._in_float32(example)
            except Exception:  # noqa: BLE001 - it is made for low precision only
                reference = plain
        case = _Case(example, plain, reference)
        comparable = _deviation(plain, case).value < float("inf")
        return case if comparable else _Case(example, plain, plain)

    def _in_float32(self, example: Example) -> Any:
        args, own = example.args, self._own
        if self.plain.trial.dtype in LOW:
            own = frozenset(map(id, tensors_of(self.target.module)))
            args = to_float32(args)
        wide = build(self.target, args, [_Float32()], own=own)
        return copied(seeded(wide, Example(copied(args))))

    # --- speed ---------------------------------------------------------------------

    def compare(self, first: Build, second: Build, seconds: float) -> Comparison:
        """Time two trials in turn; each with the settings that it needs in force."""
        common = [each for each in first.settings if each in second.settings]
        with first.in_force(common):
            contenders = (self._contender(each, common) for each in (first, second))
            return compare(*contenders, seconds=seconds, clock=perf_counter)

    def measure(self, tried: Build, seconds: float) -> Estimate:
        """Return the seconds of one call."""
        with tried.in_force(tried.settings):
            contender = self._contender(tried, tried.settings)
            return measure(contender, seconds=seconds, clock=perf_counter)

    def _contender(self, tried: Build, in_force: Iterable[Candidate]) -> Contender:
        device, fresh, call = tried.trial.device, self._example.fresh, tried.call
        apart = [each for each in tried.settings if each not in in_force]
        return Contender(
            call=lambda: call(*fresh()),
            force=partial(tried.in_force, apart) if apart else None,
            wait=int if device.type == "cpu" else _synchronize,
        )

    def peak_memory(self, tried: Build) -> int | None:
        """Return the bytes that one call needs on the device; None if nobody counts."""
        backend: Any = getattr(torch, tried.trial.device.type, None)
        if not hasattr(backend, "reset_peak_memory_stats"):
            return None
        backend.reset_peak_memory_stats()
        before = backend.memory_allocated()
        with tried.in_force(tried.settings):
            tried.call(*self._example.fresh())
        return int(backend.max_memory_allocated() - before)


# How far two runs of one thing may be apart, in full and in low precision.
_NOISE = {False: 1e-6, True: 1e-3}


def _synchronize() -> None:
    torch.accelerator.synchronize()


def _is_low(trial: Trial) -> bool:
    if trial.dtype in LOW:
        return True
    entry = trial.plan.precision
    if entry is None:
        return False
    return autocast_for(entry.precision, trial.device.type, trial.dtype) in LOW


def _deviation(result: Any, case: _Case) -> Deviation:
    found = deviation_of(result, case.plain)  # of types and shapes, at least
    if found.reason or case.reference is case.plain:
        return found
    return deviation_of(to_float32(result), to_float32(case.reference))


class _Float32(Candidate):
    """The plain method in float32, which results are held against."""

    name, summary = "float32", "computes in float32"

    def obstacle(self, trial: Trial, /) -> str | None:  # noqa: ARG002
        return None

    def apply(self, trial: Trial, /) -> Undo:
        if trial.plan.precision is not None:
            trial.settings["precision"] = "fp32"
        if trial.dtype in LOW:
            trial.module.float()
        return int
