"""
What it is worth that the allocator keeps memory, for a network like ResNet-50.

Every figure is the CPU time of one call in one thread, in a process of its own, as the
setting is one of the process. Processes with and without it take turns; ratios are of
neighbours, and the table shows medians. Faults and the greatest size are those of the
process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import nn

from tests.benchmarks.harness import surroundings
from unfussy._cpu import minor_faults, tune_cpu

BATCHES = (1, 8, 16)
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and blocks, as in ResNet-50


@dataclass(frozen=True)
class Figures:
    """Of one process: milliseconds and page faults of a call, and MiB at most."""

    ms: float
    faults: float
    mib: float


class Block(nn.Module):
    """A bottleneck with its shortcut."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(n_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            *(nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)),
        )
        self.shortcut = nn.Identity()
        if n_in != 4 * width:
            self.shortcut = nn.Conv2d(n_in, 4 * width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def network() -> nn.Module:
    """Return a stack of the depth and width of ResNet-50, without its head."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    n_in = 64
    for width, n_blocks in STAGES:
        for i in range(n_blocks):
            layers.append(Block(n_in, width, 2 if i == 0 and width > 64 else 1))
            n_in = 4 * width
    return nn.Sequential(*layers).eval()


def measure(batch: int, calls: int, *, tuned: bool) -> Figures:
    """Return the figures of this process."""
    tune_cpu(allocator=tuned, threads=1)
    net, x = network(), torch.rand(batch, 3, 224, 224)
    times, faults = [], []
    with torch.inference_mode():
        for _ in range(calls + 1):
            start, before = time.process_time(), minor_faults() or 0
            net(x)
            times.append(time.process_time() - start)
            faults.append((minor_faults() or 0) - before)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(1e3 * median(times[1:]), median(faults[1:]), most)


def measured_in_child(batch: int, calls: int, *, tuned: bool) -> Figures:
    """Return the figures of a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_cpu", "--child"]
    command += [str(batch), "--calls", str(calls)] + ["--tuned"] * tuned
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - ourselves
    return Figures(**json.loads(output))


def row(batch: int, pairs: list[tuple[Figures, Figures]]) -> str:
    """Return a line of the table for pairs without the setting, and with it."""
    plain, tuned = zip(*pairs)
    ratios = sorted(t.ms / p.ms for p, t in pairs)
    cells = [str(batch)]
    cells += [f"{median(f.ms for f in each):,.0f}" for each in (plain, tuned)]
    cells += [f"{median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
    cells += [f"{median(f.faults for f in each):,.0f}" for each in (plain, tuned)]
    cells += [f"{median(f.mib for f in each):,.0f}" for each in (plain, tuned)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tuned", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        figures = measure(asked.child, asked.calls, tuned=asked.tuned)
        print(json.dumps(asdict(figures)))
        return
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print("\n| batch | ms | ms, kept | ratio | range | faults | kept | MiB | kept |")
    print("| ---: " * 9 + "|")
    for batch in BATCHES:
        pairs = []
        for turn in range(asked.rounds):
            order = (False, True) if turn % 2 else (True, False)
            found = {
                tuned: measured_in_child(batch, asked.calls, tuned=tuned)
                for tuned in order
            }
            pairs.append((found[False], found[True]))
        print(row(batch, pairs), flush=True)


if __name__ == "__main__":
    main()
