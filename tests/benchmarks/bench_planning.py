"""
What plans cost beside the best there is, and what planning costs.

Prices are counted, not measured: start-ups and padded elements, as the planner counts
them. The best plan is the exact one, which `plan` itself makes up to 2,000 items only.
Plans of fixed counts know no budget; where they exceed it, the price is marked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from time import process_time
from typing import Any, TypeAlias

import numpy as np

from tests.benchmarks.harness import surroundings
from unfussy._batching.exact import cut_exactly
from unfussy._batching.planner import plan, plan_in_order
from unfussy._batching.terms import Terms

__all__ = ["DISTRIBUTIONS", "PLANNERS", "SETTINGS", "best_price", "price"]

Lengths: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Chunks: TypeAlias = Iterator[Lengths]

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], Lengths]] = {
    "constant": lambda _, n: np.full(n, 40),
    "uniform, 10 to 60": lambda r, n: r.integers(10, 61, n),
    "one outlier of 2,000": lambda r, n: np.append(r.integers(10, 61, n - 1), 2000),
    "uniform, 1 to 512": lambda r, n: r.integers(1, 513, n),
    "exponential": lambda r, n: np.ceil(r.exponential(60, n)),
    "lognormal": lambda r, n: np.ceil(r.lognormal(3.3, 0.9, n)),
    "two peaks": lambda r, n: r.integers(8, 20, n) * np.where(r.random(n) < 0.1, 20, 1),
    "Zipf, to 4,096": lambda r, n: np.minimum(r.zipf(1.5, n), 4096),
}
SETTINGS = {
    "start-up 64, budget 2,048": Terms(64, 2048),
    "start-up 512, budget 8,192": Terms(512, 8192),
    "start-up 8,192, budget 65,536": Terms(8192, 65_536),
}
FIXED = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="for the prices")
    parser.add_argument("--rounds", type=int, default=7, help="for the times")
    asked = parser.parse_args()
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    for title, terms in SETTINGS.items():
        print(f"\n{asked.items:,} items, {title}: price in units of the best\n")
        print_prices(asked.items, terms)
    print("\nplanning, ms of CPU time, best of", asked.rounds, "\n")
    print_times(asked.rounds)


# --- prices ------------------------------------------------------------------------


def in_counts(lengths: Lengths, _: Terms) -> Chunks:
    """Cut the lengths as they come, so many at a time."""
    return iter(np.split(lengths, range(FIXED, len(lengths), FIXED)))


def sorted_in_counts(lengths: Lengths, terms: Terms) -> Chunks:
    return in_counts(np.sort(lengths)[::-1], terms)


def sorted_to_budget(lengths: Lengths, terms: Terms) -> Chunks:
    """Cut the sorted lengths, longest first, wherever the budget is full."""
    left = np.sort(lengths)[::-1]
    while len(left):
        size = terms.most_items(float(left[0]), len(left))
        yield left[:size]
        left = left[size:]


def planned(lengths: Lengths, terms: Terms) -> Chunks:
    found = plan(lengths, startup=terms.startup, budget=terms.budget)
    return (lengths[chunk] for chunk in found.chunks)


PLANNERS: dict[str, Callable[[Lengths, Terms], Chunks]] = {
    f"as they come, {FIXED} each": in_counts,
    f"sorted, {FIXED} each": sorted_in_counts,
    "sorted, up to a budget": sorted_to_budget,
    "unfussy.plan": planned,
}


def price(chunks: Chunks, terms: Terms) -> tuple[float, bool]:
    """Return what the chunks cost, and whether all are within the budget."""
    total, fits = 0.0, True
    for chunk in chunks:
        padded = len(chunk) * float(chunk.max())
        total += terms.startup + padded
        fits &= len(chunk) == 1 or padded <= (terms.budget or np.inf)
    return total, fits


def best_price(lengths: Lengths, terms: Terms) -> float:
    ascending = np.sort(lengths).tolist()
    stops = cut_exactly(ascending, terms)
    padded = sum((b - a) * ascending[b - 1] for a, b in zip([0, *stops], stops))
    return float(padded + terms.startup * len(stops))


def print_prices(n_items: int, terms: Terms) -> None:
    print_row(["", *PLANNERS])
    print_row([":--", *["--:"] * len(PLANNERS)])
    for name, make in DISTRIBUTIONS.items():
        lengths = make(np.random.default_rng(0), n_items)
        best = best_price(lengths, terms)
        prices = [price(way(lengths, terms), terms) for way in PLANNERS.values()]
        print_row(
            [name, *(f"{p / best:.3f}{'' if fits else ' !'}" for p, fits in prices)]
        )


def print_row(cells: list[str]) -> None:
    first, *others = cells
    print(f"| {first:31} | {' | '.join(f'{cell:>22}' for cell in others)} |")


# --- times -------------------------------------------------------------------------

SIZES = (10**3, 2 * 10**3, 10**4, 10**5, 10**6)


def print_times(rounds: int) -> None:
    print_row(["items", *(f"{n:,}" for n in SIZES)])
    print_row([":--", *["--:"] * len(SIZES)])
    for name, make in DISTRIBUTIONS.items():
        for terms in (SETTINGS["start-up 64, budget 2,048"], Terms(4096)):
            options = {"startup": terms.startup, "budget": terms.budget}
            ways = [partial(plan, made(make, n), **options) for n in SIZES]
            label = f"{name}{', ' if terms.budget else ', no '}budget"
            print_row([label, *(f"{milliseconds(way, rounds):.2f}" for way in ways)])
    ways = [partial(plan_in_order, np.full(n, 40), max_items=32) for n in SIZES]
    print_row(["in order, equal", *(f"{milliseconds(w, rounds):.2f}" for w in ways)])


def made(make: Callable[[np.random.Generator, int], Lengths], n: int) -> Lengths:
    return make(np.random.default_rng(0), n)


def milliseconds(run: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = process_time()
        run()
        times.append(process_time() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
