"""
Maps of labels, one a body part, as 8-bit numbers that are never scaled.

T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing.levels import array_of

__all__ = ["label_frames", "to_labels"]

_MOST: Final = 255


def label_frames(maps: Any, /) -> Iterator[NDArray[np.uint8]]:
    """
    Yield each of *maps* as labels ``(H, W)``.

    Raises:
        InputTypeError: If they are no numbers.
        InputValueError: If they are no maps of labels.
    """
    if hasattr(maps, "__array__"):
        maps = array_of(maps, "a sequence of maps")
        if maps.ndim != 3:  # noqa: PLR2004 - frames, rows, columns
            raise InputValueError(
                f"a sequence of maps is shaped (T, H, W), got {maps.shape}"
            )
    if isinstance(maps, (str, bytes, dict)) or not isinstance(maps, Iterable):
        raise InputTypeError(
            "maps are an array (T, H, W) or an iterable of maps (H, W), got "
            f"{type(maps).__name__}; read_frames() reads files"
        )
    for i, plane in enumerate(maps):
        labels = to_labels(plane, what=f"map {i}")
        if labels.ndim != 2 or not labels.size:  # noqa: PLR2004 - rows, columns
            raise InputValueError(f"map {i} is shaped {labels.shape}, and not (H, W)")
        yield labels


def to_labels(
    values: Any, /, *, most: int = _MOST, what: str = "parsing"
) -> NDArray[np.uint8]:
    """
    Return *values* as labels from 0 to *most*.

    Raises:
        InputTypeError: If they are no numbers, or booleans.
        InputValueError: If they are not whole, or others.
    """
    array = array_of(values, what)
    if array.dtype.kind == "b":
        raise InputTypeError(f"{what} has to be labels, got bool, which is a mask")
    least, highest = (array.min(), array.max()) if array.size else (0, 0)
    is_whole = array.dtype.kind in "ui" or bool((array == np.floor(array)).all())
    if not (is_whole and 0 <= least <= highest <= most):
        raise InputValueError(
            f"{what} holds labels, whole numbers from 0 to {most}, got "
            f"{'' if is_whole else 'parts of '}{float(least):g} to {float(highest):g}"
            "; scaled labels cannot be told apart"
        )
    return array.astype(np.uint8, copy=False)
