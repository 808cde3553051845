"""
Key points of a walker: their order, those that are missing, their place and scale.

T frames; 17 key points as in COCO, nose, eyes, ears, shoulders, elbows, wrists, hips,
knees and ankles, left before right; each x, y (pixels) and confidence (0 to 1). A zero
is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.levels import array_of

__all__ = [
    "Weights",
    "check_keypoints",
    "from_openpose",
    "impute_keypoints",
    "place_keypoints",
]

Keypoints: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = Literal["distance", "uniform"]
"""Whether nearer frames count more."""

_OPENPOSE: Final = {
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
}
_COUNT: Final = 17
_HIPS: Final = (11, 12)
_NEIGHBOURS: Final = 4
_FILL: Final = 1.5  # a canvas is so many times as high as the walker


def from_openpose(keypoints: Any, /) -> Keypoints:
    """
    Return key points of OpenPose in the order of COCO.

    Args:
        keypoints: ``(T, 18, 3)``, or ``(T, 25, 3)`` of the model BODY_25.

    Returns:
        ``(T, 17, 3)``, float64.

    Raises:
        InputValueError: If they are shaped otherwise.

    Examples:
        >>> from_openpose(np.arange(18)[None, :, None].repeat(3, axis=2))[0, 5:7, 0]
        array([5., 2.])
    """
    array = array_of(keypoints, "key points").astype(np.float64)
    if array.ndim != 3 or array.shape[1] not in _OPENPOSE or array.shape[2] != 3:  # noqa: PLR2004
        raise InputValueError(
            "key points of OpenPose are shaped (T, 18, 3) or (T, 25, 3), got "
            f"{array.shape}"
        )
    return array[:, list(_OPENPOSE[array.shape[1]])]


def check_keypoints(keypoints: Any, /) -> Keypoints:
    """
    Return key points as float64 ``(T, 17, 3)``.

    Raises:
        InputTypeError: If they are no numbers.
        InputValueError: If they are shaped otherwise or hold what is no key point.
    """
    array = array_of(keypoints, "key points").astype(np.float64)
    if array.ndim != 3 or array.shape[1:] != (_COUNT, 3):  # noqa: PLR2004
        hint = (
            "; from_openpose() puts them in order"
            if array.shape[1:2] in {(n,) for n in _OPENPOSE}
            else ""
        )
        raise InputValueError(
            f"key points are shaped (T, 17, 3), x, y and confidence, got "
            f"{array.shape}{hint}"
        )
    if not np.isfinite(array).all():
        raise InputValueError("key points that are missing are zeros, got NaN or inf")
    if array.size and not 0 <= array[..., 2].min() <= array[..., 2].max() <= 1:
        raise InputValueError(
            "the confidence of key points is from 0 to 1, got "
            f"{array[..., 2].min():g} to {array[..., 2].max():g}"
        )
    return array


def impute_keypoints(keypoints: Any, /, *, weights: Weights = "distance") -> Keypoints:
    """
    Fill zeros in with what the four most similar frames have there.

    Frames are as far apart as the numbers that both have. Where no frame with the
    number has another one in common, it is the mean of all; what is zero in
    every frame stays zero.

    Args:
        keypoints: ``(T, 17, 3)``.
        weights: ``"distance"``, the nearer the more, or ``"uniform"``.

    Returns:
        ``(T, 17, 3)``, float64.

    Raises:
        InputTypeError: If they are no numbers.
        InputValueError: If they are shaped otherwise or hold what is no key point.
    """
    if weights not in ("distance", "uniform"):
        raise InputValueError(f"weights is 'distance' or 'uniform', got {weights!r}")
    array = check_keypoints(keypoints)
    table = array.reshape(len(array), _COUNT * 3)
    known = table != 0
    distances = _distances(table, known)
    filled = table.copy()
    for i, j in np.argwhere(~known & known.any(axis=0)):
        donors = np.flatnonzero(known[:, j])
        filled[i, j] = _mean(table[donors, j], distances[i, donors], weights)
    return filled.reshape(array.shape)


def _distances(table: NDArray[np.float64], known: NDArray[np.bool_]) -> Any:
    """Return ``(T, T)``, NaN where two frames have nothing in common."""
    squares = np.empty((len(table), len(table)))
    for i, row in enumerate(table):  # by row: all at once is T times the memory
        both = known & known[i]
        count = both.sum(axis=1)
        apart = (np.square(table - row) * both).sum(axis=1)
        scale = table.shape[1] / np.maximum(count, 1)
        squares[i] = np.where(count > 0, apart * scale, np.nan)
    return np.sqrt(squares)


def _mean(values: Any, distances: Any, weights: Weights) -> float:
    comparable = ~np.isnan(distances)
    if not comparable.any():
        return float(values.mean())
    values, distances = values[comparable], distances[comparable]
    nearest = np.argsort(distances, kind="stable")[:_NEIGHBOURS]
    values, distances = values[nearest], distances[nearest]
    if weights == "uniform":
        return float(values.mean())
    if not distances.all():
        return float(values[distances == 0].mean())
    return float(np.average(values, weights=1 / distances))


def place_keypoints(
    keypoints: Keypoints, canvas: int, /
) -> tuple[Keypoints, list[str | None]]:
    """
    Return walkers of one height, their hips in the middle of a square *canvas*.

    What is zero in every frame is left out of account.

    Args:
        keypoints: ``(T, 17, 3)``, filled in.
        canvas: The side of the square, pixels.

    Returns:
        ``(T, 17, 3)``, and of each frame why it cannot be placed, or None.
    """
    seen: NDArray[np.bool_] = (keypoints != 0).any(axis=0).any(axis=1)
    hips = [hip for hip in _HIPS if seen[hip]]
    if not hips:
        return keypoints, ["no hip was seen in any frame"] * len(keypoints)
    middle = keypoints[:, hips, :2].mean(axis=1, keepdims=True)
    heights = keypoints[:, seen, 1]
    extent = heights.max(axis=1) - heights.min(axis=1)
    scale = canvas // _FILL / np.where(extent > 0, extent, 1)
    placed = keypoints.copy()
    placed[..., :2] -= middle
    placed[..., :2] *= scale[:, None, None]
    placed[..., :2] += canvas // 2
    flat = "its key points are all at one height"
    return placed, [None if high > 0 else flat for high in extent]
