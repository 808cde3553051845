"""
What it is worth on a CPU that autocast's weights are cast once.

Every figure is the CPU time of one call in one thread, in bfloat16. Calls that cast
their weights and calls that keep them take turns; ratios are of neighbours, and the
table shows medians. Both give the same bits, which is checked first. A network that
would lose is found out by its first call and left alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from tests.benchmarks.harness import surroundings
from unfussy import autocast_policy, configure, inference
from unfussy._low_copies import cast_once_memory

MODES = ("no_grad", "inference")


class Network(nn.Module):
    """A stack of layers with a planned method."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    @autocast_policy("bf16")
    @inference
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Block(nn.Module):
    """A block of the residual networks that recognise faces."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(n_in), nn.Conv2d(n_in, n_out, 3, 1, 1, bias=False)),
            *(nn.BatchNorm2d(n_out), nn.PReLU(n_out)),
            nn.Conv2d(n_out, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        if n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x) + self.shortcut(x)
        return result


def perceptron(width: int) -> Network:
    """Return eight layers."""
    layers = (layer for _ in range(8) for layer in (nn.Linear(width, width), nn.ReLU()))
    return Network(*layers).eval()


def residual(width: int) -> Network:
    """Return a network of the depth of ir_50; with a *width* of 64 it is as wide."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False)]
    n_in = width
    for factor, n_blocks in ((1, 3), (2, 4), (4, 14), (8, 3)):
        for i in range(n_blocks):
            layers.append(Block(n_in, factor * width, 1 + (i == 0)))
            n_in = factor * width
    return Network(*layers, nn.Flatten()).eval()


@dataclass(frozen=True)
class Subject:
    """A network, an input, and how many calls make one measurement."""

    name: str
    make: Callable[[], Network]
    shape: tuple[int, ...]
    calls: int


SUBJECTS = (
    Subject("8 x Linear(1024)", lambda: perceptron(1024), (1, 1024), 5),
    Subject("8 x Linear(1024)", lambda: perceptron(1024), (16, 1024), 5),
    Subject("8 x Linear(2048)", lambda: perceptron(2048), (1, 2048), 2),
    Subject("8 x Linear(64)", lambda: perceptron(64), (1, 64), 200),
    Subject("ir_50", lambda: residual(64), (1, 3, 112, 112), 1),
    Subject("ir_50", lambda: residual(64), (8, 3, 112, 112), 1),
    Subject("ir_50, an eighth as wide", lambda: residual(8), (1, 3, 32, 32), 10),
)


def row(subject: Subject, mode: str, rounds: int) -> str:
    """Return a line of the table."""
    torch.manual_seed(0)
    net, x = subject.make(), torch.rand(subject.shape)
    plain = configure(net.embed, mode=mode)
    once = configure(plain, weights="cast_once")
    assert all(torch.equal(plain(x), once(x)) for _ in range(2))
    pairs = []
    for turn in range(rounds):
        order = (plain, once) if turn % 2 else (once, plain)
        found = {run: _milliseconds(run, x, subject.calls) for run in order}
        pairs.append((found[plain], found[once]))
    ratios = sorted(after / before for before, after in pairs)
    before, after = (median(each) for each in zip(*pairs))
    cells = [subject.name, str(len(x)), mode, f"{before:,.2f}", f"{after:,.2f}"]
    cells += [f"{median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
    cells.append(f"{cast_once_memory(net) / 1e6:.1f}")
    return f"| {' | '.join(cells)} |"


def _milliseconds(
    run: Callable[[torch.Tensor], object], x: torch.Tensor, calls: int
) -> float:
    run(x)
    start = time.process_time()
    for _ in range(calls):
        run(x)
    return 1e3 * (time.process_time() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print("\n| network | batch | mode | ms | ms, kept | ratio | range | MB kept |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for subject in SUBJECTS:
        for mode in MODES:
            print(row(subject, mode, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
