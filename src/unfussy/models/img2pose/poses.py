"""
Poses relative to a box made into poses of the whole picture, and points seen in it.

F faces, P points. A pose ``(rx, ry, rz, tx, ty, tz)`` is a rotation vector and a shift:
it brings points of the reference head in front of a camera that looks along z, with x
to the right and y down. The camera's focal length is the width plus the height of the
picture, its axis the middle (Albiero et al. 2021, "img2pose").
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy.models.img2pose.rotations import (
    Floats,
    Rotation,
    matrices_of,
    rotation_vectors_of,
)

__all__ = ["Floats32", "PictureSize", "picture_poses", "project"]

Floats32: TypeAlias = NDArray[np.float32]
"""Numbers in single precision."""
PictureSize: TypeAlias = tuple[int, int]
"""The height and the width of a picture, in pixels."""

_BESIDE: Final = 1e-30


def picture_poses(
    poses: Floats32,
    boxes: Floats32,
    size: PictureSize,
    /,
    *,
    rotation: Rotation = "quaternion",
) -> Floats:
    """
    Return poses of the whole picture for *poses* relative to *boxes*.

    Args:
        poses: ``(F, 6)``, as a camera with the middle of the box as its axis sees them.
        boxes: ``(F, 4)``, pixels: left, top, right, bottom.
        size: Of the picture that the boxes are in.
        rotation: How what is not quite a rotation becomes one.

    Returns:
        ``(F, 6)``, double precision.
    """
    focal = size[0] + size[1]
    sides = boxes[:, 2:] - boxes[:, :2]
    shifts = poses[:, 3:].astype(np.float64)
    depth = shifts[:, 2] * (focal / sides.sum(-1).astype(np.float64))
    shifts[:, 2] = depth.astype(np.float32)  # as the original keeps it
    tilt = _tilt(boxes[:, :2] + sides // 2, size)
    shifts[:, :2] += tilt * shifts[:, 2:]
    matrices = matrices_of(poses[:, :3])
    matrices[:, :2] += tilt[:, :, None] * matrices[:, 2:]
    vectors = rotation_vectors_of(matrices, rotation)
    return np.concatenate((vectors, shifts), -1)


def _tilt(middles: NDArray[Any], size: PictureSize) -> Floats:
    """Return how far the *middles* of boxes are off the axis, per unit of depth."""
    height, width = size
    # Whole pixels: the camera matrix of the original is one of integers.
    whole = np.trunc(middles.astype(np.float64))
    return (whole - (width // 2, height // 2)) / (height + width)


def project(
    points: NDArray[Any], poses: NDArray[Any], focal: float, middle: Any, /
) -> Floats:
    """
    Return where in a picture the *points* of heads with *poses* are.

    Args:
        points: ``(P, 3)``, of the reference head.
        poses: ``(F, 6)``.
        focal: The focal length, pixels.
        middle: The x and y of the camera's axis, pixels.

    Returns:
        ``(F, P, 2)``, pixels, x and y.
    """
    poses = np.asarray(poses, np.float64)
    points = np.asarray(points, np.float64)
    seen = points @ matrices_of(poses[:, :3]).swapaxes(-1, -2) + poses[:, None, 3:]
    depth = seen[..., 2:]
    # A point beside the camera is nowhere in the picture, rather than an error.
    safe = np.where(depth == 0, _BESIDE, depth)
    places: Floats = focal * (seen[..., :2] / safe) + np.asarray(middle, np.float64)
    return places
