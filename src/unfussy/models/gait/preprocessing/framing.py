"""
Where a walker stands in a frame, and the square that is cut round it.

The rows that hold the walker become S rows; the columns follow in proportion and are
cut round the one that halves the pixels. H by W is a frame, S the side of a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.resizing import (
    CubicTaps,
    bicubic,
    cubic_taps,
    nearest_places,
)

__all__ = ["Framing", "check_size", "cut", "find_box", "frame_walker"]

_LEAST_SUM: Final = 10_000  # of levels: 40 white pixels, which are no walker
_NO_CENTRE: Final = "no centre: no column past the first one halves its pixels"
_REACH: Final = 4  # pixels beside one that bicubic interpolation may look at


@dataclass(frozen=True, slots=True)
class Framing:
    """
    How a frame is cut.

    Attributes:
        top: The first row that holds the walker.
        bottom: The row after the last one.
        width: How wide the frame is where those rows are resized to the side.
        start: The first column of the square in that width; below 0 there is nothing.
    """

    top: int
    bottom: int
    width: int
    start: int

    def cut_nearest(self, labels: NDArray[Any], size: int) -> NDArray[Any]:
        """Return the square of *labels* ``(H, W)``, without new values."""
        rows = self.top + nearest_places(self.bottom - self.top, size)
        columns = nearest_places(labels.shape[1], self.width)
        first, last = max(self.start, 0), min(self.start + size, self.width)
        square = np.zeros((size, size), dtype=labels.dtype)
        inside = labels[rows[:, None], columns[first:last]]
        square[:, first - self.start : last - self.start] = inside
        return square


def check_size(size: Any, /) -> None:
    """
    Check the side of the squares to be cut.

    Raises:
        InputValueError: If it is no even number above 0.
    """
    if not isinstance(size, int) or size <= 0 or size % 2:
        raise InputValueError(f"size is the side in pixels, an even number, got {size}")


def cut(levels: NDArray[np.uint8], size: int, /) -> NDArray[np.uint8] | str:
    """Return the square round a walker, or why there is none."""
    found = frame_walker(levels, size)
    return found if isinstance(found, str) else found[1]


def frame_walker(
    levels: NDArray[np.uint8], size: int, /
) -> tuple[Framing, NDArray[np.uint8]] | str:
    """Return how a frame ``(H, W)`` is cut and what comes, or why it cannot be."""
    box = find_box(levels)
    total = int(levels[box].sum(dtype=np.int64)) if box else 0
    if box is None or total <= _LEAST_SUM:
        return f"too small: its levels add up to {total}, not to more than {_LEAST_SUM}"
    rows, columns = box
    height = rows.stop - rows.start
    width = int(size * (levels.shape[1] / height))
    if not width:
        return _NO_CENTRE
    places, resized = _resized(levels[rows], columns, size, width)
    sums = resized.sum(axis=0, dtype=np.int64).cumsum()
    middle = np.flatnonzero(sums > sums[-1:] / 2)
    centre = int(places[middle[0]]) if len(middle) else 0
    if centre == 0:
        return _NO_CENTRE
    framing = Framing(rows.start, rows.stop, width, centre - size // 2)
    return framing, _placed(resized, places - framing.start, size)


def find_box(levels: NDArray[np.uint8], /) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold the walker, or None if none does."""
    rows = np.flatnonzero(levels.max(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(levels[rows[0] : rows[-1] + 1].max(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(
        int(columns[0]), int(columns[-1]) + 1
    )


def _resized(
    rows: NDArray[np.uint8], columns: slice, size: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the resized columns that are not all background, and their places."""
    taps = cubic_taps(rows.shape[1], width)
    touched = (taps.places >= columns.start) & (taps.places < columns.stop)
    places = np.flatnonzero(touched.any(axis=1))
    left = max(columns.start - _REACH, 0)
    near = rows[:, left : columns.stop + _REACH]
    chosen = taps.at(places)
    shifted = CubicTaps(chosen.places - left, chosen.weights)
    return places, bicubic(near, cubic_taps(len(rows), size), shifted)


def _placed(
    columns: NDArray[np.uint8], places: NDArray[np.int64], size: int
) -> NDArray[np.uint8]:
    square = np.zeros((size, size), dtype=np.uint8)
    inside = (places >= 0) & (places < size)
    square[:, places[inside]] = columns[:, inside]
    return square
