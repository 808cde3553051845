"""The process in which the memory of one way of doing the work is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from unfussy._batching.memory import held_memory
from unfussy._lease import EvalLease
from unfussy._optimizing import load_choice
from unfussy.bench.contestants import (
    OPTIMIZED,
    STANDARD,
    Contestant,
    batched,
    standard,
)
from unfussy.bench.memory import peak_above, trim
from unfussy.bench.workload import Workload

__all__ = ["measure"]


def measure(name: str, folder: Path, device: str) -> int | None:
    """
    Return how far memory rises, from before the model is loaded, while it works.

    Args:
        name: Which contestant works.
        folder: Where the work is, and what `optimize` chose.
        device: Where the memory is.
    """
    place = torch.device(device)
    if place.type != "cpu":
        torch.empty(1, device=place)
    trim()
    base = held_memory(place)
    # Written a moment ago by the process that started this one.
    work, k = torch.load(folder / "work.pt", weights_only=False)
    with EvalLease(work.module), torch.no_grad():
        contestant = _contestant(name, work, folder, k)
        # What is made at a first call is there afterwards, for new shapes too.
        ready = contestant if name == OPTIMIZED else _contestant(name, work.first(k))
        ready.run()
        return peak_above(contestant, place, base)


def _contestant(
    name: str, work: Workload, folder: Path | None = None, k: int = 1
) -> Contestant:
    if name == STANDARD:
        return standard(work)
    if name == OPTIMIZED and folder is not None:
        path = folder / "choice.json"
        fast: Any = load_choice(path, work.method, work.some(k)).apply()
        return Contestant(name, lambda: fast(*work.args))
    found = batched(work)
    assert isinstance(found, Contestant)  # noqa: S101 - it was measured before
    return found


if __name__ == "__main__":
    _, wanted, where, on, threads = sys.argv
    torch.set_num_threads(int(threads))
    print(json.dumps(measure(wanted, Path(where), on)))  # noqa: T201 - the answer
