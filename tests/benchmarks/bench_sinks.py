"""
What it costs to write results so that a kill loses nothing.

Commits of several sizes, beside the two waits for the disk that they consist of; a
whole file against NumPy's own memory map, with and without such waits; and writers that
are killed at random, of which every result has to come out byte for byte. Times are the
median and the 90th percentile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from numpy.lib.format import open_memmap

from tests.benchmarks.harness import surroundings
from unfussy._batching.sinks import open_sink

MEBIBYTE = 1 << 20
COMMITS = {0.5: None, 2: 2.0, 15: None}  # MiB, and at most how many ms
WHOLE, BLOCK = 256, 2  # MiB


def rows(mebibytes: float) -> np.ndarray:
    count = int(mebibytes * MEBIBYTE / 4096)
    return np.random.default_rng(0).random((count, 512))


def time_commits(folder: Path, mebibytes: float, rounds: int) -> None:
    """Take turns between a commit and the two waits that it consists of."""
    block, total = rows(mebibytes), (rounds + 2) * int(mebibytes * 256)
    spent: dict[str, list[float]] = {"write": [], "commit": [], "two waits alone": []}
    frozen = partial(open_sink, job="b", resume=False, clock=lambda: 0.0)
    with (
        frozen(folder / "x.npy", rows=total) as sink,
        (folder / "rows").open("wb", 0) as large,
        (folder / "records").open("wb", 0) as small,
    ):
        for turn in range(rounds + 2):
            spent["write"].append(timed(sink.write, block, (turn + 1) * len(block)))
            spent["commit"].append(timed(sink.flush))
            large.write(block.data)
            spent["two waits alone"].append(timed(wait_twice, large, small))
    for what, times in spent.items():
        goal = COMMITS[mebibytes] if what == "commit" else None
        report(f"{mebibytes} MiB: {what}", times[2:], goal)


def wait_twice(large: FileIO, small: FileIO) -> None:
    os.fsync(large.fileno())
    small.write(bytes(32))
    os.fsync(small.fileno())


def timed(run: Callable[..., object], *arguments: object) -> float:
    start = perf_counter()
    run(*arguments)
    return perf_counter() - start


def report(what: str, seconds: list[float], target: float | None = None) -> None:
    values = sorted(1e3 * x for x in seconds)
    line = f"{what:44} {median(values):8.2f} ms  {values[int(0.9 * len(values))]:8.2f}"
    print(line + ("" if target is None else f"  target {target}"))


def through_sink(path: Path, blocks: list[np.ndarray], durable: bool) -> None:  # noqa: FBT001
    total = sum(map(len, blocks))
    with open_sink(path, job="b", rows=total, resume=False, durable=durable) as sink:
        for block in blocks:
            sink.write(block, sink.position + len(block))
        sink.finish()


def through_memmap(path: Path, blocks: list[np.ndarray]) -> None:
    shape = (sum(map(len, blocks)), *blocks[0].shape[1:])
    mapped = open_memmap(path, mode="w+", dtype=blocks[0].dtype, shape=shape)
    start = 0
    for block in blocks:
        mapped[start : start + len(block)] = block
        start += len(block)
    mapped.flush()


def time_whole(what: str, run: Callable[[], object], turns: int = 5) -> None:
    wall, cpu = [], []
    for _ in range(turns):
        start, start_cpu = perf_counter(), process_time()
        run()
        wall.append(perf_counter() - start)
        cpu.append(process_time() - start_cpu)
    report(f"{WHOLE} MiB: {what}, wall", wall)
    report(f"{WHOLE} MiB: {what}, CPU", cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--kills", type=int, default=100)
    asked = parser.parse_args()
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    with TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for mebibytes in COMMITS:
            time_commits(folder, mebibytes, asked.rounds)
        blocks = [rows(BLOCK)] * (WHOLE // BLOCK)
        time_whole("memory map", lambda: through_memmap(folder / "m.npy", blocks))
        for durable in (True, False):
            time_whole(
                f"sink, durable={durable}",
                lambda durable=durable: through_sink(folder / "s.npy", blocks, durable),
            )
    kill = [sys.executable, "-m", "tests.killing", "--kills", str(asked.kills)]
    out = subprocess.run(kill, check=True, capture_output=True, text=True).stdout  # noqa: S603
    print("writers killed, results, of them byte for byte:", out.strip())


if __name__ == "__main__":
    main()
