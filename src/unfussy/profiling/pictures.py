"""The pictures of a report: stages, latencies, throughput and memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from statistics import median
from typing import Final

import numpy as np

from unfussy._plots import Numbers, lines, timeline
from unfussy.profiling.records import CallRecord, Profile
from unfussy.profiling.tables import name_of

__all__ = ["draw_latencies", "draw_memory", "draw_throughput", "draw_timeline"]

_MOST_SPANS: Final = 400  # more is a blur
_MOST_METHODS: Final = 5
_BINS: Final = 40
_WIDE: Final = 10  # times as long


def draw_timeline(profile: Profile) -> str:
    """Draw the stages of the first calls, a lane for each thread."""
    began = min((call.start for call in profile.calls), default=0.0)
    spans = [
        (thread, start - began, stop - began, stage)
        for thread in dict.fromkeys(call.thread for call in profile.calls)
        for stage, start, stop in islice(_spans(profile, thread), _MOST_SPANS)
    ]
    return timeline(spans, title="Stages of the first calls")


def _spans(profile: Profile, thread: str) -> Iterator[tuple[str, float, float]]:
    for call in sorted(profile.calls, key=lambda call: call.start):
        if call.thread == thread:
            yield from call.spans


def draw_latencies(profile: Profile) -> str:
    """Draw how many calls of each method took how long."""
    groups = _of_methods(profile)
    times = np.array([call.seconds for calls in groups.values() for call in calls])
    unit, scale = _unit(float(np.median(times)))
    top = float(np.percentile(times, 99))
    low, top = float(times.min()), max(top, float(times.min()) * 1.01)
    wide = top > _WIDE * low
    edges = (np.geomspace if wide else np.linspace)(low, top, _BINS + 1)
    series: dict[str, tuple[Numbers, Numbers]] = {}
    for name, calls in groups.items():
        counts, _ = np.histogram([call.seconds for call in calls], edges)
        series[name] = (edges / scale).tolist(), [*counts.tolist(), 0]
    return lines(
        series,
        title="Latency",
        xlabel=f"{unit} a call",
        ylabel="calls",
        steps=True,
        logx=wide,
    )


def draw_throughput(profile: Profile) -> str:
    """Draw how many items a second chunks of each size come to."""
    series: dict[str, tuple[Numbers, Numbers]] = {}
    for name, calls in _of_methods(profile).items():
        rates: dict[int, list[float]] = defaultdict(list)
        for call in calls:
            for n, seconds in call.pieces:
                if n and seconds:
                    rates[n].append(n / seconds)
        sizes = sorted(rates)
        series[name] = sizes, [median(rates[n]) for n in sizes]
    return lines(
        series,
        title="Throughput",
        xlabel="items in a chunk",
        ylabel="items a second",
        points=True,
    )


def draw_memory(profile: Profile) -> str:
    """Draw memory over time."""
    series: dict[str, tuple[Numbers, Numbers]] = {}
    for name in ("resident", "device"):
        known = [
            (sample.seconds, getattr(sample, name) / 1e6)
            for sample in profile.memory
            if getattr(sample, name) is not None
        ]
        if known:
            xs, ys = zip(*known)
            series[name] = xs, ys
    return lines(series, title="Memory", xlabel="s", ylabel="MB")


def _of_methods(profile: Profile) -> dict[str, list[CallRecord]]:
    shown = [each for each in profile.methods if each.kind == "call"][:_MOST_METHODS]
    return {
        name_of(each): [
            call
            for call in profile.calls
            if call.kind == each.kind and call.method == each.method
        ]
        for each in shown or profile.methods[:1]
    }


def _unit(seconds: float) -> tuple[str, float]:
    units = (("s", 1.0), ("ms", 1e-3))
    return next((unit for unit in units if seconds >= unit[1]), ("µs", 1e-6))
