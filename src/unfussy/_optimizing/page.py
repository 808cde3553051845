"""A report as one page of HTML, with a picture of what each candidate gained."""

from __future__ import annotations

from functools import partial

from unfussy._optimizing.report import (
    HEADERS,
    OptimizationReport,
    rows_of,
    seconds_text,
    threads_text,
)
from unfussy._pages import Page
from unfussy._plots import bars

__all__ = ["page_of"]


def page_of(report: OptimizationReport) -> Page:
    """Return *report* as a page."""
    page = Page(f"What makes {report.target} faster")
    page.text(_summary(report))
    for note in report.notes:
        page.text(note)
    page.table(("what", "here"), _facts(report))
    if any(each.ratio for each in report.candidates):
        page.picture(
            partial(_picture, report),
            caption="What each candidate gained, with 99 % intervals.",
        )
    return page.table(HEADERS, rows_of(report.candidates), caption="Every candidate.")


def _summary(report: OptimizationReport) -> str:
    if report.speedup is None or report.plain is None or report.best is None:
        return "There is nothing to gain: the method is left as it is."
    return (
        f"{report.speedup.value:.2f} times as fast: {seconds_text(report.best)} a call "
        f"instead of {seconds_text(report.plain)}. The results are the same within "
        f"{report.deviation:.1e}."
    )


def _facts(report: OptimizationReport) -> list[tuple[str, str]]:
    return [
        ("device", f"{report.device}, {report.fingerprint['device_model']}"),
        ("torch", f"{report.fingerprint['torch']}, {threads_text(report.threads)}"),
        ("level", f"{report.level}, results within {report.tolerance:.0e}"),
        ("time taken", f"{report.seconds:.1f} of {report.budget:.0f} s"),
    ]


def _picture(report: OptimizationReport) -> str:
    timed = [(each.label, each.ratio) for each in report.candidates if each.ratio]
    return bars(
        [label for label, _ in timed],
        [ratio.value for _, ratio in timed],
        intervals=[(ratio.low, ratio.high) for _, ratio in timed],
        title="Times as fast as without it",
        xlabel="times as fast as the best before it; above 1 is faster",
    )
