"""
What recording costs: calls inside ``with profile()`` beside the same calls without.

Blocks of a few calls take turns, recorded and not. Figures are the ratios of the 10th
percentiles of the thread's CPU time over all blocks, which a busy machine spares. The
slow method takes about a millisecond, the quick one is a ``Linear(63, 32)``. Below the
table stands what looking at memory takes beside, as a share of the time, and what a
call pays while nothing is recorded: a look at a switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter, process_time, thread_time
from timeit import repeat
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from tests.benchmarks.harness import surroundings
from unfussy import auto_device, autocast_policy, batched, inference, returns
from unfussy._recording import SWITCH
from unfussy.profiling import profile

ROUNDS = 400
BLOCK_S = 0.006
TARGET = 1.03  # of calls of a millisecond
Run: TypeAlias = Callable[[], object]

X = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))


class Slow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(512, 512) for _ in range(3)]
        self.net = nn.Sequential(*layers).requires_grad_(requires_grad=False)

    @inference
    @auto_device
    @autocast_policy
    @batched
    def embed(self, x):
        return self.net(x)

    @inference
    def outer(self, x):
        return self.embed(x)


class Quick(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(63, 32)

    @inference
    @auto_device
    @autocast_policy
    @batched
    def embed(self, x):
        return self.net(x)

    @returns("numpy")
    @inference
    @auto_device
    @autocast_policy
    @batched
    def numbers(self, x):
        return self.net(x)


def cases() -> Iterator[tuple[str, Run]]:
    slow, quick, x = Slow().eval(), Quick().eval(), X[:2, :63].contiguous()
    yield "slow", lambda: slow.embed(X)
    yield "slow, called by another", lambda: slow.outer(X)
    yield "quick", lambda: quick.embed(x)
    yield "quick, numbers out", lambda: quick.numbers(x)


def measure(run: Run) -> tuple[float, float]:
    """Return the seconds of a call, and of one that is recorded."""
    n = max(1, int(BLOCK_S / block(run, 20)))
    took: dict[bool, list[float]] = {True: [], False: []}
    with profile(enable_memory_tracking=False) as session:
        for i in range(ROUNDS):
            for recorded in (i % 2 == 0, i % 2 == 1):
                change = SWITCH.add if recorded else SWITCH.remove
                change(session)
                took[recorded].append(block(run, n))
                SWITCH.remove(session)
    plain, recorded = (float(np.percentile(took[x], 10)) for x in (False, True))
    return plain, recorded


def block(run: Run, n: int) -> float:
    run()  # the block before has emptied the caches
    start = thread_time()
    for _ in range(n):
        run()
    return (thread_time() - start) / n


def memory() -> float:
    """Return what share of the time looking at memory takes."""
    slow = Slow().eval()
    with profile():
        start, mine, all_ = perf_counter(), thread_time(), process_time()
        while perf_counter() - start < 3:
            slow.embed(X)
        mine, all_ = thread_time() - mine, process_time() - all_
    return (all_ - mine) / all_


def look() -> float:
    """Return how many nanoseconds a look at the switch takes."""
    names = {"switch": SWITCH}
    looks = min(repeat("if switch.on: pass", number=100_000, globals=names))
    nothing = min(repeat("pass", number=100_000))
    return (looks - nothing) * 1e9 / 100_000


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    print(f"\n| {'recorded':24} | us, not |     us |  ratio | target |")
    print(f"| {'-' * 24} | ------: | -----: | -----: | -----: |")
    for name, run in cases():
        plain, recorded = (1e6 * seconds for seconds in measure(run))
        target = f"{TARGET:.2f}" if name.startswith("slow") else ""
        figures = f"{plain:7.1f} | {recorded:6.1f} | {recorded / plain:6.3f}"
        print(f"| {name:24} | {figures} | {target:>6} |", flush=True)
    print(f"\nlooking at memory: {100 * memory():.2f} %")
    print(f"a look at the switch: {look():.1f} ns")
