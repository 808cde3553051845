"""
What calls cost, as ratios that a busy machine does not decide.

Cases take turns in short bursts, in another order every round, and each has its base
beside it, so that what slows the machine down slows both. The figure is the median of
the ratios of such neighbours, with a 95 % interval that assumes no distribution;
times are 10th percentiles over the rounds. What a call of nothing costs is taken off,
garbage is not collected meanwhile, and PyTorch has one thread.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import repeat
from math import ceil, floor, sqrt
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, TypeAlias

import numpy as np
import torch

__all__ = ["Case", "Missing", "Result", "compare", "main", "surroundings", "table"]

_Times: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_BURST_NS = 600_000  # shorter than the slice of time that a scheduler gives
_WARM_CALLS = 3  # the case before has emptied the caches


@dataclass(frozen=True)
class Case:
    """
    Something to measure.

    Attributes:
        name: What is called, unique in its benchmark.
        run: One call.
        base: The name of the case to compare with; None for a base.
        target: The greatest ratio wanted, or difference.
        differs: Compare by the difference in nanoseconds and not by the ratio.
        within: Makes a context that is entered outside the clock.
    """

    name: str
    run: Callable[[], object]
    base: str | None = None
    target: float | None = None
    differs: bool = False
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Missing:
    """A case that cannot be measured here, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Result:
    """
    What was measured of one case.

    Attributes:
        name: The case's.
        base: Its base's name.
        ns: The 10th percentile of a call's time.
        value: The ratio to the base, or the difference in nanoseconds.
        low: The lower end of its 95 % interval.
        high: The upper end.
        target: The greatest value wanted, or None.
        differs: Whether the values are differences.
    """

    name: str
    base: str | None
    ns: float
    value: float
    low: float
    high: float
    target: float | None
    differs: bool

    @property
    def verdict(self) -> str:
        """``"met"`` or ``"missed"``; empty without a target."""
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else "missed"


def main(title: str, cases: Sequence[Case | Missing]) -> None:
    """Measure *cases* as the command line asks, and print a table for each base."""
    asked = _parser(title).parse_args()
    about = {"title": title, **surroundings()}
    about |= {"rounds": asked.rounds, "processes": asked.processes}
    missing = [case for case in cases if isinstance(case, Missing)]
    chosen = _chosen([c for c in cases if isinstance(c, Case)], asked.only)
    if asked.processes > 1:
        results = _compare_in_processes(asked)
    else:
        results = compare(chosen, asked.rounds)
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    for base in [result for result in results if result.base is None]:
        print(f"\nagainst: {base.name} ({base.ns:,.0f} ns)\n")
        print(table([result for result in results if result.base == base.name]))
    for case in missing:
        print(f"\nmissing: {case.name}: {case.why}")
    if asked.json is not None:
        about["results"] = [asdict(result) for result in results]
        about["missing"] = [asdict(case) for case in missing]
        asked.json.write_text(json.dumps(about, indent=1) + "\n")


def _parser(title: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=150, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=1, help="take their median")
    parser.add_argument("--only", default="", help="rows in whose name this stands")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


def _chosen(cases: Sequence[Case], part: str) -> list[Case]:
    rows = [case for case in cases if case.base is not None and part in case.name]
    bases = {case.base for case in rows}
    return [case for case in cases if case in rows or case.name in bases]


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on besides the code."""
    device = torch.accelerator.current_accelerator()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "accelerator": "none" if device is None else str(device),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor()).strip()


# --- measuring ---------------------------------------------------------------------


def compare(cases: Sequence[Case], rounds: int) -> list[Result]:
    """Measure *cases*, each side by side with its base, and compare the two."""
    known = {case.name: case for case in cases}
    rows = [case for case in cases if case.base is not None]
    times, nothing = _measure([(row, known[row.base]) for row in rows], rounds)
    times -= nothing
    own = {row.name: times[:, i, 0] for i, row in enumerate(rows)}
    of_base = {row.name: times[:, i, 1] for i, row in enumerate(rows)}
    for base in [case for case in cases if case.base is None]:
        bursts = [of_base[row.name] for row in rows if row.base == base.name]
        own[base.name] = of_base[base.name] = np.concatenate(bursts)
    return [_result(case, own[case.name], of_base[case.name]) for case in cases]


def _measure(pairs: Sequence[tuple[Case, Case]], rounds: int) -> tuple[_Times, float]:
    """Return nanoseconds, shaped (rounds, pairs, 2), and what calling nothing costs."""
    nothing = Case("nothing", lambda: None)
    times, empty = np.empty((rounds, len(pairs), 2)), np.empty(rounds)
    random = np.random.default_rng()
    with _calm():
        every = {case.name: case for pair in pairs for case in pair}
        calls = {name: _calls_in_burst(case) for name, case in every.items()}
        for turn in range(rounds):
            empty[turn] = _burst(nothing, 1000)
            for i in random.permutation(len(pairs)):
                for side in random.permutation(2):
                    case = pairs[i][side]
                    times[turn, i, side] = _burst(case, calls[case.name])
    return times, float(np.percentile(empty, 10))


@contextmanager
def _calm() -> Iterator[None]:
    threads, collects = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if collects:
            gc.enable()


def _calls_in_burst(case: Case) -> int:
    calls = 1
    while (spent := calls * _burst(case, calls)) < _BURST_NS / 4:
        calls *= 2
    return max(1, round(calls * _BURST_NS / spent))


def _burst(case: Case, calls: int) -> float:
    run = case.run
    with case.within():
        for _ in repeat(None, _WARM_CALLS):
            run()
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            run()
        return (perf_counter_ns() - start) / calls


def _result(case: Case, times: _Times, base: _Times) -> Result:
    values = np.sort(times - base if case.differs else times / base)
    middle, reach = len(values) / 2, 0.98 * sqrt(len(values))
    return Result(
        case.name,
        case.base,
        ns=float(np.percentile(times, 10)),
        value=float(np.median(values)),
        low=float(values[max(0, floor(middle - reach))]),
        high=float(values[min(len(values), ceil(middle + reach)) - 1]),
        target=case.target,
        differs=case.differs,
    )


def _compare_in_processes(asked: argparse.Namespace) -> list[Result]:
    """
    Return the medians of several processes, and the widest of their intervals.

    Where things happen to lie in memory makes one process differ from the next, by
    about 2 %.
    """
    command = [sys.executable, "-m", sys.modules["__main__"].__spec__.name]
    command += ["--rounds", str(asked.rounds), "--only", asked.only, "--json"]
    runs = []
    with TemporaryDirectory() as folder:
        file = Path(folder, "results.json")
        for _ in range(asked.processes):
            subprocess.run([*command, file], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
            runs.append(json.loads(file.read_text())["results"])
    return [_middle([Result(**fields) for fields in same]) for same in zip(*runs)]


def _middle(results: Sequence[Result]) -> Result:
    return replace(
        results[0],
        ns=median(result.ns for result in results),
        value=median(result.value for result in results),
        low=min(result.low for result in results),
        high=max(result.high for result in results),
    )


# --- printing ----------------------------------------------------------------------


def table(results: Sequence[Result]) -> str:
    """Return *results* as a table in Markdown."""
    rows = [["what", "ns", "ratio", "95 %", "target", ""]]
    rows += [_cells(result) for result in results]
    widths = [max(3, *map(len, column)) for column in zip(*rows)]
    first, *middle, last = ["-" * width for width in widths]
    rows.insert(1, [first, *(f"{rule[1:]}:" for rule in middle), last])
    return "\n".join(_line(row, widths) for row in rows)


def _cells(result: Result) -> list[str]:
    form = "{:+.0f} ns".format if result.differs else "{:.2f}".format
    interval = f"{form(result.low)} to {form(result.high)}"
    target = "" if result.target is None else form(result.target)
    figures = [f"{result.ns:,.0f}", form(result.value), interval, target]
    return [result.name, *figures, result.verdict]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths)]
    padded[0], padded[-1] = cells[0].ljust(widths[0]), cells[-1].ljust(widths[-1])
    return f"| {' | '.join(padded)} |"
