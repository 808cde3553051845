"""
The three ways to do the same work: a plain loop, in batches, and optimised.

A way that fails, gains nothing or gives other results is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch

from unfussy._optimizing import OptimizationReport, optimize
from unfussy._optimizing.applying import Application
from unfussy._optimizing.candidate import Level
from unfussy._optimizing.registry import candidate_named
from unfussy._optimizing.target import find_target
from unfussy._optimizing.trials import share
from unfussy._progress import Progress
from unfussy.bench.workload import Workload

__all__ = [
    "BATCHED",
    "OPTIMIZED",
    "STANDARD",
    "Contestant",
    "LeftOut",
    "batched",
    "optimized",
    "standard",
    "wait_for",
]

STANDARD: Final = "standard"
BATCHED: Final = "batched"
OPTIMIZED: Final = "optimized"
_ROUNDING: Final = 1e-3  # a large batch may be summed in another order, layer by layer


@dataclass(frozen=True, slots=True)
class Contestant:
    """
    One way to do the work.

    Attributes:
        name: What it is called.
        run: Does all of it.
        joined: Makes of what *run* returns what the method returns.
        force: A context in which settings of the process are as it needs them.
        tolerance: How far its results may be from those of the plain loop.
        changes: What makes it another way, in words.
        report: What `optimize` has found out, if that was asked.
    """

    name: str
    run: Callable[[], Any]
    joined: Callable[[Any], Any] = lambda result: result
    force: Callable[[], AbstractContextManager[object]] = nullcontext
    tolerance: float = _ROUNDING
    changes: tuple[str, ...] = ()
    report: OptimizationReport | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """
    A way that is not measured.

    Attributes:
        name: What it is called.
        reason: Why.
    """

    name: str
    reason: str

    @classmethod
    def of(cls, name: str, error: Exception) -> LeftOut:
        """Return that it failed with *error*."""
        lines = str(error).strip().splitlines() or [""]
        return cls(name, f"it failed with {type(error).__name__}: {lines[0]}")


Way: TypeAlias = Contestant | LeftOut


def standard(work: Workload) -> Contestant:
    """Return the plain loop over items."""
    return Contestant(STANDARD, work.loop(), work.joined, tolerance=0.0)


def batched(work: Workload) -> Way:
    """Return the method called once, in float32."""
    try:
        method = work.batched()
    except Exception as error:  # noqa: BLE001 - told instead of raised
        return LeftOut.of(BATCHED, error)
    return Contestant(BATCHED, lambda: method(*work.args))


def optimized(
    work: Workload,
    k: int,
    *,
    level: Level,
    budget: float,
    progress: Progress = False,
) -> Way:
    """
    Return the method as `optimize` makes it faster, on a copy of the module.

    Args:
        work: The work.
        k: With how many items candidates are tried.
        level: As in `optimize`.
        budget: As in `optimize`.
        progress: As in `optimize`.
    """
    try:
        copy = work.on(share(work.module))
        report = optimize(
            copy.method, work.some(k), level=level, budget=budget, progress=progress
        )
        if not report.kept:
            return LeftOut(OPTIMIZED, _nothing(report))
        return _applied(copy, report, work.some(k))
    except Exception as error:  # noqa: BLE001 - told instead of raised
        return LeftOut.of(OPTIMIZED, error)


def _nothing(report: OptimizationReport) -> str:
    notes = f" ({'; '.join(report.notes)})" if report.notes else ""
    return f"optimize() at the level {report.level!r} found nothing to gain{notes}"


def _applied(
    work: Workload, report: OptimizationReport, example: tuple[Any, ...]
) -> Contestant:
    chosen = [candidate_named(x.name, x.parameters) for x in report.kept]
    own = [each for each in chosen if not each.process_wide]
    wide = [each for each in chosen if each.process_wide]
    target, args = find_target(work.method, example)
    fast = Application(target, args, own).apply()
    settings = Application(target, args, wide)

    @contextmanager
    def force() -> Iterator[None]:
        settings.apply()
        try:
            fast(*example)  # what has just changed takes a call to settle
            yield
        finally:
            settings.undo()

    proven = max(report.tolerance, report.deviation or 0.0)
    return Contestant(
        OPTIMIZED,
        lambda: fast(*work.args),
        force=force if wide else nullcontext,
        tolerance=max(_ROUNDING, 2 * proven),
        changes=tuple(each.label for each in report.kept),
        report=report,
    )


def wait_for(device: torch.device) -> Callable[[], object]:
    """Return what waits until a device has done what it was asked."""
    if device.type == "cpu":
        return int
    return lambda: torch.accelerator.synchronize(device)
