"""
Draw ``docs/explanation/waste.svg``: what plans cost beside the cheapest one.

Run from the root of the repository, with matplotlib installed:
``python -m docs.plots.waste``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.benchmarks.bench_planning import (
    DISTRIBUTIONS,
    PLANNERS,
    best_price,
    price,
)
from unfussy._batching.terms import Terms

FILE = Path(__file__).parents[1] / "explanation" / "waste.svg"
N_ITEMS = 2000
PANELS = {
    "On an accelerator: a start-up is worth 4,096 elements": (4096, 65_536),
    "On a CPU: a start-up is worth 100 elements": (100, 2048),
}
INK, FAINT = "#333333", "#e4e4e4"
LOOKS = {  # colour, marker, and where the label stands beside its mark, in points
    "as they come, 32 each": ("#757575", "o", (0, 24)),
    "sorted, 32 each": ("#bb6a0a", "s", (36, 24)),
    "sorted, up to a budget": ("#2f74b5", "D", (14, 42)),
    "unfussy.plan": ("#14785a", "o", (0, 24)),
}
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "unfussy",
}


def main() -> None:
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(2, 1, figsize=(7.6, 7.2), sharex=True)
        for axes, (title, (startup, budget)) in zip(panels, PANELS.items()):
            found = ratios(startup, budget)
            draw(axes, found)
            is_first = axes is panels[0]
            pad = 62 if is_first else 6  # room for the labels
            axes.set_title(title, loc="left", pad=pad, fontsize=12, fontweight="bold")
            if is_first:
                label(axes, {way: values[-1] for way, values in found.items()})
        panels[-1].set_xlabel("price, in units of the cheapest plan", labelpad=8)
        figure.tight_layout(h_pad=1.5)
        figure.savefig(FILE, facecolor="white", metadata={"Date": None})


def ratios(startup: float, budget: float) -> dict[str, list[float]]:
    """Return each way's prices, in units of the best without limits."""
    free, limited = Terms(startup), Terms(startup, budget)
    found: dict[str, list[float]] = {way: [] for way in PLANNERS}
    for make in DISTRIBUTIONS.values():
        lengths = make(np.random.default_rng(0), N_ITEMS)
        best = best_price(lengths, free)
        for way, chunks_of in PLANNERS.items():
            terms = free if way == "unfussy.plan" else limited
            found[way].append(price(chunks_of(lengths, terms), free)[0] / best)
    return found


def draw(axes: Axes, found: dict[str, list[float]]) -> None:
    rows = range(len(DISTRIBUTIONS))
    axes.hlines(rows, 1, np.max(list(found.values()), axis=0), color=FAINT, lw=2)
    for way, values in found.items():
        color, marker, _ = LOOKS[way]
        axes.plot(values, rows, marker, color=color, ms=7, clip_on=False, mec="white")
    axes.set_yticks(rows, list(DISTRIBUTIONS))
    axes.set_ylim(-0.6, len(rows) - 0.6)
    axes.set_xscale("log")
    axes.set_xlim(0.97, 21)
    axes.set_xticks([1, 1.5, 2, 3, 5, 10, 20], ["1", "1.5", "2", "3", "5", "10", "20"])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def label(axes: Axes, values: dict[str, float]) -> None:
    """Name the marks of the top row."""
    for way, value in values.items():
        color, _, offset = LOOKS[way]
        axes.annotate(
            way,
            (value, len(DISTRIBUTIONS) - 1),
            offset,
            textcoords="offset points",
            ha="center",
            color=color,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkB": 5},
        )


if __name__ == "__main__":
    main()
