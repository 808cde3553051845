"""
What a search costs, and what an epoch of graph sampling costs before it begins.

One thread. Times are of the processor and not of the clock, the least of several; the
memory is what the process has beside mapped files, at its peak. For the graph, random
features stand for faces of as many people as MS1MV2 has.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy reads it when imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from tests.benchmarks.harness import surroundings
from unfussy.models.adaface.gallery import Gallery
from unfussy.models.adaface.matching import QAConv
from unfussy.models.adaface.samplers import (
    GraphSampler,
    RandomIdentitySampler,
)

SIZE, QUERIES, BEST = 512, 64, 5
IMAGES_EACH = 4  # enough: how many there are changes nothing
MEBIBYTE = 1 << 20


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, SIZE), dtype=np.float32)


def timed(run: Callable[[], object], turns: int = 1) -> float:
    best = float("inf")
    for _ in range(turns):
        start = process_time()
        run()
        best = min(best, process_time() - start)
    return best


@contextmanager
def memory_beside_files():
    """Yield a list that gets the growth of the process's own memory, in MiB."""
    gc.collect()
    grown, over, before = [0.0], threading.Event(), own_memory()

    def watch() -> None:
        while not over.wait(0.005):
            grown[0] = max(grown[0], own_memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        over.set()
        watcher.join()


def own_memory() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = [x for x in status.splitlines() if x.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def report(what: str, value: float, unit: str, target: str = "") -> None:
    print(f"{what:58} {value:10.1f} {unit}  {target}", flush=True)


def search(n: int, folder: Path) -> None:
    features = rows(n)
    in_memory = Gallery(features)
    report(f"build of {n:,}", 1e3 * timed(lambda: Gallery(features)), "ms")
    mapped = Gallery.load(in_memory.save(folder))
    queries = features[:QUERIES] + rows(QUERIES)
    best = {}
    for name, gallery in {"in memory": in_memory, "mapped": mapped}.items():
        best[name] = timed(lambda gallery=gallery: gallery.search(queries, BEST), 7)
        limit = "target 500" if n <= 200_000 else ""
        report(f"{QUERIES} queries, {n:,}, {name}", 1e3 * best[name], "ms", limit)
    ratio = best["mapped"] / best["in memory"]
    report("mapped / in memory", ratio, "", "target 1.1")
    report("one query, mapped", 1e3 * timed(lambda: mapped.search(queries[0]), 7), "ms")
    with memory_beside_files() as grown:
        mapped.search(queries, BEST)
    report("memory of a search, mapped", grown[0], "MiB")
    matrix = QUERIES * n * 4 / MEBIBYTE
    report("(all scores at once would be)", matrix, "MiB")


def graph(n: int, *, alike: bool) -> None:
    """Build the graph of *n* people, and deal some batches."""
    faces = rows(n)
    if alike:  # what a network that has learnt nothing yet gives
        faces = 1 + 0.05 * faces
    labels = np.repeat(np.arange(n), IMAGES_EACH)
    sampler = GraphSampler(
        range(len(labels)),
        labels=labels,
        features=lambda images: faces[np.array(images) // IMAGES_EACH],
    )
    kind = "alike" if alike else "random"
    with memory_beside_files() as grown:
        batches = iter(sampler.batches)
        spent = timed(lambda: next(batches))
    report(f"graph of {n:,}, {kind}", spent, "s", "target 120" * (n == 85_742))
    report("memory beside the features given", grown[0], "MiB", "target 1024")
    report("of that, a copy of the features", faces.nbytes / MEBIBYTE, "MiB")
    dealt = 1000
    spent = timed(lambda: list(islice(batches, dealt)))
    report("dealing a batch of 64", 1e6 * spent / dealt, "us")


def others() -> None:
    labels = np.repeat(np.arange(85_742), IMAGES_EACH)
    made = []
    spent = timed(lambda: made.append(RandomIdentitySampler(labels, labels=labels)))
    report(f"random sampler of {len(labels):,} images, made", spent, "s")
    batches = iter(made[0].batches)
    report(
        "dealing a batch of 64",
        1e6 * timed(lambda: [*islice(batches, 500)]) / 500,
        "us",
    )
    matcher, maps = QAConv(SIZE, 7, 7).eval(), torch.randn(64, SIZE, 7, 7)
    with torch.inference_mode():
        rate = 64 * 64 / timed(lambda: matcher(maps, maps), 3)
    report("QAConv, 512 x 7 x 7", rate, "pairs/s")
    for n in (10_572, 85_742):
        report(f"so a graph of {n:,} by it", n * n / rate / 3600, "hours of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--people", type=int, nargs="*", default=[10_572, 85_742])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    with TemporaryDirectory() as folder:
        search(asked.rows, Path(folder))
    others()
    for n in asked.people:
        graph(n, alike=False)
    graph(min(asked.people), alike=True)


if __name__ == "__main__":
    main()
