"""Walkers drawn by code, in frames as large as a camera's."""

import functools
import runpy
from pathlib import Path

import numpy as np

_SCRIPT = Path(__file__).parents[2] / "examples" / "data" / "draw_walkers.py"


@functools.cache
def _script():
    return runpy.run_path(str(_SCRIPT))


def walk(seed=0, n_frames=12, **options):
    """Return ``silhouettes``, ``parsing`` and ``keypoints`` of a drawn walk."""
    return _script()["draw"](seed, n_frames, **options)


def camera(frames, size=(96, 128), *, x=10, y=8, stride=1):
    """Return frames ``(T, H, W)`` in larger ones, the walker moving to the right."""
    seen = np.zeros((len(frames), *size), dtype=frames.dtype)
    height, width = frames.shape[1:]
    for i, frame in enumerate(frames):
        left = x + i * stride
        room = min(width, size[1] - left)
        seen[i, y : y + height, left : left + room] = frame[:, :room]
    return seen


def moved(keypoints, *, x=10, y=8, stride=1):
    """Return key points where `camera` puts them."""
    shift = np.zeros((len(keypoints), 1, 3))
    shift[:, 0, 0] = x + stride * np.arange(len(keypoints))
    shift[:, 0, 1] = y
    return keypoints + shift
