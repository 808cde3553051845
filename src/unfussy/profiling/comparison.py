"""
Two sessions compared, method by method: which is faster, and is that sure.

What is compared are medians; how sure the ratio is, is found out by drawing the calls
again and again from those that were made (a bootstrap), from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from unfussy._quantities import duration
from unfussy.errors import InputValueError
from unfussy.profiling.records import CallRecord, Profile
from unfussy.profiling.session import Session
from unfussy.profiling.tables import plain

__all__ = ["Comparison", "MethodComparison", "Verdict", "compare"]

Verdict: TypeAlias = Literal[
    "faster", "slower", "no difference seen", "too few calls to tell"
]

_FEWEST: Final = 5  # calls: of fewer, no interval of a median has 95 %
_DRAWS: Final = 4000


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """
    One method in two sessions.

    Attributes:
        method: The method.
        counts: How many calls there were in each.
        medians: The median seconds in each.
        ratio: The second median as a share of the first: below 1 it is faster.
        low: Where the interval of the ratio begins.
        high: Where it ends.
        verdict: What that says of the second session.
    """

    method: str
    counts: tuple[int, int]
    medians: tuple[float, float]
    ratio: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Two sessions compared; prints as a table.

    Attributes:
        names: What the sessions are called.
        per: Whether times are those of a call or of an item.
        confidence: How sure the intervals are.
        methods: The methods that both called.
        missing: Those that only one of them did.
    """

    names: tuple[str, str]
    per: Literal["call", "item"]
    confidence: float
    methods: tuple[MethodComparison, ...]
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        a, b = self.names
        sure = f"{100 * self.confidence:g} %"
        headers = ("method", a, b, "ratio", sure, f"{b} is")
        rows = [
            (
                each.method,
                *map(duration, each.medians),
                f"{each.ratio:.2f}",
                f"{each.low:.2f} to {each.high:.2f}",
                each.verdict,
            )
            for each in self.methods
        ]
        lines = [f"median time of one {self.per}", "", plain((headers, rows))]
        lines += [f"only in one of them: {name}" for name in self.missing]
        return "\n".join(lines)


def compare(
    a: Session | Profile,
    b: Session | Profile,
    /,
    *,
    per: Literal["call", "item"] = "call",
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """
    Tell for each method whether it is faster in the second session than in the first.

    Calls that raised are left out. A machine that others slow down in one session and
    not in the other is taken for a difference, so let sessions take turns.

    Args:
        a: The first session.
        b: The second one.
        per: Whether to compare the time of a ``"call"``, or of an ``"item"`` where
            calls have different numbers of them.
        confidence: How often intervals like these hold the true ratio.
        seed: What the draws begin with.

    Raises:
        InputValueError: If *confidence* is not between 0 and 1.

    Examples:
        >>> import time, torch
        >>> from unfussy import inference
        >>> from unfussy.profiling import profile
        >>> class Net(torch.nn.Module):
        ...     @inference
        ...     def rest(self, seconds):
        ...         time.sleep(seconds)
        >>> with profile("long") as a:
        ...     for _ in range(5): Net().rest(0.01)
        >>> with profile("short") as b:
        ...     for _ in range(5): Net().rest(0.001)
        >>> compare(a, b).methods[0].verdict
        'faster'
    """
    if not 0 < confidence < 1:
        raise InputValueError(f"confidence is between 0 and 1, got {confidence}")
    profiles = [x.profile if isinstance(x, Session) else x for x in (a, b)]
    times = [_times(x.calls, per) for x in profiles]
    names = dict.fromkeys(each.method for x in profiles for each in x.methods)
    known = [name for name in names if all(name in each for each in times)]
    rng = np.random.default_rng(seed)
    compared = tuple(
        _compared(name, times[0][name], times[1][name], confidence, rng)
        for name in known
    )
    rest = {*times[0], *times[1]}.difference(known)
    titles = profiles[0].name, profiles[1].name
    return Comparison(titles, per, confidence, compared, tuple(sorted(rest)))


_Times: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def _times(calls: Sequence[CallRecord], per: str) -> dict[str, _Times]:
    found: dict[str, list[float]] = {}
    for call in calls:
        if call.error is None and call.kind == "call" and (per == "call" or call.items):
            share = 1 if per == "call" else call.items
            found.setdefault(call.method, []).append(call.seconds / share)
    return {name: np.sort(values) for name, values in found.items()}


def _compared(
    name: str, a: _Times, b: _Times, confidence: float, rng: np.random.Generator
) -> MethodComparison:
    medians = float(np.median(a)), float(np.median(b))
    tail = 50 * (1 - confidence)
    drawn = _drawn_medians(b, rng) / np.maximum(_drawn_medians(a, rng), 1e-12)
    low, high = (float(x) for x in np.percentile(drawn, [tail, 100 - tail]))
    ratio = medians[1] / max(medians[0], 1e-12)
    low, high = min(low, ratio), max(high, ratio)
    counts = len(a), len(b)
    verdict = _verdict(low, high, min(counts))
    return MethodComparison(name, counts, medians, ratio, low, high, verdict)


def _drawn_medians(values: _Times, rng: np.random.Generator) -> _Times:
    """
    Return medians of samples that are drawn from sorted *values*.

    A median of n draws is the value at a place that follows a beta distribution, which
    is drawn at once.
    """
    n = len(values)
    places = rng.beta((n + 1) / 2, (n + 1) / 2, _DRAWS) * n
    drawn: _Times = values[places.astype(np.intp).clip(0, n - 1)]
    return drawn


def _verdict(low: float, high: float, fewest: int) -> Verdict:
    if fewest < _FEWEST:
        return "too few calls to tell"
    if high < 1:
        return "faster"
    return "slower" if low > 1 else "no difference seen"
