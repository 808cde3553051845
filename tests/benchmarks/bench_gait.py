"""
What embedding gait sequences costs on a CPU, against a plain loop.

The base is what people write: one sequence a call, float32, no gradients, the network
as it was trained. Cases take turns in one process and one thread; figures are ratios of
the best CPU times. Memory is measured in a process of its own:
how far its peak rises above what weights, and what was prepared of them, take.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.benchmarks.harness import surroundings
from tests.models.filling import filled
from unfussy._batching.memory import PeakMeter
from unfussy.models.gait import DeepGaitV2, GaitBase, SkeletonGaitPP, XGait
from unfussy.models.gait.fast import fast_form
from unfussy.models.gait.packed import runs_of

MODELS: dict[str, Callable[[], Any]] = {
    "GaitBase": GaitBase,
    "DeepGaitV2": DeepGaitV2,
    "DeepGaitV2 3d": lambda: DeepGaitV2("3d"),
    "DeepGaitV2 2d": lambda: DeepGaitV2("2d"),
    "SkeletonGaitPP": SkeletonGaitPP,
    "XGait": XGait,
}
TARGETS = {"GaitBase": (1.45, 2.2), "DeepGaitV2": (1.4, 2.2)}
LENGTHS = (20, 3, 9)


def model_called(name: str) -> Any:
    """Return a model whose weights are filled from their keys."""
    model = MODELS[name]()
    model.load_state_dict(filled(model.state_dict()))
    return model.eval()


def frames_for(model: Any, count: int) -> torch.Tensor:
    """Return blobs that move, as the network takes them."""
    t = torch.arange(count)[:, None, None, None]
    y, x = torch.arange(64)[:, None], torch.arange(44)
    far = ((y - 32) / 28) ** 2 + ((x - 22 - 6 * torch.sin(t / 4)) / 12) ** 2
    frames = (far < 1).float().repeat(1, model.in_channels, 1, 1)
    if isinstance(model, XGait):
        frames[:, :1] *= 1 + (y * 11 // 64)
    return frames


def by_hand(model: Any, frames: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """Return embeddings by a loop over sequences."""
    with torch.inference_mode():
        parts = frames.split(list(lengths))
        return torch.cat(
            [model.embed_frames(x, runs_of([len(x)], len(x))) for x in parts]
        )


def seconds(run: Callable[[], Any]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the greatest error of an embedding, relative to its length."""
    away = (found.double() - expected.double()).flatten(1).norm(dim=1)
    return (away / expected.double().flatten(1).norm(dim=1)).max().item()


def row(name: str, rounds: int) -> str:
    """Measure a model; return a line of the table of times."""
    model = model_called(name)
    frames = frames_for(model, sum(LENGTHS))
    fast, half = fast_form(model), fast_form(model, "bf16")
    runs = {
        "base": lambda: by_hand(model, frames, LENGTHS),
        "fast": lambda: fast.embed(frames, LENGTHS),
        "alone": lambda: [fast.embed(x, [len(x)]) for x in frames.split(list(LENGTHS))],
        "half": lambda: half.embed(frames, LENGTHS),
    }
    turns = [{k: seconds(run) for k, run in runs.items()} for _ in range(rounds + 1)]
    # The first turn warms up. Of the rest the best counts: what else the machine does
    # takes caches away, from some cases more than from others.
    best = {k: min(turn[k] for turn in turns[1:]) for k in runs}
    ratio = {k: best["base"] / best[k] for k in runs}
    batch = best["alone"] / best["fast"]
    expected = runs["base"]()
    ms = 1e3 * best["base"] / sum(LENGTHS)
    cells = [name, f"{ms:.1f}"]
    for k, target in zip(("fast", "half"), TARGETS.get(name, (None, None))):
        wanted = "" if target is None else f" (>= {target})"
        cells += [f"{ratio[k]:.2f}{wanted}", f"{error(runs[k](), expected):.0e}"]
    return "| " + " | ".join([*cells, f"{batch:.2f}"]) + " |"


def peak(name: str, kind: str, length: int) -> float:
    """Return by how many MB the peak of this process rises in one call."""
    model = model_called(name)
    frames = frames_for(model, length)
    if kind != "base":
        form = fast_form(model, "bf16" if kind == "half" else "fp32")
        form.embed(frames[:2], [2])
    if sys.platform == "linux":  # what is free but not given back would hide a rise
        ctypes.CDLL(None).malloc_trim(0)
    with PeakMeter(torch.device("cpu")) as meter:
        if kind == "base":
            by_hand(model, frames, (length,))
        else:
            form.embed(frames, [length])
    return (meter.peak or 0) / 2**20


def peaks(name: str) -> str:
    """Measure a model, each case in a process; return a line of the table of memory."""
    cells = [name]
    for kind in ("base", "fast", "half"):
        for length in (59, 240):
            command = [sys.executable, "-m", "tests.benchmarks.bench_gait"]
            command += ["--peak", name, kind, str(length)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
            cells.append(f"{float(done.stdout):.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="models in whose name this stands")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        print(peak(asked.peak[0], asked.peak[1], int(asked.peak[2])))
        return
    names = [name for name in MODELS if asked.only in name]
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print(f"\nSequences of {LENGTHS} frames; times as fast as the loop\n")
    print(
        "| model | loop, ms a frame | float32 | error | bf16 | error | batch / alone |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        print(row(name, asked.rounds), flush=True)
    if asked.no_memory:
        return
    print("\nMB above the weights, at 59 and 240 frames\n")
    print("| model | loop | | float32 | | bf16 | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        print(peaks(name), flush=True)


if __name__ == "__main__":
    main()
