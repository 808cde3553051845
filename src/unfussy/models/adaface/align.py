"""
The aligned face of a photo, in one call.

The detector is made at the first call, from the weights in the installed package
facenet-pytorch, and kept. It is MTCNN, on the CPU; pass another to have it elsewhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from unfussy._pillow import pillow
from unfussy.models._pictures import as_bytes
from unfussy.models.adaface.alignment import Fit, Size
from unfussy.models.adaface.mtcnn import MTCNN, Which

__all__ = ["get_aligned_face", "to_picture"]


def get_aligned_face(
    image: Any,
    /,
    *,
    detector: MTCNN | None = None,
    which: Which = "confident",
    size: Size = 112,
    fit: Fit = "photo",
) -> Any:
    """
    Return the face in a photo, upright, as a Pillow picture.

    Args:
        image: A path, a Pillow picture, an array ``(H, W, 3)`` or a tensor
            ``(3, H, W)``; 8-bit, red first. Files and pictures are turned as their EXIF
            data say.
        detector: What finds the face; see ``MTCNN.from_pretrained``.
        which: Of several faces the most ``"confident"``, as AdaFace's code takes it,
            the ``"largest"`` or the most ``"central"``.
        size: Of the result, pixels.
        fit: As in ``estimate_alignment``.

    Returns:
        The picture, or None if there is no face.

    Raises:
        CheckpointError: If there is no *detector*, and no weights for one.
        FileNotFoundError: If there is no file at a path.
        InputTypeError: If *image* is of another kind or dtype.
        InputValueError: If it has another shape, or cannot be read.
        MissingExtraError: If Pillow is not installed.
    """
    mtcnn = _default_detector() if detector is None else detector
    crop = mtcnn.align(image, which=which, size=size, fit=fit)
    return None if crop is None else to_picture(crop)


def to_picture(crop: Tensor, /) -> Any:
    """
    Return a crop ``(3, H, W)``, `torch.uint8`, as a Pillow picture.

    Raises:
        MissingExtraError: If Pillow is not installed.
    """
    return pillow().fromarray(as_bytes(crop))


@cache
def _default_detector() -> MTCNN:
    return MTCNN.from_pretrained()
