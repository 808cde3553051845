"""One run of the tuner, from what was given to the report that can be applied."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import torch

from unfussy._optimizing.applying import Application
from unfussy._optimizing.candidate import Level
from unfussy._optimizing.registry import Kind, chosen
from unfussy._optimizing.report import OptimizationReport
from unfussy._optimizing.saved import fingerprint_of
from unfussy._optimizing.search import Search
from unfussy._optimizing.seeds import kept_generators
from unfussy._optimizing.target import Target, find_target
from unfussy._optimizing.workshop import Untriable, Workshop
from unfussy._progress import Progress, ticker

__all__ = ["tune"]


def tune(
    model_or_method: Any,
    example: Any,
    kinds: tuple[Kind, ...] | None,
    *,
    level: Level,
    budget: float,
    tolerance: float,
    progress: Progress,
) -> OptimizationReport:
    """Do what `optimize` promises; all candidates that are known are tried for None."""
    start = perf_counter()
    target, args = find_target(model_or_method, example)
    report = _empty_report(target, level, budget, tolerance)
    with torch.no_grad(), kept_generators():
        try:
            shop = Workshop(target, args)
        except Untriable as reason:
            took, notes = perf_counter() - start, (f"nothing was tried: {reason}",)
            return replace(report, seconds=took, notes=notes)
        search = Search(shop, report, start, restricts=kinds is None)
        kinds = chosen(None) if kinds is None else kinds
        with ticker(progress, total=len(kinds), label="optimize") as tick:
            found = search.run(kinds, tick)
    kept = [row.candidate for row in search.rows if row.result.verdict == "kept"]
    took = perf_counter() - start
    return replace(found, seconds=took, _application=Application(target, args, kept))


def _empty_report(
    target: Target, level: Level, budget: float, tolerance: float
) -> OptimizationReport:
    fingerprint, device = fingerprint_of(target)
    return OptimizationReport(
        target=target.label,
        device=device,
        fingerprint=fingerprint,
        threads=torch.get_num_threads(),
        level=level,
        tolerance=tolerance,
        budget=budget,
        seconds=0.0,
        _application=Application(target, (), ()),
    )
