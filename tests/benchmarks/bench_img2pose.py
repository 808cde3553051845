"""
What a picture costs in a batch of the detector, on a CPU, against one by one.

The base is one picture a call. Every figure is the CPU time of a picture in one thread,
or with ``--threads`` above one the time on the clock, at ``min_size=320``. Cases take
turns, and each has the base right beside it, so that what slows the machine down slows
both; the table shows medians of such ratios, and their range. Memory is that of a
process of its own, above what it has before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from tests.benchmarks.harness import surroundings
from unfussy.models.img2pose import Img2Pose
from unfussy.models.img2pose.postprocessing import postprocess
from unfussy.models.img2pose.raw import RawDetections

MIXED = ((240, 320), (320, 240), (200, 200), (240, 330), (180, 320), (238, 321))
FACES = 1000


def photos(n: int, sizes: Sequence[tuple[int, int]]) -> list[Any]:
    """Return *n* pictures of squares, of *sizes* in turn."""
    generator = np.random.default_rng(0)
    squares = generator.integers(0, 256, (n, 34, 34, 3), dtype=np.uint8)
    large = squares.repeat(10, 1).repeat(10, 2)
    return [
        picture[: sizes[i % len(sizes)][0], : sizes[i % len(sizes)][1]]
        for i, picture in enumerate(large)
    ]


def make_detector() -> Img2Pose:
    return Img2Pose.from_config(min_size=320, max_size=700, n_proposals=300)


def cases(detector: Img2Pose) -> dict[str, tuple[list[Any], Callable[[Any], Any]]]:
    """Return pictures and what detects them, for each case."""
    found: dict[str, tuple[list[Any], Callable[[Any], Any]]] = {}
    for n in (4, 8):
        for name, sizes in (("one size", MIXED[:1]), ("mixed sizes", MIXED)):
            found[f"{n} in a batch, {name}"] = photos(n, sizes), detector.detect_faces
    shared = Img2Pose(
        network=detector.network, padding="shared", min_size=320, max_size=700
    )
    found["8 in a batch, one canvas for all"] = photos(8, MIXED), shared.detect_faces
    return found


def seconds(run: Callable[[], Any]) -> float:
    """Return the time of one call: of the CPU, or on the clock if threads share it."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def compare(rounds: int) -> None:
    """Print what a picture costs, against the same pictures one by one."""
    detector = make_detector()
    runs = cases(detector)
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):  # the first warms up
        for name, (pictures, detect) in runs.items():
            plain = seconds(lambda p=pictures: [*map(detector.detect_faces, p)])
            own = seconds(lambda p=pictures, d=detect: d(p))
            if turn:
                ratios[name].append(plain / own)
                times[name].append(own / len(pictures))
    print(
        "| what | ms a picture | times as fast | range |\n| --- | ---: | ---: | ---: |"
    )
    for name, each in ratios.items():
        spread = f"{min(each):.2f} to {max(each):.2f}"
        ms = f"{1e3 * median(times[name]):.0f}"
        print(f"| {name} | {ms} | {median(each):.2f} | {spread} |")


# --- memory ------------------------------------------------------------------------


def peak(n: int) -> int:
    """Return by how many bytes *n* pictures raise the peak of memory."""
    torch.set_num_threads(1)
    detector = Img2Pose.from_config()
    pictures = photos(n, [(340, 340)])
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
    before = _highest()
    detector.detect_faces(pictures)
    return _highest() - before


def _highest() -> int:
    # Not ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(found.split()[1])


def show_memory() -> None:
    """Print the peak of memory for squares of 640, and what a further picture adds."""
    if not Path("/proc/self/clear_refs").exists():
        print("\nno figures of memory: only Linux tells the peak of a while")
        return
    context = multiprocessing.get_context("spawn")
    counts = (1, 2, 4, 8)
    found = []
    for n in counts:
        with context.Pool(1) as pool:
            found.append(pool.apply(peak, (n,)))
    print("\n| pictures | MB above the model | MB a further picture |")
    print("| ---: | ---: | ---: |")
    for i, (n, taken) in enumerate(zip(counts, found)):
        step = (taken - found[i - 1]) / (n - counts[i - 1]) if i else 0
        print(f"| {n} | {taken / 1e6:.0f} | {f'{step / 1e6:.0f}' if i else ''} |")


def show_postprocessing(rounds: int) -> None:
    """Print what becomes of a picture's proposals after the network, all at once."""
    generator = torch.Generator().manual_seed(0)
    corners = 500 * torch.rand(FACES, 2, generator=generator)
    sides = 20 + 80 * torch.rand(FACES, 2, generator=generator)
    raw = RawDetections(
        torch.cat((corners, corners + sides), 1),
        torch.rand(FACES, generator=generator),
        torch.randn(FACES, 6, generator=generator),
    )
    facts = make_detector().facts
    taken = [
        seconds(
            lambda: postprocess(
                raw,
                (640, 853),
                (480, 640),
                pose_mean=facts.pose_mean,
                pose_stddev=facts.pose_stddev,
                reference_points=facts.reference_points,
                score_threshold=0,
            )
        )
        for _ in range(rounds + 1)
    ]
    print(f"\n{FACES} proposals to faces: {1e3 * median(taken[1:]):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()), "\n")
    compare(asked.rounds)
    show_postprocessing(5)
    show_memory()


if __name__ == "__main__":
    main()
