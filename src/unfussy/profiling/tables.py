"""What was recorded, as tables for the eye: the cells, and plain text of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from unfussy._quantities import duration, number, percent, size
from unfussy._recording import STAGES
from unfussy.profiling.records import Profile
from unfussy.profiling.summary import MethodSummary

__all__ = ["Table", "methods_table", "plain", "profile_table", "stages_table"]

Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[Any]]]

_TIMES: Final = ("method", "calls", "p50", "p90", "p99", "mean", "items/s")
_KINDS: Final = {"call": "", "stream": " (stream)", "ahead": " (made ready ahead)"}


def name_of(method: MethodSummary) -> str:
    """Return what a row is called."""
    return method.method + _KINDS[method.kind]


def methods_table(profile: Profile) -> Table:
    """Return how often and how fast each method was called."""
    rows = [
        (
            name_of(each),
            number(each.count),
            *map(duration, (each.p50, each.p90, each.p99, each.mean)),
            number(each.items_per_second),
        )
        for each in profile.methods
    ]
    return _TIMES, rows


def stages_table(profile: Profile) -> Table:
    """Return what share of its time each method spent in each stage."""
    rows = []
    for each in profile.methods:
        total = each.seconds or 1.0
        known = [each.stages[stage] for stage in STAGES]
        shares = [*known, each.seconds - sum(known)]
        shown = [percent(x / total) if x else "" for x in shares]
        rows.append((name_of(each), duration(each.seconds), *shown))
    return _filled(("method", "in all", *STAGES, "other"), rows)


def effort_table(profile: Profile) -> Table:
    """Return what was given to each method, and what went wrong."""
    headers = ("method", "items", "bytes in", "chunks", "padding", "own time")
    rows = [
        (
            name_of(each),
            number(each.items),
            size(each.bytes_in),
            number(each.chunks),
            "" if each.padding_waste is None else percent(each.padding_waste),
            duration(each.own_seconds),
            "" if each.device_seconds is None else duration(each.device_seconds),
            *(number(n) if n else "" for n in _troubles(each)),
        )
        for each in profile.methods
    ]
    return _filled((*headers, "on device", "retries", "failed items", "errors"), rows)


def _filled(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table without the columns that have nothing in them."""
    kept = [i for i in range(len(headers)) if any(row[i] != "" for row in rows)]
    return [headers[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _troubles(each: MethodSummary) -> tuple[int, int, int]:
    return each.retries, each.failures, each.errors


def profile_table(profile: Profile) -> str:
    """Return what was recorded as plain text."""
    n = number(profile.n_calls)
    head = f"{profile.name}: {n} calls in {duration(profile.seconds)}"
    if profile.peak_resident is not None:
        head += f", peak memory {size(profile.peak_resident)}"
    if profile.peak_device is not None:
        head += f", on the device {size(profile.peak_device)}"
    if not profile.methods:
        return head
    return "\n\n".join([head, plain(methods_table(profile)), _stages(profile)])


def _stages(profile: Profile) -> str:
    return plain(stages_table(profile))


def plain(table: Table) -> str:
    """Return a table as text in columns, the first one to the left."""
    rows = [tuple(map(str, row)) for row in (table[0], *table[1])]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )
