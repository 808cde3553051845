"""
Boxes of whole heads, from where their points are in the picture.

F faces, P points. The points reach from the brows to the chin; the box is a tenth wider
than they are, and reaches up to the hair by three tenths more, whichever side is up.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from unfussy.models.img2pose.poses import Floats32, PictureSize
from unfussy.models.img2pose.rotations import Floats

__all__ = ["boxes_around"]

_WIDER: Final = 1.1
_FOREHEAD: Final = 0.3
_UPSIDE_DOWN: Final = 2.5  # radians about the line of sight
_ASIDE: Final = 1.0
_FAR: Final = 2.0**31 - 1024


def boxes_around(points: Floats, rolls: Floats, size: PictureSize, /) -> Floats32:
    """
    Return the boxes of heads, in whole pixels, cut off at the picture's edges.

    A head that is outside the picture has its box there too, with one side beyond the
    edge and the other on it.

    Args:
        points: ``(F, P, 2)``, pixels.
        rolls: ``(F,)``, the third component of the rotation vectors.
        size: Of the picture, its height and width.

    Returns:
        ``(F, 4)``: left, top, right, bottom.
    """
    height, width = size
    boxes = np.trunc(_widened(points, rolls))
    # NaN or too far for the whole numbers of the original.
    boxes = np.clip(np.nan_to_num(boxes, nan=-_FAR), -_FAR, _FAR)
    boxes[:, :2] = np.maximum(boxes[:, :2], 0)
    boxes[:, 2:] = np.minimum(boxes[:, 2:], (width, height))
    single: Floats32 = boxes.astype(np.float32)
    return single


def _widened(points: Floats, rolls: Floats) -> Floats:
    least, most = points.min(1), points.max(1)
    ranges = most - least
    half = np.trunc(ranges * _WIDER) * 0.5
    middle = 0.5 * least + 0.5 * most
    boxes = np.concatenate((middle - half, middle + half), -1)
    faces = np.arange(len(boxes))
    side = _side_of_forehead(rolls)
    outwards = np.where(side < 2, -1.0, 1.0)  # noqa: PLR2004 - left and top come first
    boxes[faces, side] += outwards * _FOREHEAD * ranges[faces, side % 2]
    return boxes


def _side_of_forehead(rolls: Floats) -> NDArray[np.intp]:
    """Return which of left 0, top 1, right 2 and bottom 3 the forehead points to."""
    conditions = (abs(rolls) > _UPSIDE_DOWN, rolls > _ASIDE, rolls < -_ASIDE)
    sides: NDArray[np.intp] = np.select(conditions, (3, 2, 0), 1)
    return sides
