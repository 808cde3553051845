"""
Where a face has to go: the similarity transform from five landmarks to a template.

F faces. Points are ``(x, y)`` in pixels, the centre of the first pixel at ``(0, 0)``;
landmarks are in the order left eye, right eye, nose, left and right corner of the
mouth, as one sees them in the picture. Matrices ``(2, 3)`` map points of the photo to
points of the crop.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._alignment import (
    Size,
    height_and_width,
    invert_alignment,
    moved,
    similarity,
)

__all__ = [
    "Fit",
    "Size",
    "estimate_alignment",
    "face_template",
    "height_and_width",
    "invert_alignment",
]

Fit: TypeAlias = Literal["photo", "crop"]

_SIDE: Final = 112
_TEMPLATE: Final = (
    (38.29459953, 51.69630051),
    (73.53179932, 51.50139999),
    (56.02519989, 71.73660278),
    (41.54930115, 92.36550140),
    (70.72990036, 92.20410156),
)
_PRECISION: Final = 1e-7
_MIRROR: Final = (-1.0, 1.0)


def face_template(size: Size = 112, /) -> Tensor:
    """
    Return where the five landmarks of an aligned face are.

    Args:
        size: The side of the crop, or its height and width. Faces scale with the
            height, and stay in the middle of the width.

    Returns:
        ``(5, 2)``, pixels, double precision.

    Raises:
        InputValueError: If the size is none.

    Examples:
        >>> face_template((112, 96))[2]
        tensor([48.0252, 71.7366], dtype=torch.float64)
    """
    height, width = height_and_width(size)
    points = torch.tensor(_TEMPLATE, dtype=torch.float64) * (height / _SIDE)
    points[:, 0] += (width - height) / 2
    return points


def estimate_alignment(
    landmarks: Tensor,
    /,
    *,
    size: Size = 112,
    fit: Fit = "photo",
    mirror: bool = False,
    template: Tensor | None = None,
) -> Tensor:
    """
    Return the similarity transforms that bring faces onto the template.

    With noisy landmarks the two fits differ by some pixels at the corners of the crop,
    so faces that are compared should be aligned alike.

    Args:
        landmarks: ``(5, 2)`` or ``(..., 5, 2)``, pixels.
        size: Of the crop, as in `face_template`.
        fit: Where the squared error is least: in the ``"photo"``, as in AdaFace's
            inference code, or in the ``"crop"`` (Umeyama 1991, equations 40 to 43), as
            in the evaluation on IJB.
        mirror: Whether a face that fits better when mirrored is mirrored, as
            AdaFace's inference code does.
        template: Other points to bring the landmarks to, ``(5, 2)``.

    Returns:
        ``(..., 2, 3)``, of the precision and on the device of *landmarks*.

    Raises:
        InputTypeError: If *landmarks* is no floating tensor.
        InputValueError: If it has another shape or does not spread, or *fit* is none.
    """
    _check(landmarks, fit)
    # So few numbers that the CPU's double precision costs nothing.
    points = landmarks.detach().cpu().double()
    target = face_template(size) if template is None else template.cpu().double()
    matrices = _solve(points, target, fit)
    if mirror:
        flipped = points.new_tensor(_MIRROR)
        mirrored = _solve(points, target * flipped, fit) * flipped[:, None]
        is_better = _error(mirrored, points, target) < _error(matrices, points, target)
        matrices = torch.where(is_better[..., None, None], mirrored, matrices)
    if not (matrices.isfinite().all() and _spread(points).all()):
        raise InputValueError(
            "five landmarks at one point, or not finite, do not tell how a face lies"
        )
    return matrices.to(landmarks)


def _check(landmarks: Tensor, fit: Fit) -> None:
    if not isinstance(landmarks, Tensor) or not landmarks.is_floating_point():
        kind = getattr(landmarks, "dtype", type(landmarks).__name__)
        raise InputTypeError(f"landmarks are a floating tensor (..., 5, 2), got {kind}")
    if landmarks.shape[-2:] != (5, 2):
        raise InputValueError(
            f"landmarks are shaped (..., 5, 2), points (x, y); got "
            f"{tuple(landmarks.shape)}"
        )
    if fit not in ("photo", "crop"):
        raise InputValueError(f"fit is 'photo' or 'crop', got {fit!r}")


def _spread(points: Tensor) -> Tensor:
    """Tell which faces have landmarks apart, as far as numbers of their size can."""
    apart = (points - points.mean(-2, keepdim=True)).abs().amax((-2, -1))
    return apart > _PRECISION * points.abs().amax((-2, -1))


def _solve(points: Tensor, target: Tensor, fit: Fit) -> Tensor:
    if fit == "crop":
        return similarity(points, target)
    return invert_alignment(similarity(target, points))


def _error(matrices: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return (moved(points, matrices) - target).square().sum((-2, -1))
