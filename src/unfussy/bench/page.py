"""The page of a benchmark: the answer first, then pictures, then how it was done."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from unfussy._pages import Page
from unfussy._plots import bars
from unfussy._quantities import duration
from unfussy.bench.results import HEADERS, head_of, notes_of, rows_of

__all__ = ["page_of"]

_METHOD: Final = (
    "The plain loop takes one item at a time in float32, in eval mode and without "
    "gradients. All variants take turns in random order; a speed-up is the median of "
    "the ratios within rounds, with an interval of 99 %. The deviation is the worst "
    "relative error of any tensor, as an L2 norm, against the plain loop."
)
_MEMORY: Final = {
    "child process": "Peak memory is that of a process of its own, above what it was "
    "before the model was loaded.",
    "PeakMeter": "Peak memory is what this process took beyond what was in use, the "
    "model included.",
    "none": "Memory was not measured.",
}


def page_of(results: Mapping[str, Any], /) -> Page:
    """Return *results* as a page."""
    page = Page(f"Benchmark: {results['benchmark']}")
    page.text(_summary(results)).facts(_facts(results))
    page.table(HEADERS, rows_of(results), "Each variant did all of the work.")
    page.picture(partial(_speeds, results), "Above 1 is faster than the plain loop.")
    if all(v is not None for _, v in _peaks(results)):
        page.picture(partial(_memory, results), _MEMORY[results["memory_method"]])
    for note in notes_of(results):
        page.text(note[:1].upper() + note[1:] + ".")
    return page.heading("How it was measured").text(_how(results))


def _summary(results: Mapping[str, Any]) -> str:
    best = results["improvements"]
    if best["variant"] == "standard":
        return "No other variant than the plain loop could be measured."
    standard = results["variants"]["standard"]["seconds"]["value"]
    now = results["variants"][best["variant"]]["seconds"]["value"]
    return (
        f"{best['variant'].capitalize()}, {results['num_sequences']} "
        f"{results['items']} take {duration(now)} instead of {duration(standard)}."
    )


def _facts(results: Mapping[str, Any]) -> dict[str, str]:
    best = results["improvements"]
    facts = {
        "times as fast": f"{best['speedup_factor']:.2f}",
        "throughput": f"{best['throughput_increase_percent']:+.0f} %",
    }
    if best["memory_reduction_percent"] is not None:
        facts["memory saved"] = f"{best['memory_reduction_percent']:+.0f} %"
    return {**facts, "worst deviation": f"{best['numerical_consistency']:.0e}"}


def _how(results: Mapping[str, Any]) -> str:
    where = [f"{line}." for line in head_of(results)]
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    return "\n\n".join([*where, _METHOD, _MEMORY[results["memory_method"]], versions])


def _speeds(results: Mapping[str, Any]) -> str:
    found = {k: v["speedup"] for k, v in _measured(results)}
    return bars(
        list(found),
        [each["value"] for each in found.values()],
        intervals=[(each["low"], each["high"]) for each in found.values()],
        title="Times as fast as the plain loop",
        xlabel="times as fast",
    )


def _memory(results: Mapping[str, Any]) -> str:
    found = dict(_peaks(results))
    return bars(
        list(found),
        [peak / 1e6 for peak in found.values()],
        title="Peak memory",
        xlabel="MB",
    )


def _peaks(results: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(k, v["peak_memory"]) for k, v in _measured(results)]


def _measured(results: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: Mapping[str, Any] = results["variants"]
    return [(k, v) for k, v in found.items() if v["left_out"] is None]
