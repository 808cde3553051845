"""
The search for the fastest combination of candidates.

Each candidate in turn joins the best combination so far, and stays if that is faster
beyond noise and its results are within the tolerance. In the end it is tried without
each one that was kept, and the winner is timed against the plain method.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final

from unfussy._optimizing.candidate import LEVELS, Candidate
from unfussy._optimizing.estimates import Estimate
from unfussy._optimizing.registry import Kind
from unfussy._optimizing.report import CandidateResult, OptimizationReport, Verdict
from unfussy._optimizing.timing import MIN_GAIN, Comparison
from unfussy._optimizing.trials import Build
from unfussy._optimizing.workshop import Workshop, told
from unfussy._progress import Tick

__all__ = ["Row", "Search"]

_LAST_SHARE: Final = 0.15  # of the budget, for the winner against the plain method
_ONE_SHARE: Final = 0.15  # of what is left, for one candidate
_CALLS: Final = 12  # that the shortest comparison takes, with its checks
_OWN_ERRORS: Final = 2.0  # how much worse than plain low precision may become


@dataclass(slots=True)
class Row:
    """A candidate, and what became of it so far."""

    candidate: Candidate
    result: CandidateResult


class Search:
    """
    One search.

    Attributes:
        rows: What was tried, in order.
    """

    def __init__(
        self,
        shop: Workshop,
        report: OptimizationReport,
        start: float,
        *,
        restricts: bool,
    ) -> None:
        self._shop, self._report, self._restricts = shop, report, restricts
        self._end = start + report.budget
        self._reserve = report.budget * _LAST_SHARE
        self._allowed = report.tolerance
        if shop.asks_low:
            self._allowed = max(report.tolerance, _OWN_ERRORS * shop.own_error)
        self._best, self._deviation = shop.plain, shop.own_error
        self._building = 0.0  # seconds that the best one took to build and check
        self.rows: list[Row] = []

    def run(self, kinds: Iterable[Kind], tick: Tick) -> OptimizationReport:
        """Try all *kinds*, and return the report."""
        shop = self._shop
        self._plain = shop.measure(shop.plain, self._left() * _ONE_SHARE)
        self._memory = shop.peak_memory(shop.plain)
        for kind in kinds:
            self._try_all(kind)
            tick(1)
        self._drop_what_is_not_needed()
        return self._finish()

    # --- one candidate -------------------------------------------------------------

    def _try_all(self, kind: Kind) -> None:
        """Try every variant of *kind*; where all are refused, one row will do."""
        if isinstance(kind, Candidate):
            return self._try(kind)
        if (refusal := self._refusal_by_level(kind)) is not None:
            return self._skip(kind, refusal)
        try:
            variants = kind.variants(self._best.trial)
            refusals = {each.obstacle(self._best.trial) for each in variants}
        except Exception as error:  # noqa: BLE001 - reported
            self.rows.append(_row(kind(), "failed", told(error), parameters={}))
            return None
        if len(refusals) == 1 and (refusal := refusals.pop()) is not None:
            return self._skip(kind, refusal)
        for candidate in variants:
            self._try(candidate)
        return None

    def _skip(self, kind: type[Candidate], reason: str) -> None:
        self.rows.append(_row(kind(), "skipped", reason, parameters={}))

    def _try(self, candidate: Candidate) -> None:
        try:
            refusal = candidate.obstacle(self._best.trial)
            if refusal is not None:
                self._add(candidate, "skipped", refusal)
            elif not self._has_time():
                self._add(candidate, "not reached", "the budget was spent")
            else:
                self._time(candidate)
        except Exception as error:  # noqa: BLE001 - reported
            self._add(candidate, "failed", told(error))

    def _refusal_by_level(self, kind: type[Candidate]) -> str | None:
        if not self._restricts:
            return None
        is_low = kind.low_precision and not self._shop.asks_low
        needed = "aggressive" if is_low else kind.level
        if LEVELS.index(needed) <= LEVELS.index(self._report.level):
            return None
        return f"the {needed} level tries it"

    def _time(self, candidate: Candidate) -> None:
        rivals = [x for x in self._best.candidates if x.name != candidate.name]
        start, before = perf_counter(), self._best
        built = self._shop.build([*rivals, candidate])
        deviation = self._shop.check(built)
        if deviation.value > self._allowed:
            return self._reject(candidate, deviation)
        building = perf_counter() - start
        found = self._shop.compare(before, built, self._left() * _ONE_SHARE)
        if not found.gains:
            reason = _why_not(found.ratio)
            self._add(candidate, "rejected", reason, found.ratio, deviation.value)
            return None
        deviation = max(
            deviation, self._shop.check_again(built), key=lambda each: each.value
        )
        if deviation.value > self._allowed:
            return self._reject(candidate, deviation)
        for row in self._kept(candidate.name):
            row.result = replace(
                row.result, verdict="rejected", reason="another variant is faster"
            )
        self._add(candidate, "kept", candidate.summary, found.ratio, deviation.value)
        self._add_memory(built)
        self._best, self._deviation = built, deviation.value
        self._building = building
        return None

    def _reject(self, candidate: Candidate, deviation: Any) -> None:
        reason = deviation.reason or (
            f"results differ by {deviation.value:.1e}, more than {self._allowed:.0e}"
        )
        value = None if deviation.reason else deviation.value
        self._add(candidate, "rejected", reason, None, value)

    def _add(self, candidate: Candidate, *rest: Any) -> None:
        self.rows.append(_row(candidate, *rest))

    def _add_memory(self, built: Build) -> None:
        used = self._shop.peak_memory(built)
        if used is not None and self._memory is not None:
            row = self.rows[-1]
            row.result = replace(row.result, memory=used - self._memory)

    def _kept(self, name: str | None = None) -> list[Row]:
        kept = (row for row in self.rows if row.result.verdict == "kept")
        return [row for row in kept if name in {None, row.candidate.name}]

    # --- the end -------------------------------------------------------------------

    def _drop_what_is_not_needed(self) -> None:
        """Try the best combination without each of its candidates but the last."""
        for row in self._kept()[:-1]:
            if not self._has_time(self._building):
                return
            rest = [x for x in self._best.candidates if x is not row.candidate]
            try:
                self._try_without(row, rest)
            except Exception as error:  # noqa: BLE001 - then it is needed
                row.result = replace(
                    row.result,
                    reason=f"{row.result.reason}; the others need it: {told(error)}",
                )

    def _try_without(self, row: Row, rest: Sequence[Candidate]) -> None:
        built = self._shop.build(rest)
        deviation = self._shop.check(built)
        if deviation.value > self._allowed:
            return
        found = self._shop.compare(built, self._best, self._left() * _ONE_SHARE)
        if found.ratio.high < MIN_GAIN:  # it was faster once, and is no more
            reason = "no longer a gain beside the others"
            row.result = replace(row.result, verdict="rejected", reason=reason)
            self._best, self._deviation = built, deviation.value

    def _finish(self) -> OptimizationReport:
        report = replace(self._report, plain=self._plain)
        latest = self._end + self._reserve
        while self._kept():
            seconds = max(self._end - perf_counter(), self._reserve)
            found = self._shop.compare(self._shop.plain, self._best, seconds)
            report = replace(report, plain=found.first)
            if found.gains:
                report = replace(report, best=found.second, speedup=found.ratio)
                report = replace(report, deviation=self._deviation)
                break
            self._step_back(found, all_the_way=perf_counter() > latest)
        rows = tuple(row.result for row in self.rows)
        return replace(report, candidates=rows, notes=tuple(self._notes()))

    def _step_back(self, found: Comparison, *, all_the_way: bool) -> None:
        """Reject what was kept last, as it may be that alone which is not faster."""
        reason = f"with it, all together are {found.ratio} times as fast as plain"
        kept = self._kept()
        for row in kept if all_the_way else kept[-1:]:
            row.result = replace(row.result, verdict="rejected", reason=reason)
        last = {id(row.candidate) for row in self._kept()}
        rest = [each for each in self._best.candidates if id(each) in last]
        self._best = self._shop.build(rest)
        self._deviation = self._shop.check(self._best).value
        if self._deviation > self._allowed:
            self._step_back(found, all_the_way=True)

    def _notes(self) -> Iterable[str]:
        if self._shop.asks_low:
            yield (
                "the plain method computes in low precision, "
                f"{self._shop.own_error:.1e} from float32; "
                f"{self._allowed:.1e} is admitted"
            )
        missed = sum(row.result.verdict == "not reached" for row in self.rows)
        if missed:
            yield f"{missed} candidates were not reached; give a larger budget"

    # --- time ----------------------------------------------------------------------

    def _left(self) -> float:
        return max(self._end - self._reserve - perf_counter(), 0.0)

    def _has_time(self, building: float = 0.0) -> bool:
        return self._left() > building + _CALLS * self._plain.value


def _row(
    candidate: Candidate,
    verdict: Verdict,
    reason: str,
    ratio: Estimate | None = None,
    deviation: float | None = None,
    *,
    parameters: dict[str, Any] | None = None,
) -> Row:
    given = candidate.parameters() if parameters is None else parameters
    name = candidate.name
    return Row(
        candidate, CandidateResult(name, given, verdict, ratio, deviation, reason)
    )


def _why_not(ratio: Estimate) -> str:
    if ratio.high < 1:
        return "slower"
    if ratio.low > 1:
        return f"faster by less than {MIN_GAIN - 1:.0%}"
    return "not faster beyond noise"
