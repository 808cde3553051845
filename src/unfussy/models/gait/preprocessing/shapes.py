"""
Measures of a walker's outline: how large, how wide, how whole, how like the last one.

T frames, H height, W width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.models.gait.preprocessing.framing import cut, find_box
from unfussy.models.gait.preprocessing.resizing import nearest_places

__all__ = ["border_share", "hole_share", "likeness", "outline"]

_SIDE: Final = 64
_SOLID: Final = 128  # of 255: from here on a pixel belongs to the walker


def outline(levels: NDArray[np.uint8], /) -> NDArray[np.bool_] | None:
    """Return the part of a frame ``(H, W)`` that the walker fills; None if none."""
    mask = levels >= _SOLID
    box = find_box(mask.view(np.uint8))
    return None if box is None else mask[box]


def border_share(levels: NDArray[np.uint8], /, *, vertical: bool) -> float:
    """
    Return how much of a walker's outline ends at the border of the frame.

    The largest part of a side of its box that lies on the border and is filled.

    Args:
        levels: ``(H, W)``.
        vertical: Whether top and bottom count as well.
    """
    walker = outline(levels)
    if walker is None:
        return 1.0
    mask = levels >= _SOLID
    sides = [(mask[:, 0], len(walker)), (mask[:, -1], len(walker))]
    if vertical:
        width = walker.shape[1]
        sides += [(mask[0], width), (mask[-1], width)]
    return max(float(side.sum()) / length for side, length in sides)


def hole_share(levels: NDArray[np.uint8], /) -> float:
    """Return the holes of a walker ``(H, W)``, as a part of what it fills."""
    walker = outline(levels)
    if walker is None:
        return 1.0
    small = np.pad(_reduced(walker), 1)
    holes = ~small & ~_outside(~small)
    return float(holes.sum()) / max(int(small.sum() + holes.sum()), 1)


def likeness(levels: list[NDArray[np.uint8]], /) -> NDArray[np.float64]:
    """
    Return how like the next frame, or the one before, each frame is.

    It is the larger intersection over union of the squares round the walker, 0 for
    frames without one, 1 for a frame that is alone.
    """
    squares = [cut(plane, _SIDE) for plane in levels]
    found = [i for i, square in enumerate(squares) if not isinstance(square, str)]
    alike = np.zeros(len(levels))
    masks = [np.asarray(squares[i]) >= _SOLID for i in found]
    steps = [_overlap(a, b) for a, b in pairwise(masks)]
    around = zip([0.0, *steps], [*steps, 0.0]) if steps else [(1.0, 1.0)]
    for i, pair in zip(found, around):
        alike[i] = max(pair)
    return alike


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum()) / max(int((a | b).sum()), 1)


def _reduced(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return *mask* no larger than needed: holes of a pixel are noise."""
    rows, columns = (nearest_places(n, min(n, _SIDE)) for n in mask.shape)
    return mask[rows[:, None], columns]


def _outside(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which *free* pixels can be reached from the corner, by straight steps."""
    reached = np.zeros_like(free)
    reached[0, 0] = True
    while True:
        before = reached.copy()
        for view in (reached, reached.T):
            _spread(view, free if view is reached else free.T)
        if (before == reached).all():
            return reached


def _spread(reached: Any, free: Any) -> None:
    """Carry *reached* down and up the columns, in place."""
    n = len(reached)
    for i in range(1, n):
        reached[i] |= reached[i - 1] & free[i]
    for i in range(n - 2, -1, -1):
        reached[i] |= reached[i + 1] & free[i]
