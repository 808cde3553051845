"""The faces that were found in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = ["Faces", "Which", "choose_face"]

Which: TypeAlias = Literal["confident", "largest", "central"]


@dataclass(frozen=True, slots=True)
class Faces:
    """
    The F faces of one picture, the most probable first.

    Attributes:
        boxes: ``(F, 4)``, corners ``(x1, y1, x2, y2)`` in pixels.
        scores: ``(F,)``, how probable each is, 0 to 1.
        landmarks: ``(F, 5, 2)``, points ``(x, y)`` in pixels: left eye, right eye,
            nose, left and right corner of the mouth, as one sees them.
    """

    boxes: Tensor
    scores: Tensor
    landmarks: Tensor

    def __len__(self) -> int:
        return len(self.scores)


def choose_face(faces: Faces, which: Which, height: int, width: int, /) -> int | None:
    """
    Return the index of one face, or None if there is none.

    Args:
        faces: Those of a picture.
        which: The most ``"confident"``, as AdaFace's code takes it, the ``"largest"``,
            or the most ``"central"``.
        height: Of the picture.
        width: Of the picture.

    Raises:
        InputValueError: If *which* is none of these.
    """
    if which not in get_args(Which):
        raise InputValueError(
            f"which is 'confident', 'largest' or 'central', got {which!r}"
        )
    if which == "confident" or not len(faces):
        return 0 if len(faces) else None
    corner, other = faces.boxes[:, :2], faces.boxes[:, 2:]
    if which == "largest":
        return int((other - corner).prod(1).argmax())
    middle = torch.tensor([width - 1, height - 1]).to(corner) / 2
    return int(((corner + other) / 2 - middle).norm(dim=1).argmin())
