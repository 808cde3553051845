"""
The most memory that each way of doing the work takes.

Measured in a process of its own where the work can be pickled: how far its memory
rises above what it was before the model was there. Else in this process: how far it
rises above what is in use, the model included.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias

import torch

from unfussy._batching.memory import PeakMeter, held_memory
from unfussy.bench.contestants import Contestant, wait_for
from unfussy.bench.workload import Workload

__all__ = ["MemoryMethod", "here", "in_children", "peak_above", "trim"]

MemoryMethod: TypeAlias = Literal["child process", "PeakMeter", "none"]
_LIMIT: Final = 1800.0  # seconds; a child that hangs must not hang its parent


def here(contestant: Contestant, device: torch.device) -> int | None:
    """Return by how many bytes this process rises while *contestant* works."""
    wait = wait_for(device)
    with contestant.force():
        trim()
        with PeakMeter(device) as meter:
            result = contestant.run()
            wait()
        del result
    return meter.peak


def peak_above(
    contestant: Contestant, device: torch.device, base: int | None
) -> int | None:
    """Return how far memory rises above *base* while *contestant* works."""
    trim()
    before, peak = held_memory(device), here(contestant, device)
    if base is None or before is None or peak is None:
        return None
    return before - base + peak


def trim() -> None:
    """Give free memory back, so that work that takes it again is seen to."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def in_children(
    contestants: Sequence[Contestant], work: Workload, k: int
) -> dict[str, int | None] | None:
    """
    Return the peak of each contestant, each in a process of its own.

    Args:
        contestants: The ways to measure.
        work: The work.
        k: With how many items `optimize` has tried candidates.

    Returns:
        Bytes by name; None if the work cannot be taken to another process.
    """
    with TemporaryDirectory(prefix="unfussy-bench-") as folder:
        try:
            torch.save((work, k), Path(folder, "work.pt"))
            return {
                each.name: _in_child(each, Path(folder), str(work.device))
                for each in contestants
            }
        except Exception:  # noqa: BLE001 - what cannot be pickled fails in many ways
            return None


def _in_child(contestant: Contestant, folder: Path, device: str) -> int | None:
    choice = folder / "choice.json"
    if contestant.report is not None:
        contestant.report.save_choice(choice)
    paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - the same
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "unfussy.bench.child", contestant.name]
    threads = str(torch.get_num_threads())
    done = subprocess.run(  # noqa: S603 - our own program
        [*command, str(folder), device, threads],
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    peak: int | None = json.loads(done.stdout.splitlines()[-1])
    return peak
