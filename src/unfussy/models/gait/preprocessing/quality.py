"""
How good the frames of a walk are, measured and, if asked, acted upon.

Nothing calls this by itself: the official models are measured on all frames, and a
walk without some of them is another input. T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing.kept import KeptFrames
from unfussy.models.gait.preprocessing.labels import label_frames
from unfussy.models.gait.preprocessing.levels import ValueRange, level_frames
from unfussy.models.gait.preprocessing.quality_report import (
    QualityLimits,
    QualityReport,
)
from unfussy.models.gait.preprocessing.sequences import KeptSequence, select_frames
from unfussy.models.gait.preprocessing.shapes import (
    border_share,
    hole_share,
    likeness,
    outline,
)

__all__ = ["assess_quality", "drop_poor_frames"]

_ASPECTS: Final = (0.2, 0.9)  # width to height, of walkers from any side
_AROUND: Final = 4  # frames before and after


def assess_quality(
    frames: Any,
    /,
    *,
    limits: QualityLimits | None = None,
    normalized: bool = False,
    value_range: ValueRange | None = None,
) -> QualityReport:
    """
    Measure how good each frame of a walk is; nothing is dropped.

    Args:
        frames: Silhouettes, as `normalize_silhouettes` takes them.
        limits: The least scores of a good frame.
        normalized: Whether the frames are squares cut round the walker, who touches
            top and bottom of all of them.
        value_range: As in `normalize_silhouettes`.

    Raises:
        InputTypeError: If *frames* are no numbers.
        InputValueError: If they are no frames, or their range is not known.

    Examples:
        >>> masks = np.zeros((9, 480, 640), dtype=bool)
        >>> masks[:, 100:400, 250:350] = True
        >>> masks[4, :300] = False  # the upper half is missing
        >>> [frame.index for frame in assess_quality(masks).poor]
        [4]
    """
    levels = list(level_frames(frames, value_range))
    whole = [_completeness(plane, vertical=not normalized) for plane in levels]
    areas, heights, aspects = _outlines(levels)
    return QualityReport(
        _usual(areas, heights),
        _plausible(aspects),
        np.array(whole, dtype=np.float64),
        likeness(levels),
        limits or QualityLimits(),
    )


def drop_poor_frames(
    sequence: Any,
    /,
    *,
    report: QualityReport | None = None,
    limits: QualityLimits | None = None,
    normalized: bool = False,
    value_range: ValueRange | None = None,
) -> KeptFrames | KeptSequence:
    """
    Return a walk without its poor frames, and which they were.

    Args:
        sequence: Silhouettes ``(T, H, W)``, or a mapping of arrays, one a part of the
            walk, frame for frame. Its ``silhouettes`` are judged, otherwise its
            ``parsing``; all parts lose the same frames.
        report: What `assess_quality` said of it, otherwise that is called here.
        limits: As in `assess_quality`.
        normalized: As in `assess_quality`.
        value_range: As in `assess_quality`.

    Returns:
        Of silhouettes, `KeptFrames`; of a mapping, `KeptSequence`.

    Raises:
        InputTypeError: If there is nothing to judge by.
        InputValueError: If the parts, or the report, differ in length.

    Examples:
        >>> masks = np.zeros((9, 480, 640), dtype=bool)
        >>> masks[:, 100:400, 250:350] = True
        >>> masks[4, :300] = False
        >>> drop_poor_frames({"silhouettes": masks, "parsing": masks * 1}).kept.tolist()
        [0, 1, 2, 3, 5, 6, 7, 8]
    """
    parts = sequence if isinstance(sequence, Mapping) else {"silhouettes": sequence}
    if report is None:
        report = assess_quality(
            _judged(parts),
            limits=limits,
            normalized=normalized,
            value_range=value_range if "silhouettes" in parts else None,
        )
    elif limits is not None:
        raise InputValueError("limits are those of the report: pass only one of them")
    left = select_frames(parts, report.kept, len(report))
    if isinstance(sequence, Mapping):
        return KeptSequence(left, report.kept, report.poor)
    return KeptFrames(left["silhouettes"], report.kept, report.poor)


def _judged(parts: Mapping[str, Any]) -> Any:
    if "silhouettes" in parts:
        return parts["silhouettes"]
    if "parsing" in parts:
        return [labels > 0 for labels in label_frames(parts["parsing"])]
    raise InputTypeError(
        "quality is that of silhouettes or parsing, and the sequence has "
        f"{', '.join(map(repr, parts)) or 'nothing'}"
    )


def _completeness(levels: NDArray[np.uint8], *, vertical: bool) -> float:
    return (1 - border_share(levels, vertical=vertical)) * (1 - hole_share(levels))


def _outlines(levels: list[NDArray[np.uint8]]) -> Any:
    """Return areas, heights, and widths to heights; 0 without a walker."""
    walkers = [outline(plane) for plane in levels]
    measured = [
        (0.0, 1.0, 0.0) if x is None else (x.sum(), len(x), x.shape[1] / len(x))
        for x in walkers
    ]
    return np.array(measured, dtype=np.float64).reshape(-1, 3).T


def _usual(areas: NDArray[np.float64], heights: NDArray[np.float64]) -> Any:
    """Return how near areas are to those around, and for their height to all."""
    starts = np.maximum(np.arange(len(areas)) - _AROUND, 0)
    around = [_median(areas[i : i + 2 * _AROUND + 1]) for i in starts]
    fills = areas / heights**2
    return np.minimum(_ratio(areas, around), _ratio(fills, _median(fills)))


def _median(areas: NDArray[np.float64]) -> float:
    filled = areas[areas > 0]
    return float(np.median(filled)) if len(filled) else 1.0


def _ratio(values: NDArray[np.float64], others: Any) -> Any:
    return np.minimum(values, others) / np.maximum(values, others)


def _plausible(aspects: NDArray[np.float64]) -> NDArray[np.float64]:
    least, most = _ASPECTS
    narrow = aspects / least
    wide = most / np.maximum(aspects, least)
    scores: NDArray[np.float64] = np.minimum(1.0, np.minimum(narrow, wide))
    return scores
