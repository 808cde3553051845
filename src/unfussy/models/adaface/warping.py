"""
Faces cut out of photos, upright and of one size.

F faces, H by W the photo.
"""

from __future__ import annotations

from torch import Tensor

from unfussy.models._alignment import Size
from unfussy.models._warping import warp
from unfussy.models.adaface.alignment import Fit, estimate_alignment

__all__ = ["align_faces", "warp"]


def align_faces(
    picture: Tensor,
    landmarks: Tensor,
    /,
    *,
    size: Size = 112,
    fit: Fit = "photo",
    mirror: bool = False,
    template: Tensor | None = None,
) -> Tensor:
    """
    Cut the faces of one photo out, upright and of one size.

    Args:
        picture: ``(3, H, W)``, red first.
        landmarks: ``(F, 5, 2)``, pixels, or ``(5, 2)`` for one face.
        size: Of the crops, as in `face_template`.
        fit: As in `estimate_alignment`.
        mirror: As in `estimate_alignment`.
        template: As in `estimate_alignment`.

    Returns:
        ``(F, 3, size, size)``, or ``(3, size, size)`` for one face, of the dtype of
        *picture*.

    Raises:
        InputTypeError: If an argument is no tensor.
        InputValueError: If a shape or *fit* is another.

    Examples:
        >>> import torch
        >>> from unfussy.models.adaface.alignment import face_template
        >>> photo = torch.zeros(3, 480, 640, dtype=torch.uint8)
        >>> align_faces(photo, 2 * face_template() + 50).shape
        torch.Size([3, 112, 112])
    """
    matrices = estimate_alignment(
        landmarks, size=size, fit=fit, mirror=mirror, template=template
    )
    return warp(picture, matrices, size=size)
