"""
Resizing of 8-bit pictures by bicubic, nearest and area interpolation.

The numbers are those of OpenCV, which the official scripts use: nearest and area to the
bit, bicubic but for about one pixel of 100,000, which is off by one level. H, W, from
which to h, w; S the side of a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CubicTaps",
    "bicubic",
    "cubic_taps",
    "nearest_places",
    "resize_area",
    "resize_bicubic",
    "resize_nearest",
]

Levels: TypeAlias = NDArray[np.uint8]

_SHARPNESS: Final = -0.75  # `a` in Keys, 1981
_FIXED: Final = 2048  # OpenCV interpolates 8-bit pictures with weights of 11 bits


# --- bicubic -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CubicTaps:
    """
    What n pixels of a resized row are made of.

    Attributes:
        places: ``(n, 4)``, which pixels of the original.
        weights: ``(n, 4)``, float32.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float32]

    def at(self, chosen: Any) -> CubicTaps:
        """Return those of the *chosen* pixels only."""
        return CubicTaps(self.places[chosen], self.weights[chosen])


def cubic_taps(old: int, new: int, /) -> CubicTaps:
    """Return the taps that make *new* pixels of *old* ones, without antialiasing."""
    centres = (np.arange(new) + 0.5) * (1 / (new / old)) - 0.5
    first = np.floor(centres)
    distances = centres[:, None] - (first[:, None] + np.arange(-1, 3))
    places = np.clip(first.astype(np.int64)[:, None] + np.arange(-1, 3), 0, old - 1)
    return CubicTaps(places, _keys(np.abs(distances)).astype(np.float32))


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cubic convolution kernel (Keys, 1981) at distances *x*."""
    a = _SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)


def bicubic(image: Levels, rows: CubicTaps, columns: CubicTaps, /) -> Levels:
    """Return the pixels *rows* by *columns* of the resized *image*."""
    lines = image[rows.places.ravel()].astype(np.float32)  # (4 h, W)
    pixels = [lines[:, columns.places[:, i]] for i in range(4)]
    across = _weighted(pixels, columns.weights.T).reshape(len(rows.places), 4, -1)
    blended = _weighted(across.swapaxes(0, 1), rows.weights.T[..., None])
    rounded: Levels = np.clip(np.floor(blended + 0.5), 0, 255).astype(np.uint8)
    return rounded


def _weighted(values: Any, weights: Any) -> NDArray[np.float32]:
    # In pairs: the order decides which pixels are rounded the other way.
    first = values[0] * weights[0] + values[1] * weights[1]
    result: NDArray[np.float32] = first + (
        values[2] * weights[2] + values[3] * weights[3]
    )
    return result


def resize_bicubic(image: Levels, height: int, width: int, /) -> Levels:
    """
    Return *image* ``(H, W)`` at another size, by bicubic interpolation.

    >>> resize_bicubic(np.array([[0, 255]], dtype=np.uint8), 1, 4)
    array([[  0,  58, 197, 255]], dtype=uint8)
    """
    rows = cubic_taps(image.shape[0], height)
    return bicubic(image, rows, cubic_taps(image.shape[1], width))


# --- nearest -----------------------------------------------------------------------


def nearest_places(old: int, new: int, /) -> NDArray[np.int64]:
    """Return which of *old* pixels each of *new* ones is."""
    # Not `i * old // new`: where that is whole, OpenCV may round down below it.
    places = np.floor(np.arange(new) * (1 / (new / old))).astype(np.int64)
    within: NDArray[np.int64] = np.minimum(places, old - 1)
    return within


def resize_nearest(image: NDArray[Any], height: int, width: int, /) -> NDArray[Any]:
    """
    Return *image* ``(H, W)`` at another size, without new values.

    >>> resize_nearest(np.array([[1, 2, 3]]), 1, 2)
    array([[1, 2]])
    """
    rows = nearest_places(image.shape[0], height)
    return image[rows][:, nearest_places(image.shape[1], width)]


# --- area --------------------------------------------------------------------------


def resize_area(image: Levels, side: int, /) -> Levels:
    """
    Return a square *image* at another size, each pixel the mean of what it covers.

    Where it grows, what changes is interpolated, and what is whole stays whole.

    >>> resize_area(np.array([[0, 4], [4, 8]], dtype=np.uint8), 1)
    array([[4]], dtype=uint8)
    """
    old = len(image)
    if old < side:
        return _grown(image, side)
    if old == 2 * side:
        blocks = image.astype(np.int64).reshape(side, 2, side, 2).sum((1, 3))
        quarters: Levels = ((blocks + 2) >> 2).astype(np.uint8)
        return quarters
    shares = _shares(old, side)
    means = shares @ image.astype(np.float32) @ shares.T
    rounded: Levels = np.clip(np.rint(means), 0, 255).astype(np.uint8)
    return rounded


def _shares(old: int, new: int) -> NDArray[np.float32]:
    """Return how much of each of *new* pixels each of *old* ones makes."""
    edges = np.arange(new + 1)[:, None] * (old / new)
    covered = np.clip(edges - np.arange(old), 0, 1)  # by all pixels before an edge
    shares = np.diff(covered, axis=0)
    # OpenCV leaves out slivers.
    return (np.where(shares > 1e-3, shares, 0) / (old / new)).astype(np.float32)  # noqa: PLR2004


def _grown(image: Levels, side: int) -> Levels:
    old = len(image)
    first = nearest_places(old, side)
    second = np.minimum(first + 1, old - 1)
    past = np.arange(1, side + 1) - (first + 1) * (side / old)  # how far into the next
    part = np.where(past > 0, past - np.floor(past), 0).astype(np.float32)
    part = np.where(first < old - 1, part, np.float32(0))
    far = np.rint(part * _FIXED).astype(np.int64)
    near = np.rint((1 - part) * _FIXED).astype(np.int64)
    across = image[:, first].astype(np.int64) * near + image[:, second] * far
    upper = (across[first] >> 4) * near[:, None] >> 16
    lower = (across[second] >> 4) * far[:, None] >> 16
    blended: Levels = (upper + lower + 2 >> 2).astype(np.uint8)
    return blended
