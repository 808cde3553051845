"""
Rotation vectors and matrices in double precision, and what to do with near rotations.

F faces. A rotation vector has the axis as its direction and the angle, in radians, as
its length. A matrix that is not quite a rotation becomes one in two ways: from its
`"quaternion"`, read as if it were a rotation (Markley 2008, "Unit quaternion from
rotation matrix"), or as the nearest rotation, by singular values (`"svd"`).
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputValueError

__all__ = [
    "Floats",
    "Rotation",
    "check_rotation",
    "euler_angles",
    "matrices_of",
    "rotation_vectors_of",
]

Rotation: TypeAlias = Literal["quaternion", "svd"]
Floats: TypeAlias = NDArray[np.float64]
"""Numbers in double precision."""

_SMALL: Final = 1e-3  # radians: below, the series are more exact than the quotients
_POLE: Final = 1e-7


def check_rotation(rotation: object, /) -> None:
    """
    Check that *rotation* names a rule.

    Raises:
        InputValueError: If it does not.
    """
    if rotation not in ("quaternion", "svd"):
        raise InputValueError(f"rotation is 'quaternion' or 'svd', got {rotation!r}")


def matrices_of(vectors: NDArray[Any], /) -> Floats:
    """Return the matrices ``(F, 3, 3)`` of rotation vectors ``(F, 3)``."""
    vectors = np.asarray(vectors, np.float64)
    angles = np.linalg.norm(vectors, axis=-1)
    x, y, z = (vectors * _half_sine_per_angle(angles)[..., None]).T
    w = np.cos(angles / 2)
    rows = (
        (x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), y * y - x * x - z * z + w * w, 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), z * z - x * x - y * y + w * w),
    )
    return np.moveaxis(np.array(rows), -1, 0)


def rotation_vectors_of(matrices: Floats, /, rotation: Rotation) -> Floats:
    """
    Return the rotation vectors ``(F, 3)`` of near rotations ``(F, 3, 3)``.

    Angles are at most pi.
    """
    if rotation == "svd":
        left, _, right = np.linalg.svd(matrices)
        matrices = left @ right
    quaternions = _quaternions(matrices)
    # The same rotation, by the shorter way.
    quaternions = np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)
    sines = np.linalg.norm(quaternions[:, :3], axis=-1)
    angles = 2 * np.arctan2(sines, quaternions[:, 3])
    return quaternions[:, :3] / _half_sine_per_angle(angles)[:, None]


def euler_angles(matrices: Floats, /) -> Floats:
    """
    Return the turns ``(F, 3)`` about the fixed x, y and z axes, one after the other.

    Radians. Where y is turned by a quarter, x and z turn alike; z is then zero.
    """
    m = matrices
    y = np.arctan2(-m[:, 2, 0], np.hypot(m[:, 2, 1], m[:, 2, 2]))
    is_pole = np.hypot(m[:, 2, 1], m[:, 2, 2]) < _POLE
    x = np.where(
        is_pole,
        np.arctan2(-m[:, 1, 2], m[:, 1, 1]),
        np.arctan2(m[:, 2, 1], m[:, 2, 2]),
    )
    z = np.where(is_pole, 0.0, np.arctan2(m[:, 1, 0], m[:, 0, 0]))
    return np.stack((x, y, z), -1)


def _half_sine_per_angle(angles: Floats) -> Floats:
    """Return ``sin(angle / 2) / angle``."""
    is_small = angles <= _SMALL
    safe = np.where(is_small, 1.0, angles)
    series = 0.5 - angles**2 / 48 + angles**4 / 3840
    ratios: Floats = np.where(is_small, series, np.sin(safe / 2) / safe)
    return ratios


def _quaternions(matrices: Floats) -> Floats:
    """Return unit quaternions ``(F, 4)``, the real part last."""
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    trace = diagonal.sum(-1)
    candidates = _candidates(matrices, trace)
    choice = np.concatenate((diagonal, trace[:, None]), -1).argmax(-1)
    chosen = np.take_along_axis(candidates, choice[:, None, None], 1)[:, 0]
    unit: Floats = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return unit


def _candidates(matrices: Floats, trace: Floats) -> Floats:
    """Return four multiples ``(F, 4, 4)`` of a quaternion, equal for a rotation."""
    m = matrices
    skew = np.stack([m[:, (i + 2) % 3, (i + 1) % 3] for i in range(3)], -1)
    skew -= np.stack([m[:, (i + 1) % 3, (i + 2) % 3] for i in range(3)], -1)
    candidates = np.empty((len(m), 4, 4))
    candidates[:, :3, :3] = m + m.swapaxes(-1, -2)
    for i in range(3):
        candidates[:, i, i] = 1 - trace + 2 * m[:, i, i]
    candidates[:, :3, 3] = candidates[:, 3, :3] = skew
    candidates[:, 3, 3] = 1 + trace
    return candidates
