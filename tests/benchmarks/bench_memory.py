"""
What recovery from full memory costs, beside other packages.

Every row runs the same 2000 items twice, on a device that has room for so many
elements and refuses larger calls. The figures are all elements that were attempted,
refused ones and padding included, in units of the true data, and the refusals. Peers
start with 1024 items and pad in the order of arrival, as they leave that to their
users. A peer that is not installed is named as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from tests.benchmarks.harness import surroundings
from unfussy import Pad, batched
from unfussy.testing import OOM_ERRORS

N_ITEMS = 2000
PEERS_START = 1024
Items: TypeAlias = list[torch.Tensor]
Run: TypeAlias = Callable[[], object]


class Device(nn.Module):
    """Counts what it is given, and refuses what has no room."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.attempted = 0
        self.refusals = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.attempted += x.numel()
        if x.numel() > self.room:
            self.refusals += 1
            raise OOM_ERRORS["cuda"].make()
        return x.sum(1)

    @batched(size="auto")
    def equal(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)

    @batched(size="auto", pad=Pad(results="fixed"))
    def ragged(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)


def cases() -> Iterator[tuple[str, Items, int]]:
    torch.manual_seed(0)
    uniform = torch.randint(10, 61, (N_ITEMS,)).tolist()
    lognormal = (3.2 + 0.8 * torch.randn(N_ITEMS)).exp().clamp(4, 400).long().tolist()
    yield "equal items, room for 37", _items([16] * N_ITEMS), 37 * 16
    yield "lognormal, room 8192", _items(lognormal), 8192
    yield "outlier last, room 8192", _items([*uniform[:-1], 2000]), 8192


def _items(lengths: list[int]) -> Items:
    return [torch.ones(length) for length in lengths]


# --- runners -----------------------------------------------------------------------


def unfussy(device: Device, items: Items) -> Run:
    if len({len(item) for item in items}) == 1:
        stacked = torch.stack(items)
        return lambda: device.equal(stacked)
    return lambda: device.ragged(items)


def accelerate(device: Device, items: Items) -> Run:
    find = import_module("accelerate.utils").find_executable_batch_size

    @find(starting_batch_size=PEERS_START)
    def run(batch_size: int) -> list[torch.Tensor]:
        starts = range(0, len(items), batch_size)
        return [device(_padded(items[i : i + batch_size])) for i in starts]

    return run


def toma(device: Device, items: Items) -> Run:
    ranges = import_module("toma").toma.range

    @ranges(initial_step=PEERS_START)
    def run(start: int, end: int) -> None:
        device(_padded(items[start:end]))

    return lambda: run(0, len(items))


def _padded(items: Items) -> torch.Tensor:
    return pad_sequence(items, batch_first=True)


RUNNERS: tuple[Callable[[Device, Items], Run], ...] = (unfussy, accelerate, toma)


def measure(make: Callable[[Device, Items], Run], items: Items, room: int) -> list[str]:
    """Return the cells of a first and a second call."""
    device = Device(room)
    run, true = make(device, items), sum(map(len, items))
    cells = []
    for _ in range(2):
        device.attempted = device.refusals = 0
        run()
        cells.append(f"{device.attempted / true:.2f}x, {device.refusals}")
    return cells


def main() -> None:
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    rows, missing = [], dict[str, Any]()
    for name, items, room in cases():
        for make in RUNNERS:
            try:
                rows.append([name, make.__name__, *measure(make, items, room)])
            except ImportError as error:
                missing[make.__name__] = error
    print("\n| case | package | first call | second call |\n| --- | --- | --: | --: |")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    for package, error in missing.items():
        print(f"\nmissing: {package}: {error}")


if __name__ == "__main__":
    main()
