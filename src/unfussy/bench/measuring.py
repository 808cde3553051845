"""
The course of a benchmark: once through all variants to compare results, then rounds.

The first time through also makes ready what is made at a first call.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from unfussy._hardware import model_of
from unfussy._lease import EvalLease
from unfussy._optimizing.candidate import Level
from unfussy._optimizing.deviation import deviation_of
from unfussy._progress import Progress, ticker
from unfussy._tree import tree_map
from unfussy.bench.contestants import (
    BATCHED,
    OPTIMIZED,
    STANDARD,
    Contestant,
    LeftOut,
    Way,
    batched,
    optimized,
    standard,
    wait_for,
)
from unfussy.bench.memory import MemoryMethod, here, in_children
from unfussy.bench.results import improvements_of, variants_of
from unfussy.bench.rounds import Times, run_rounds
from unfussy.bench.schema import FORMAT
from unfussy.bench.workload import Workload

__all__ = ["Settings", "measure"]

_TRIES: Final = 40  # calls of the example that fit, about, in the tuner's time
_HIDDEN: Final = (
    "the model cannot be taken to another process, so memory was measured in this one, "
    "where what others have left free hides some of it"
)
_Found: TypeAlias = "dict[str, tuple[Contestant, float] | LeftOut]"


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How a benchmark is made.

    Attributes:
        level: As in `optimize`.
        rounds: How many; None for as many as fit.
        seconds: About how long it may take.
        memory: How memory is measured.
        progress: As in `batched`.
    """

    level: Level
    rounds: int | None
    seconds: float
    memory: MemoryMethod
    progress: Progress


def measure(
    work: Workload, settings: Settings, about: Mapping[str, str]
) -> dict[str, Any]:
    """
    Measure all variants, and return results of the form `SCHEMA`.

    Args:
        work: What they do.
        settings: How they are measured.
        about: What is known of the work.
    """
    start = perf_counter()
    with EvalLease(work.module), torch.no_grad():
        k, found = _prepared(work, settings)
        ways = [way[0] for way in found.values() if not isinstance(way, LeftOut)]
        left = settings.seconds - (perf_counter() - start)
        times = _timed(ways, work, settings, left)
        peaks, method = _peaks(ways, work, k, settings.memory)
    variants = _variants(found, times, peaks, work.n)
    return {
        "format": FORMAT,
        "benchmark": work.label,
        **about,
        "num_sequences": work.n,
        "level": settings.level,
        **_surroundings(work),
        "rounds": times.rounds,
        "seconds": perf_counter() - start,
        "memory_method": method,
        "variants": variants,
        "improvements": improvements_of(variants),
        "notes": _notes(settings, method),
    }


def _prepared(work: Workload, settings: Settings) -> tuple[int, _Found]:
    """Return with how many items was tuned, and the variants that do the same work."""
    first = standard(work)
    reference = _plain(first.joined(first.run()))
    found: _Found = {STANDARD: (first, 0.0)}
    start = perf_counter()
    together = _checked(batched(work), reference)
    taken = max(perf_counter() - start, 1e-9)
    budget = settings.seconds / 2
    k = max(1, min(work.n, int(work.n * budget / _TRIES / taken)))
    fast = optimized(
        work, k, level=settings.level, budget=budget, progress=settings.progress
    )
    found |= {BATCHED: together, OPTIMIZED: _checked(fast, reference)}
    return k, found


def _checked(way: Way, reference: Any) -> tuple[Contestant, float] | LeftOut:
    """Return how far the results of *way* are from *reference*, if they are equal."""
    if isinstance(way, LeftOut):
        return way
    try:
        with way.force():
            result = _plain(way.joined(way.run()))
    except Exception as error:  # noqa: BLE001 - told instead of raised
        return LeftOut.of(way.name, error)
    away = deviation_of(result, reference)
    if away.value <= way.tolerance:
        return way, away.value
    return LeftOut(
        way.name, f"its results are not those of the plain loop, deviation {away}"
    )


def _plain(tree: Any) -> Any:
    """Return *tree* with all arrays as tensors on the CPU."""
    return tree_map(_plain_leaf, tree)


def _plain_leaf(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
        return torch.from_numpy(np.ascontiguousarray(leaf))
    return leaf.detach().cpu() if isinstance(leaf, torch.Tensor) else leaf


def _timed(
    ways: Sequence[Contestant], work: Workload, settings: Settings, seconds: float
) -> Times:
    with ticker(settings.progress, total=settings.rounds, label="rounds") as tick:
        return run_rounds(
            ways,
            rounds=settings.rounds,
            seconds=seconds,
            wait=wait_for(work.device),
            tick=tick,
            clock=perf_counter,
        )


def _peaks(
    ways: Sequence[Contestant], work: Workload, k: int, method: MemoryMethod
) -> tuple[dict[str, int | None], MemoryMethod]:
    if method == "none":
        return {}, method
    if method == "child process":
        found = in_children(ways, work, k)
        if found is not None:
            return found, method
    return {way.name: here(way, work.device) for way in ways}, "PeakMeter"


def _notes(settings: Settings, method: MemoryMethod) -> list[str]:
    if method == settings.memory:
        return []
    return [_HIDDEN]


def _variants(
    found: _Found, times: Times, peaks: Mapping[str, int | None], n: int
) -> dict[str, Any]:
    measured = {k: v for k, v in found.items() if not isinstance(v, LeftOut)}
    return variants_of(
        times,
        n,
        deviations={name: away for name, (_, away) in measured.items()},
        peaks=peaks,
        reasons={k: v.reason for k, v in found.items() if isinstance(v, LeftOut)},
        changes={name: way.changes for name, (way, _) in measured.items()},
    )


def _surroundings(work: Workload) -> dict[str, Any]:
    from unfussy import __version__  # noqa: PLC0415 - a circle

    device = work.device
    return {
        "device": {"name": str(device), "model": model_of(device)},
        "threads": torch.get_num_threads(),
        "versions": {
            "unfussy": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
