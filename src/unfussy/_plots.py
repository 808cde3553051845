"""
Pictures of figures, as SVG text that a page can hold.

Words and axes have the colour of the text around them, so that a picture is as
readable on a dark page as on a light one. Drawn by matplotlib (extra ``plots``),
without its global state.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, Final, TypeAlias

from unfussy.errors import MissingExtraError

__all__ = ["bars", "lines", "timeline"]

Numbers: TypeAlias = Sequence[float]
Span: TypeAlias = tuple[str, float, float, str]
"""A lane, where it starts and stops in seconds, and what it is."""

COLOURS: Final = ("#3f83c8", "#df8a2b", "#2f9e73", "#c9557c", "#8b6fc9", "#8a9099")
_INK: Final = "#010203"  # stands for the colour of the text around
_TITLE: Final[dict[str, Any]] = {"color": _INK, "fontsize": 11, "weight": "bold"}
_WIDTH: Final = 7.6  # inches
_MANY: Final = 10_000  # needs its thousands set apart
_SECONDS: Final = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def bars(
    labels: Sequence[str],
    values: Numbers,
    *,
    intervals: Sequence[tuple[float, float]] | None = None,
    title: str,
    xlabel: str,
) -> str:
    """
    Draw a bar for each value, from top to bottom.

    Args:
        labels: What the values are of.
        values: How long the bars are.
        intervals: For each value from where to where it may be.
        title: What the picture shows.
        xlabel: What the values are.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure, axes = _axes(title, height=0.9 + 0.36 * max(len(labels), 2))
    places = range(len(labels))
    axes.barh(places, values, height=0.62, color=COLOURS[0])
    if intervals is not None:
        ends = [
            [value - low for value, (low, _) in zip(values, intervals)],
            [high - value for value, (_, high) in zip(values, intervals)],
        ]
        clipped = [[max(0.0, x) for x in side] for side in ends]
        axes.errorbar(values, places, xerr=clipped, fmt="none", ecolor=_INK, capsize=3)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel, color=_INK)
    axes.grid(axis="x", color=_INK, alpha=0.12)
    return _svg(figure, title)


def lines(
    series: Mapping[str, tuple[Numbers, Numbers]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    points: bool = False,
    steps: bool = False,
    logx: bool = False,
) -> str:
    """
    Draw a line for each of some series.

    Args:
        series: For each name, where the points are: along, and upwards.
        title: What the picture shows.
        xlabel: What goes along.
        ylabel: What goes upwards.
        points: Whether the points are shown too.
        steps: Whether a value holds until the next one.
        logx: Whether equal ways along are equal ratios.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure, axes = _axes(title, height=3.2)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        axes.plot(
            xs,
            ys,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linewidth=1.8,
            marker="o" if points or len(xs) == 1 else "",
            markersize=4.5,
            drawstyle="steps-post" if steps else "default",
        )
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_ylabel(ylabel, color=_INK)
    if logx:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_formatter("")
        axes.tick_params(which="minor", length=0, colors=_INK)
    if max((max(ys, default=0) for _, ys in series.values()), default=0) >= _MANY:
        axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color=_INK, alpha=0.12)
    if len(series) > 1:
        _legend(axes, len(series))
    return _svg(figure, title)


def timeline(spans: Sequence[Span], *, title: str) -> str:
    """
    Draw what happened when: a lane for each thing, a colour for each label.

    Args:
        spans: What happened, in seconds; lanes and labels in the order of the first.
        title: What the picture shows.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    lanes = list(dict.fromkeys(lane for lane, *_ in spans))
    labels = list(dict.fromkeys(label for *_, label in spans))
    unit, scale = _unit(max((stop for _, _, stop, _ in spans), default=1.0))
    figure, axes = _axes(title, height=1.3 + 0.42 * max(len(lanes), 1))
    for i, label in enumerate(labels):
        own = [span for span in spans if span[3] == label]
        axes.barh(
            [lanes.index(lane) for lane, *_ in own],
            [(stop - start) / scale for _, start, stop, _ in own],
            left=[start / scale for _, start, *_ in own],
            height=0.6,
            color=COLOURS[i % len(COLOURS)],
            label=label,
        )
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_xlabel(unit, color=_INK)
    axes.grid(axis="x", color=_INK, alpha=0.12)
    if labels:
        _legend(axes, len(labels))
    return _svg(figure, title)


def _unit(seconds: float) -> tuple[str, float]:
    return next((pair for pair in _SECONDS if seconds >= pair[1]), _SECONDS[-1])


# --- matplotlib --------------------------------------------------------------------


def _axes(title: str, *, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - an extra
            Figure,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "plots") from error
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", pad=10, **_TITLE)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_INK)
        spine.set_alpha(0.4)
    return figure, axes


def _legend(axes: Any, n: int) -> None:
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=24, **_TITLE)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(n, 6),
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        borderaxespad=0.2,
        borderpad=0,
        handlelength=1.2,
        columnspacing=1.4,
    )


_ID: Final = re.compile(r'(\bid="|xlink:href="#|url\(#)')


def _svg(figure: Any, title: str) -> str:
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    drawn = file.getvalue()
    svg = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
    # Several pictures stand in one page, where names have to differ.
    own = f"{zlib.crc32(svg.encode()):08x}-"
    svg = _ID.sub(lambda match: match[1] + own, svg)
    label = f'<svg role="img" aria-label="{escape(title)}"'
    return svg.replace("<svg", label, 1)
