"""
Raw masks of a walker as the small squares that gait models take.

As the official pretreatment: rows cropped to the walker and resized to the side,
columns in proportion and cut round the middle. A mask that is squeezed into
the square instead is another input, on which the models were not trained. T frames,
H height, W width, S side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfussy.models.gait.preprocessing.framing import check_size, cut, frame_walker
from unfussy.models.gait.preprocessing.kept import KeptFrames
from unfussy.models.gait.preprocessing.labels import label_frames
from unfussy.models.gait.preprocessing.levels import ValueRange, level_frames

__all__ = ["cut_labels", "normalize_parsing", "normalize_silhouettes"]


def normalize_silhouettes(
    frames: Any, /, size: int = 64, *, value_range: ValueRange | None = None
) -> KeptFrames:
    """
    Cut a square round the walker out of each mask.

    A frame is dropped if its levels add up to 10,000 or less (40 white pixels), or if
    the walker has no middle column.

    Args:
        frames: ``(T, H, W)``, or an iterable of frames ``(H, W)`` of any sizes, such as
            `iter_frames` gives: booleans, 0 and 1, or 0 to 255.
        size: The side of the squares, 64 or 128 for the official models.
        value_range: The numbers of background and walker, of floats and wherever the
            largest number does not tell.

    Returns:
        Silhouettes ``(n, size, size)``, uint8, with which frames were dropped and why.

    Raises:
        InputTypeError: If *frames* are no numbers.
        InputValueError: If they are no frames, or their range is not known.

    Examples:
        >>> masks = np.zeros((2, 480, 640), dtype=bool)
        >>> masks[0, 100:400, 250:350] = True
        >>> walk = normalize_silhouettes(masks)
        >>> walk.frames.shape
        (1, 64, 64)
        >>> print(walk)
        1 of 2 frames kept
        frame 1: too small: its levels add up to 0, not to more than 10000
    """
    check_size(size)
    levels = level_frames(frames, value_range)
    return KeptFrames.gather((cut(plane, size) for plane in levels), _none(size))


def normalize_parsing(maps: Any, /, size: int = 64) -> KeptFrames:
    """
    Cut a square round the walker out of each map of labels.

    It is cut like the mask of all labels but 0, so that the squares of both fit.

    Args:
        maps: ``(T, H, W)``, or an iterable of maps ``(H, W)`` of any sizes: whole
            numbers from 0, background, to 255.
        size: As in `normalize_silhouettes`.

    Returns:
        Maps ``(n, size, size)``, uint8, their labels kept, with which were dropped.

    Raises:
        InputTypeError: If *maps* are no numbers.
        InputValueError: If they are no maps of labels.

    Examples:
        >>> maps = np.zeros((1, 480, 640), dtype=np.uint8)
        >>> maps[0, 100:250, 250:350] = 2
        >>> maps[0, 250:400, 250:350] = 7
        >>> np.unique(normalize_parsing(maps)).tolist()
        [0, 2, 7]
    """
    check_size(size)
    return KeptFrames.gather(cut_labels(maps, size), _none(size))


def cut_labels(maps: Any, size: int, /) -> Iterator[NDArray[np.uint8] | str]:
    """Yield the square round the walker of each map, or why there is none."""
    for labels in label_frames(maps):
        mask = (labels > 0).astype(np.uint8) * np.uint8(255)
        found = frame_walker(mask, size)
        yield found if isinstance(found, str) else found[0].cut_nearest(labels, size)


def _none(size: int) -> NDArray[np.uint8]:
    return np.empty((0, size, size), dtype=np.uint8)
