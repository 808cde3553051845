"""What the calls of each method come to: how many, how long, how fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unfussy._recording import STAGES, Kind

if TYPE_CHECKING:
    from unfussy.profiling.records import CallRecord

__all__ = ["MethodSummary", "summarised"]


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """
    What the calls of one method come to; times are in seconds.

    Attributes:
        method: The method.
        kind: As in `CallRecord`.
        count: How many calls.
        errors: How many of them raised.
        seconds: How long all took together.
        own_seconds: How long without the recorded calls inside of them.
        mean: The mean time of a call.
        p50: The median.
        p90: What 90 % of the calls stayed below.
        p99: What 99 % stayed below.
        items: How many items they were given.
        items_per_second: How many a second.
        bytes_in: How many bytes of tensors and arrays.
        chunks: In how many chunks.
        padding_waste: The mean share of padding in calls that may pad, or None.
        retries: How often memory ran out.
        failures: How many items raised.
        device_seconds: How long the device was busy, or None.
        stages: How long each stage took in all.
    """

    method: str
    kind: Kind
    count: int
    errors: int
    seconds: float
    own_seconds: float
    mean: float
    p50: float
    p90: float
    p99: float
    items: int
    items_per_second: float
    bytes_in: int
    chunks: int
    padding_waste: float | None
    retries: int
    failures: int
    device_seconds: float | None
    stages: Mapping[str, float]


def summarised(calls: Iterable[CallRecord]) -> tuple[MethodSummary, ...]:
    """Return a summary for each method and kind, most time of its own first."""
    groups: dict[tuple[str, Kind], list[CallRecord]] = {}
    for call in calls:
        key: tuple[str, Kind] = (call.method, call.kind)
        groups.setdefault(key, []).append(call)
    summaries = [_summary(name, kind, group) for (name, kind), group in groups.items()]
    return tuple(sorted(summaries, key=lambda each: -each.own_seconds))


def _summary(method: str, kind: Kind, calls: Sequence[CallRecord]) -> MethodSummary:
    took = np.array([call.seconds for call in calls])
    total, items = float(took.sum()), sum(call.items for call in calls)
    p50, p90, p99 = (float(x) for x in np.percentile(took, [50, 90, 99]))
    return MethodSummary(
        method=method,
        kind=kind,
        count=len(calls),
        errors=sum(call.error is not None for call in calls),
        seconds=total,
        own_seconds=sum(call.own_seconds for call in calls),
        mean=total / len(calls),
        p50=p50,
        p90=p90,
        p99=p99,
        items=items,
        items_per_second=items / total if total else 0.0,
        bytes_in=sum(call.bytes_in for call in calls),
        chunks=sum(call.chunks for call in calls),
        padding_waste=_mean([call.padding_waste for call in calls]),
        retries=sum(call.retries for call in calls),
        failures=sum(call.failures for call in calls),
        device_seconds=_total([call.device_seconds for call in calls]),
        stages={name: sum(call.stages[name] for call in calls) for name in STAGES},
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
