"""The face of a photo that is meant, cut out."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.adaface.alignment import Fit, Size
from unfussy.models.adaface.mtcnn.faces import Faces, Which, choose_face
from unfussy.models.adaface.warping import align_faces

__all__ = ["Missing", "NoFaceError", "crop_faces"]

Missing: TypeAlias = Literal["none", "raise"]


class NoFaceError(InputValueError):
    """There is no face in a photo that is to have one."""


def crop_faces(
    photo: Tensor,
    faces: Faces,
    /,
    *,
    which: Which | Literal["all"],
    size: Size,
    fit: Fit,
    missing: Missing,
) -> Tensor | None:
    """
    Return one or all *faces* of a photo, upright and of one size.

    Args:
        photo: ``(3, H, W)``.
        faces: Those in it.
        which: As in `choose_face`, or ``"all"``.
        size: As in `align_faces`.
        fit: As in `align_faces`.
        missing: What becomes of a photo without faces: None, or an error.

    Raises:
        InputValueError: If *which* or *missing* is none of its values.
        NoFaceError: If there is no face, and *missing* is ``"raise"``.
    """
    if missing not in ("none", "raise"):
        raise InputValueError(f"missing is 'none' or 'raise', got {missing!r}")
    landmarks = faces.landmarks.to(photo.device)
    height, width = photo.shape[-2:]
    if not len(faces) and missing == "raise":
        raise NoFaceError(
            f"there is no face in a photo of {width} x {height} pixels; lower the "
            "thresholds or min_face_size in the detector's settings, or leave it out"
        )
    if which == "all":
        return align_faces(photo, landmarks, size=size, fit=fit)
    i = choose_face(faces, which, height, width)
    if i is None:
        return None
    return align_faces(photo, landmarks[i], size=size, fit=fit)
