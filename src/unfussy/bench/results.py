"""The results of a benchmark: a dictionary for programs, a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from unfussy._quantities import duration, number, size
from unfussy.bench.contestants import BATCHED, OPTIMIZED, STANDARD
from unfussy.bench.rounds import Times

__all__ = ["HEADERS", "head_of", "rows_of", "save_results", "table_of", "variants_of"]

ORDER: Final = (STANDARD, BATCHED, OPTIMIZED)
HEADERS: Final = (
    "variant",
    "time",
    "speed-up",
    "99 %",
    "throughput",
    "peak memory",
    "memory saved",
    "deviation",
)
_NOTHING: Final = dict.fromkeys(
    (
        "left_out",
        "seconds",
        "seconds_per_item",
        "items_per_second",
        "speedup",
        "throughput_increase_percent",
        "peak_memory",
        "memory_reduction_percent",
        "deviation",
    )
)


def variants_of(
    times: Times,
    n: int,
    *,
    deviations: Mapping[str, float],
    peaks: Mapping[str, int | None],
    reasons: Mapping[str, str],
    changes: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    """
    Return what came of each variant.

    Args:
        times: How long they took.
        n: How many items there were.
        deviations: How far results are from those of the plain loop.
        peaks: The most memory of each, where it was measured.
        reasons: Why some were left out.
        changes: What was done to the optimised one.
    """
    found: dict[str, Any] = {}
    for name in ORDER:
        if name in reasons:
            found[name] = {**_NOTHING, "left_out": reasons[name], "changes": []}
            continue
        peak = peaks.get(name)
        found[name] = {
            "left_out": None,
            **_speed_of(times, name, n),
            "peak_memory": peak,
            "memory_reduction_percent": _reduction(peaks.get(STANDARD), peak),
            "deviation": deviations[name],
            "changes": list(changes.get(name, ())),
        }
    return found


def _speed_of(times: Times, name: str, n: int) -> dict[str, Any]:
    seconds, speedup = times.seconds(name), times.speedup(name, STANDARD)
    return {
        "seconds": _record(seconds),
        "seconds_per_item": seconds.value / n,
        "items_per_second": n / seconds.value,
        "speedup": _record(speedup),
        "throughput_increase_percent": 100 * (speedup.value - 1),
    }


def _record(estimate: Any) -> dict[str, float]:
    return {key: float(getattr(estimate, key)) for key in ("value", "low", "high")}


def _reduction(before: int | None, after: int | None) -> float | None:
    return 100 * (1 - after / before) if before and after is not None else None


def improvements_of(variants: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the last variant that was measured is better by."""
    name = [each for each in ORDER if variants[each]["left_out"] is None][-1]
    best = variants[name]
    return {
        "variant": name,
        "speedup_factor": best["speedup"]["value"],
        "throughput_increase_percent": best["throughput_increase_percent"],
        "memory_reduction_percent": best["memory_reduction_percent"],
        "numerical_consistency": best["deviation"],
    }


# --- for people ----------------------------------------------------------------------


def head_of(results: Mapping[str, Any]) -> list[str]:
    """Return what was measured where, in two lines."""
    device, versions = results["device"], results["versions"]
    threads = (
        f", {_count(results['threads'], 'thread')}" if device["name"] == "cpu" else ""
    )
    where = f"{device['name']} ({device['model']}){threads}"
    count = f"{number(results['num_sequences'])} {results['items']}"
    rounds = f"{_count(results['rounds'], 'round')} in turn"
    return [
        f"{results['benchmark']} on {where}, torch {versions['torch']}",
        f"{count}, {rounds}, {results['weights']}, level {results['level']}",
    ]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def rows_of(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table, for the variants that were measured."""
    found = results["variants"]
    return [
        (name, *_cells(found[name])) for name in ORDER if not found[name]["left_out"]
    ]


def _cells(variant: Mapping[str, Any]) -> Iterable[str]:
    speedup = variant["speedup"]
    yield duration(variant["seconds"]["value"])
    yield f"{speedup['value']:.2f}"
    yield f"{speedup['low']:.2f} to {speedup['high']:.2f}"
    yield _signed(variant["throughput_increase_percent"])
    peak = variant["peak_memory"]
    yield "" if peak is None else size(peak)
    yield _signed(variant["memory_reduction_percent"])
    yield f"{variant['deviation']:.1e}" if variant["deviation"] else "0"


def _signed(percent: float | None) -> str:
    return "" if percent is None else f"{percent:+.1f} %"


def notes_of(results: Mapping[str, Any]) -> list[str]:
    """Return what else there is to say: what was changed, what was left out."""
    found = results["variants"]
    left = [
        f"{name} is left out: {found[name]['left_out']}"
        for name in ORDER
        if found[name]["left_out"]
    ]
    kept = ", ".join(found[OPTIMIZED]["changes"])
    return [*([f"optimized with {kept}"] if kept else []), *left, *results["notes"]]


def table_of(results: Mapping[str, Any], /) -> str:
    """Return results as a table, as ``unfussy bench`` prints it."""
    rows = [HEADERS, *rows_of(results)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)) for row in rows]
    parts = [*head_of(results), "", *lines, "", *notes_of(results)]
    return "\n".join(line.rstrip() for line in parts).rstrip()


def save_results(results: Mapping[str, Any], folder: str | PathLike[str], /) -> Path:
    """
    Write results as ``NAME.json`` and ``NAME.html``, and return the page's path.

    Args:
        results: What `run_comprehensive_benchmark` returned.
        folder: Where to; it is made if it is not there. Pictures on the page need the
            extra ``plots``.
    """
    from unfussy.bench.page import page_of  # noqa: PLC0415 - when needed

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    stem = _file_name(results["benchmark"], results["device"]["name"])
    text = json.dumps(results, indent=2, allow_nan=False)
    (path / f"{stem}.json").write_text(text + "\n", encoding="utf-8")
    page_of(results).write(path / f"{stem}.html")
    return path / f"{stem}.html"


def _file_name(benchmark: str, device: str) -> str:
    whole = f"{benchmark.rstrip('()')}-{device}"
    return "".join(c if c.isalnum() or c == "_" else "-" for c in whole)
