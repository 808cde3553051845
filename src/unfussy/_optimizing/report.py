"""What `optimize` found out: figures, a verdict on each candidate, and the choice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from unfussy._optimizing.candidate import Level
from unfussy._optimizing.estimates import Estimate
from unfussy._schemas import check_schema
from unfussy.errors import InputValueError, PlanError

if TYPE_CHECKING:
    from unfussy._optimizing.applying import Application

__all__ = ["CandidateResult", "OptimizationReport", "Verdict"]

Verdict: TypeAlias = Literal["kept", "rejected", "failed", "skipped", "not reached"]
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """
    What became of one candidate.

    Attributes:
        name: The candidate.
        parameters: What makes it, beside its name.
        verdict: ``"kept"``; ``"rejected"``, as not faster or not equal;
            ``"failed"``, as it raised; ``"skipped"``, as it cannot work or the level
            does not try it; ``"not reached"`` within the budget.
        ratio: How many times as fast the method was with it as with the best before it.
        deviation: How far results were from the reference; None if not comparable.
        reason: Why it was not kept; what it does, if it was.
        memory: Bytes that a call needs more than the plain one, where that is counted.
    """

    name: str
    parameters: dict[str, Any]
    verdict: Verdict
    ratio: Estimate | None = None
    deviation: float | None = None
    reason: str = ""
    memory: int | None = None

    @property
    def label(self) -> str:
        """The name with its parameters, as in ``threads(count=2)``."""
        given = ", ".join(f"{k}={v}" for k, v in self.parameters.items())
        return f"{self.name}({given})" if given else self.name


@dataclass(frozen=True, slots=True)
class OptimizationReport:
    """
    What made a method faster on this machine, what did not, and the evidence.

    Prints as a table. The user's module is as it was until `apply`.

    Attributes:
        target: The method.
        device: Where it ran.
        fingerprint: What a saved choice holds for: the class, its parameters, the
            device's model, the versions.
        threads: Of torch, while it was tuned.
        level: How much was tried.
        tolerance: The largest relative error that was admitted.
        budget: The seconds that were given.
        seconds: Those that were taken.
        plain: Seconds for a call as it was.
        best: Seconds for a call with the candidates that were kept.
        speedup: How many times as fast that is.
        deviation: How far the results then are from the reference.
        candidates: What became of each candidate, in the order they were tried.
        notes: What else there is to say.
    """

    target: str
    device: str
    fingerprint: dict[str, str]
    threads: int
    level: Level
    tolerance: float
    budget: float
    seconds: float
    plain: Estimate | None = None
    best: Estimate | None = None
    speedup: Estimate | None = None
    deviation: float | None = None
    candidates: tuple[CandidateResult, ...] = ()
    notes: tuple[str, ...] = ()
    _application: Application | None = field(default=None, compare=False, repr=False)

    @property
    def kept(self) -> tuple[CandidateResult, ...]:
        """The candidates that were kept, in the order in which they are applied."""
        return tuple(each for each in self.candidates if each.verdict == "kept")

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *_table(self.candidates)]).rstrip()

    def _head(self) -> Iterable[str]:
        where = f"{self.device} ({self.fingerprint['device_model']})"
        yield f"{self.target} on {where}, torch {self.fingerprint['torch']}"
        within = f"results within {self.tolerance:.0e}"
        took = f"{self.seconds:.1f} of {self.budget:.0f} s"
        yield f"{self.level}, {threads_text(self.threads)}, {within}, in {took}"
        if self.plain is not None:
            yield f"plain  {seconds_text(self.plain)}"
        if self.best is not None and self.speedup is not None:
            yield f"best   {seconds_text(self.best)}"
            yield f"{self.speedup} times as fast, deviation {self.deviation:.1e}"
        elif self.plain is not None:
            yield "nothing to gain: leave it as it is"
        yield from self.notes

    # --- the choice ----------------------------------------------------------------

    def apply(self) -> Callable[..., Any]:
        """
        Make the user's module as fast as was measured.

        What was kept is applied in place; a module that is called, and a method found
        on it, are fast from then on. A function, a configured method and a method of a
        proxy are so only where what is returned is called. Train again after `undo`.

        Returns:
            The fast method; what was given, if nothing was kept. Applied already, the
            same once more.

        Raises:
            PlanError: If the report was read from a file, or the module has changed.
        """
        return self._applicable().apply()

    def undo(self) -> None:
        """
        Put the module and the process back as they were, if this is applied.

        Raises:
            PlanError: If something else was applied to the module since.
        """
        self._applicable().undo()

    def _applicable(self) -> Application:
        if self._application is None:
            raise PlanError(
                "this report was read from a file, and knows no module; use "
                "save_choice() of the one that optimize() returned, and load_choice()"
            )
        return self._application

    # --- files ---------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the report as JSON, of the form that ``SCHEMA`` describes."""
        from unfussy._optimizing.schema import SCHEMA  # noqa: PLC0415 - when needed

        values = {f: getattr(self, f) for f in SCHEMA["required"] if f != "version"}
        for name in ("plain", "best", "speedup"):
            values[name] = None if values[name] is None else asdict(values[name])
        values["candidates"] = [asdict(each) for each in self.candidates]
        return json.dumps({"version": 1, **values}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, /) -> OptimizationReport:
        """
        Return the report that was written by `to_json`; it cannot be applied.

        Raises:
            InputValueError: If it is no such report.
        """
        from unfussy._optimizing.schema import SCHEMA  # noqa: PLC0415 - when needed

        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputValueError(f"this is no report: {error}") from error
        check_schema(values, SCHEMA, "report")
        del values["version"]
        for name in ("plain", "best", "speedup"):
            values[name] = _estimate(values[name])
        results = [CandidateResult(**each) for each in values["candidates"]]
        values["candidates"] = tuple(
            replace(each, ratio=_estimate(each.ratio)) for each in results
        )
        return cls(**{**values, "notes": tuple(values["notes"])})

    def save(self, path: str | Path, /) -> Path:
        """
        Write the report to a ``.json`` or ``.html`` file, and return its path.

        Raises:
            InputValueError: If the path ends otherwise.
        """
        path = Path(path)
        if path.suffix == ".json":
            path.write_text(self.to_json() + "\n", encoding="utf-8")
        elif path.suffix in {".html", ".htm"}:
            from unfussy._optimizing.page import page_of  # noqa: PLC0415 - when needed

            page_of(self).write(path)
        else:
            raise InputValueError(f"save() takes a .json or .html path, got {path}")
        return path

    def save_choice(self, path: str | Path, /) -> Path:
        """
        Write the candidates that were kept to a file for `load_choice`.

        They hold for the same class, sizes, device and versions.
        """
        from unfussy._optimizing.saved import write_choice  # noqa: PLC0415 - a circle

        return write_choice(Path(path), self)


def _estimate(values: Any) -> Estimate | None:
    return None if values is None else Estimate(**values)


def seconds_text(seconds: Estimate) -> str:
    """Return a time and its interval in a unit that suits it."""
    fitting = (each for each in _UNITS if seconds.value >= each[0])
    scale, unit = next(fitting, _UNITS[-1])
    values = [x / scale for x in (seconds.value, seconds.low, seconds.high)]
    return "{:.4g} {} [{:.4g}, {:.4g}]".format(values[0], unit, *values[1:])


def threads_text(n: int) -> str:
    """Return a number of threads in words."""
    return "1 thread" if n == 1 else f"{n} threads"


HEADERS = ("candidate", "verdict", "times as fast", "deviation", "why")


def rows_of(candidates: Iterable[CandidateResult]) -> list[tuple[str, ...]]:
    """Return the cells of the table, as text."""
    return [
        (
            each.label,
            each.verdict,
            "" if each.ratio is None else str(each.ratio),
            "" if each.deviation is None else f"{each.deviation:.1e}",
            each.reason,
        )
        for each in candidates
    ]


def _table(candidates: Iterable[CandidateResult]) -> Iterable[str]:
    rows = [HEADERS, *rows_of(candidates)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows if len(rows) > 1 else ():
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip()
