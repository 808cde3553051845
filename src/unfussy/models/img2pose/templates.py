"""
Where a face has to go in a crop, however the head is turned.

F faces, T templates. A template says where the middles of the eyes, the nose and the
corners of the mouth are in a crop. There are five, from one profile to the other; a
face goes to the one it fits best. They are those of insightface 0.2.1 (Apache licence
2.0, https://github.com/deepinsight/insightface), for crops of 112 by 112 pixels.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models._alignment import (
    Scale,
    Size,
    height_and_width,
    moved,
    similarity,
)

__all__ = ["alignment_of", "face_templates"]

_SIDE: Final = 112
_LEFT_PROFILE: Final = (
    (51.642, 50.115),
    (57.617, 49.990),
    (35.740, 69.007),
    (51.157, 89.050),
    (57.025, 89.702),
)
_LEFT: Final = (
    (45.031, 50.118),
    (65.568, 50.872),
    (39.677, 68.111),
    (45.177, 86.190),
    (64.246, 86.758),
)
_FRONTAL: Final = (
    (39.730, 51.138),
    (72.270, 51.138),
    (56.000, 68.493),
    (42.463, 87.010),
    (69.537, 87.010),
)
_RIGHT: Final = (
    (46.845, 50.872),
    (67.382, 50.118),
    (72.737, 68.111),
    (48.167, 86.758),
    (67.236, 86.190),
)
_RIGHT_PROFILE: Final = (
    (54.796, 49.990),
    (60.771, 50.115),
    (76.673, 69.007),
    (55.388, 89.702),
    (61.257, 89.050),
)
_TEMPLATES: Final = (_LEFT_PROFILE, _LEFT, _FRONTAL, _RIGHT, _RIGHT_PROFILE)


def face_templates(size: Size = 112, /) -> Tensor:
    """
    Return where the five points of a face are in a crop, however the head is turned.

    Args:
        size: The side of the crop, or its height and width. Faces scale with the
            height, and stay in the middle of the width.

    Returns:
        ``(5, 5, 2)``, pixels, double precision: from a profile that looks to the left
        of the picture to one that looks to the right.

    Raises:
        InputValueError: If the size is none.
    """
    height, width = height_and_width(size)
    templates = torch.tensor(_TEMPLATES, dtype=torch.float64) * (height / _SIDE)
    templates[..., 0] += (width - height) / 2
    return templates


def alignment_of(
    landmarks: Tensor, /, size: Size = 112, *, fit: Scale = "least_squares"
) -> Tensor:
    """
    Return the transforms that bring faces onto the templates that they fit best.

    Args:
        landmarks: ``(F, 5, 2)``, pixels.
        size: Of the crops.
        fit: As in `align_faces`.

    Returns:
        ``(F, 2, 3)``, from the picture to the crop.

    Raises:
        InputValueError: If five points do not tell how a face lies, or the size or
            *fit* is none.
    """
    if fit not in ("least_squares", "rms"):
        raise InputValueError(f"fit is 'least_squares' or 'rms', got {fit!r}")
    points = landmarks.double()[:, None]  # (F, 1, 5, 2)
    templates = face_templates(size)
    matrices = similarity(points, templates, fit)  # (F, T, 2, 3)
    distances = (moved(points, matrices) - templates).norm(dim=-1).sum(-1)
    best = distances.argmin(-1)
    chosen = matrices[torch.arange(len(matrices)), best]
    if not (is_known := chosen.isfinite().all(-1).all(-1)).all():
        i = int(is_known.int().argmin())
        raise InputValueError(
            f"face {i} cannot be aligned: its pose puts its points at one place, or "
            "nowhere"
        )
    return chosen
