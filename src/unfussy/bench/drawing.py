"""
Inputs to measure with, drawn by code: the work is that of real ones.

n items, T frames.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_faces", "draw_poses", "draw_walks"]

Array: TypeAlias = NDArray[Any]

_SIDE: Final = 64
_FRAMES: Final = (12, 28)
_ROWS, _COLUMNS = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
_HIPS: Final = 36
_THICK: Final = 3


def draw_walks(model: Any, n: int, seed: int) -> list[Any]:
    """
    Return sequences of a figure that walks, of 12 to 28 frames.

    Args:
        model: A gait model, whose ``kinds`` say what a sequence holds.
        n: How many.
        seed: Of lengths and steps.

    Returns:
        Arrays ``(T, 64, 64)`` of levels, or mappings where there is more than that.
    """
    random = np.random.default_rng(seed)
    walks = []
    for _ in range(n):
        frames = int(random.integers(*_FRAMES, endpoint=True))
        steps = random.uniform(0, 6) + np.arange(frames) / random.uniform(2, 5)
        parts = {kind: _DRAWN[kind](np.sin(steps)) for kind in model.kinds}
        walks.append(parts if len(parts) > 1 else next(iter(parts.values())))
    return walks


def draw_faces(model: Any, n: int, seed: int) -> Array:
    """Return pictures for a face model, ``(n, size, size, 3)``, uint8."""
    size = model.size
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def draw_poses(model: Any, n: int, seed: int) -> Array:
    """Return poses for a body model, ``(n, 63)``, radians, axis-angle."""
    random = np.random.default_rng(seed)
    return random.normal(0, 0.3, (n, 3 * model.num_joints)).astype(np.float32)


def _bodies(swings: Array) -> Array:
    """Return where a figure is, ``(T, 64, 64)``, for legs that swing from -1 to 1."""
    far = (_ROWS - 26) ** 2 / 17**2 + (_COLUMNS - 32) ** 2 / 7**2
    trunk = (far < 1) | ((_ROWS - 8) ** 2 + (_COLUMNS - 32) ** 2 < 6**2)
    below = np.clip((_ROWS - _HIPS) / (_SIDE - _HIPS), 0, 1)
    aside = 11 * below * swings[:, None, None]
    legs = [np.abs(_COLUMNS - 32 - side * aside) < _THICK for side in (-1, 1)]
    body: Array = trunk | ((_ROWS > _HIPS) & (legs[0] | legs[1]))
    return body


def _silhouettes(swings: Array) -> Array:
    return 255 * _bodies(swings).astype(np.uint8)


def _parsing(swings: Array) -> Array:
    """Return labels of body parts, from 1 at the head to 10 at the feet."""
    labels = 1 + (_ROWS * 10 // _SIDE).astype(np.uint8)
    found: Array = labels * _bodies(swings)
    return found


def _skeleton_maps(swings: Array) -> Array:
    """Return soft dots at joints, and soft lines between them, ``(T, 2, 64, 64)``."""
    feet = [32 + side * 11 * swings for side in (-1, 1)]
    joints = [(8.0, np.full_like(swings, 32)), (36.0, np.full_like(swings, 32))]
    joints += [(60.0, foot) for foot in feet]
    dots = [
        (_ROWS - row) ** 2 + (_COLUMNS - column[:, None, None]) ** 2
        for row, column in joints
    ]
    near = np.exp(-np.min(dots, 0) / 32)
    trunk = np.exp(-((_COLUMNS - 32) ** 2) / 32) * _bodies(swings)
    return (255 * np.stack([near, trunk], 1)).astype(np.uint8)


_DRAWN: Final = {
    "silhouettes": _silhouettes,
    "parsing": _parsing,
    "skeleton_maps": _skeleton_maps,
}
