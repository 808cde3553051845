"""The page of a report: the answer first, then pictures, then all figures."""

from __future__ import annotations

from collections.abc import Sequence

from unfussy._pages import Page
from unfussy._quantities import duration, number, percent, size
from unfussy.profiling.pictures import (
    draw_latencies,
    draw_memory,
    draw_throughput,
    draw_timeline,
)
from unfussy.profiling.records import Profile
from unfussy.profiling.summary import MethodSummary
from unfussy.profiling.tables import effort_table, methods_table, name_of, stages_table

__all__ = ["page_of"]


def page_of(profiles: Sequence[Profile]) -> Page:
    """Return the page of some sessions."""
    single = len(profiles) == 1
    page = Page(f"Profile: {profiles[0].name}" if single else "Profiles of calls")
    for profile in profiles:
        if not single:
            page.heading(profile.name)
        _add(page, profile)
    if profiles:
        _add_environment(page, profiles[0])
    return page


def _add(page: Page, profile: Profile) -> None:
    page.text(_summary(profile)).facts(_facts(profile))
    if not profile.methods:
        return
    page.table(*methods_table(profile), "Times of a call; p90: 90 % were faster.")
    page.picture(lambda: draw_timeline(profile), "What happened when, in each thread.")
    page.table(*stages_table(profile), "Where the time went, as shares of all calls.")
    page.picture(lambda: draw_latencies(profile), "How long calls took.")
    if len({n for call in profile.calls for n, _ in call.pieces}) > 1:
        page.picture(
            lambda: draw_throughput(profile),
            "What chunks of a size come to; the median of those that were run.",
        )
    if len(profile.memory) > 1:
        page.picture(lambda: draw_memory(profile), "Memory of the whole process.")
    page.table(*effort_table(profile), "What was given, and what went wrong.")


def _summary(profile: Profile) -> str:
    n, methods = profile.n_calls, profile.methods
    if not methods:
        return f"In {duration(profile.seconds)} no planned call ended."
    first, rest = methods[0], len(methods) - 1
    total = sum(each.own_seconds for each in methods) or 1.0
    words = f"{_count(n, 'call')} in {duration(profile.seconds)}. "
    if rest:
        words += f"{name_of(first)} took {percent(first.own_seconds / total)} of the "
        words += f"time of {_count(rest + 1, 'method')}. "
    words += f"{_mostly(first)}{_troubles(methods)}"
    if n > len(profile.calls):
        words += f" Only the latest {number(len(profile.calls))} calls are shown."
    return words


def _mostly(method: MethodSummary) -> str:
    stage, seconds = max(method.stages.items(), key=lambda pair: pair[1])
    share = percent(seconds / method.seconds) if method.seconds else "0 %"
    return f"In {name_of(method)}, {share} of the time is the stage “{stage}”."


def _troubles(methods: Sequence[MethodSummary]) -> str:
    counts = {
        ("call", "raised an error"): sum(each.errors for each in methods),
        ("item", "failed"): sum(each.failures for each in methods),
        ("time", "memory ran out"): sum(each.retries for each in methods),
    }
    said = [f"{_count(n, noun)} {verb}" for (noun, verb), n in counts.items() if n]
    return f" Trouble: {', '.join(said)}." if said else ""


def _count(n: int, noun: str) -> str:
    return f"{number(n)} {noun}" if n == 1 else f"{number(n)} {noun}s"


def _facts(profile: Profile) -> dict[str, str]:
    facts = {"calls": number(profile.n_calls), "items": number(profile.items)}
    if profile.methods:
        first = profile.methods[0]
        facts[f"median of {name_of(first)}"] = duration(first.p50)
        facts["items a second"] = number(first.items_per_second)
    if profile.peak_resident is not None:
        facts["most memory"] = size(profile.peak_resident)
    if profile.peak_device is not None:
        facts["most on the device"] = size(profile.peak_device)
    return facts


def _add_environment(page: Page, profile: Profile) -> None:
    said = ", ".join(f"{name} {value}" for name, value in profile.environment.items())
    page.text(said)
