"""
Skeleton maps: key points as pictures of limbs and of joints.

Gaussians round joints (Duan et al., PoseC3D, 2022) and round limbs, by the distance to
the segment, as strong as the less certain end. T frames, C the side of the canvas they
are drawn on, S that of a map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy.models.gait.preprocessing.framing import check_size
from unfussy.models.gait.preprocessing.kept import KeptFrames
from unfussy.models.gait.preprocessing.keypoints import (
    Weights,
    impute_keypoints,
    place_keypoints,
)
from unfussy.models.gait.preprocessing.resizing import resize_area

__all__ = ["LIMBS", "skeleton_maps"]

LIMBS: Final = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # head
    *((0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10)),  # arms, from the nose
    *((5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16), (11, 12)),
)
"""Which key points are joined."""

Keypoints: TypeAlias = NDArray[np.float64]
Levels: TypeAlias = NDArray[np.uint8]

_JOINTS: Final = tuple((i, i) for i in range(17))
_CANVAS: Final = 128
_SIGMA: Final = 8.0
_REACH: Final = 3  # sigmas, beyond which there is nothing
_FAINT: Final = 1e-4


def skeleton_maps(
    keypoints: Any, /, size: int = 64, *, weights: Weights = "distance"
) -> KeptFrames:
    """
    Draw key points as SkeletonGait and SkeletonGait++ take them.

    Zeros are filled in by `impute_keypoints`; key points that no frame has are not
    drawn. Each walker is as high as every other, the hips in the middle.

    Args:
        keypoints: ``(T, 17, 3)``, in the order of COCO: x and y in pixels of any
            picture, and a confidence from 0 to 1. `from_openpose` changes the order.
        size: The side of the maps.
        weights: How zeros are filled in, as in `impute_keypoints`.

    Returns:
        Maps ``(n, 2, size, size)``, uint8, limbs before joints, with which frames were
        dropped and why.

    Raises:
        InputTypeError: If *keypoints* are no numbers.
        InputValueError: If they are shaped otherwise or hold what is no key point.
    """
    check_size(size)
    placed, faults = place_keypoints(
        impute_keypoints(keypoints, weights=weights), _CANVAS
    )
    none = np.empty((0, 2, size, size), dtype=np.uint8)
    made = (_made(points, fault, size) for points, fault in zip(placed, faults))
    return KeptFrames.gather(made, none)


def _made(points: Keypoints, fault: str | None, size: int) -> Levels | str:
    """Return the maps of one frame ``(2, S, S)``, or why there are none."""
    if fault is not None:
        return fault
    squares = [_square(_drawn(points, pairs)) for pairs in (LIMBS, _JOINTS)]
    if not all(map(len, squares)):
        return "no key point is certain enough to be drawn"
    return np.stack([resize_area(square, size) for square in squares])


def _drawn(points: Keypoints, pairs: Iterable[tuple[int, int]]) -> Levels:
    """Return a picture ``(C, C)`` of the segments between *pairs* of points."""
    canvas = np.zeros((_CANVAS, _CANVAS), dtype=np.float32)
    for first, second in pairs:
        strength = min(points[first, 2], points[second, 2])
        if strength >= _FAINT:
            _brighten(canvas, points[first, :2], points[second, :2], strength)
    levels: Levels = (canvas * 255).astype(np.uint8)
    return levels


def _brighten(canvas: NDArray[np.float32], a: Any, b: Any, strength: float) -> None:
    """Draw the segment from *a* to *b*, in place, where it is brighter."""
    columns, rows = (_extent(*ends) for ends in zip(a, b))
    x = np.arange(_CANVAS)[columns] - a[0]
    y = (np.arange(_CANVAS)[rows] - a[1])[:, None]
    along = b - a
    squared = along @ along
    if squared >= 1:  # what is shorter than a pixel is drawn as a point
        part = np.clip((x * along[0] + y * along[1]) / squared, 0, 1)
        x, y = x - part * along[0], y - part * along[1]
    glow = np.exp((x * x + y * y) / (-2 * _SIGMA**2)) * strength
    window = canvas[rows, columns]
    np.maximum(window, glow.astype(np.float32), out=window)


def _extent(a: float, b: float) -> slice:
    reach = _REACH * _SIGMA
    return slice(max(int(min(a, b) - reach), 0), max(int(max(a, b) + reach) + 1, 0))


def _square(picture: Levels) -> Levels:
    """Return the rows that hold something, and as many columns of the middle."""
    rows = np.flatnonzero(picture.max(axis=1))
    if not len(rows):
        return picture[:0]
    height = int(rows[-1] - rows[0]) + 1
    left = _CANVAS // 2 - height // 2
    return picture[rows[0] : rows[-1] + 1, left : left + height]
