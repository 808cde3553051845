"""
Faces cut out upright, by the five points that follow from their poses.

F faces, S the side of a crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._pillow import pillow
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._alignment import Scale, Size
from unfussy.models._pictures import as_bytes
from unfussy.models._warping import warp
from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.inputs import Photo, Reading
from unfussy.models.img2pose.points import default_points, five_of, read_points
from unfussy.models.img2pose.poses import PictureSize, project
from unfussy.models.img2pose.templates import alignment_of

__all__ = [
    "align_faces",
    "align_faces_batch",
    "five_points",
    "poses_of",
    "with_crops",
]

Crops: TypeAlias = list[Any]
"""Pillow pictures, or arrays ``(S, S, 3)`` of `numpy.uint8`."""


def align_faces(
    image: Any,
    faces: Iterable[Any],
    /,
    output_size: Size = 224,
    *,
    return_array: bool = False,
    fit: Scale = "least_squares",
    reference_points: Any = None,
    reading: Reading | None = None,
) -> Crops:
    """
    Cut the faces of one picture out, upright and of one size.

    Args:
        image: As `Img2Pose.detect_faces` takes one picture.
        faces: What was found in it: `Face` records, or dictionaries with a ``"pose"``.
        output_size: The side of the crops in pixels, or their height and width.
        return_array: Whether to return arrays and not Pillow pictures.
        fit: Scale faces for the least squared distance to the template
            (``"least_squares"``), or for an equal spread of the points (``"rms"``), as
            the package img2pose does; that makes faces a little larger.
        reference_points: ``(5, 3)``, of the reference head, or a file with them: the
            middles of the eyes, the nose and the mouth. By default they are made from
            the published 68 points.
        reading: The order of colours, the range of values and whether to turn pictures.

    Returns:
        The crops in the order of *faces*, red first; black where there is no picture.

    Raises:
        InputTypeError: If *image* or *faces* is of another kind.
        InputValueError: If the size or *fit* is none, or a pose shows no face.
        MissingExtraError: If Pillow is needed and not installed.
    """
    pixels = Photo.of(image, reading or Reading()).read()
    height, width = pixels.shape[-2:]
    points = five_points(reference_points)
    landmarks = _landmarks(poses_of(faces), points, (height, width))
    matrices = alignment_of(landmarks, output_size, fit=fit)
    crops = as_bytes(warp(pixels, matrices, size=output_size))
    return [crop if return_array else pillow().fromarray(crop) for crop in crops]


def align_faces_batch(
    images: Sequence[Any], faces: Sequence[Iterable[Any]], /, *args: Any, **options: Any
) -> list[Crops]:
    """
    Cut the faces of several pictures out, each as `align_faces` would.

    Args:
        images: Pictures.
        faces: For each of them what was found in it.
        *args: What else `align_faces` takes.
        **options: What else `align_faces` takes.

    Raises:
        InputTypeError: If one of them is of another kind; errors name the picture.
        InputValueError: If there are not as many lists of faces as pictures.
    """
    if len(images) != len(faces):
        raise InputValueError(
            f"there are {len(images)} pictures and {len(faces)} lists of faces: each "
            "picture has its own list, which may be empty"
        )
    return [
        _of_picture(i, image, found, *args, **options)
        for i, (image, found) in enumerate(zip(images, faces))
    ]


def with_crops(faces: Iterable[Face], crops: Crops, /) -> list[dict[str, Any]]:
    """Return *faces* as dictionaries, with their crops as ``"image"``."""
    return [{**face.to_dict(), "image": crop} for face, crop in zip(faces, crops)]


def five_points(points: Any = None, /) -> Any:
    """
    Return the five reference points for aligning faces, ``(5, 3)``.

    Args:
        points: Numbers ``(5, 3)`` or a file with them; by default the middles of the
            eyes, the nose and the mouth of the published 68 points.

    Raises:
        FileNotFoundError: If there is no such file.
        InputTypeError: If *points* is of another kind.
        InputValueError: If there are more or fewer points.
    """
    return five_of(default_points()) if points is None else read_points(points, 5)


def poses_of(faces: Iterable[Any], /) -> Any:
    """
    Return the poses ``(F, 6)`` of faces or dictionaries.

    Raises:
        InputTypeError: If one of them has no pose.
    """
    poses = [_pose_of(i, face) for i, face in enumerate(faces)]
    return np.array(poses, np.float64).reshape(-1, 6)


def _pose_of(index: int, face: Any) -> list[float]:
    try:
        rx, ry, rz, tx, ty, tz = face.pose if isinstance(face, Face) else face["pose"]
        return [float(x) for x in (rx, ry, rz, tx, ty, tz)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputTypeError(
            f"faces are what detect_faces() found in one picture: records with a pose "
            f"of six numbers; face {index} is {face!r:.80}"
        ) from error


def _landmarks(poses: Any, points: Any, size: PictureSize) -> Tensor:
    height, width = size
    middle = (width / 2, height / 2)
    return torch.from_numpy(project(points, poses, height + width, middle))


def _of_picture(
    index: int, image: Any, faces: Any, *args: Any, **options: Any
) -> Crops:
    try:
        return align_faces(image, faces, *args, **options)
    except (InputTypeError, InputValueError) as error:
        error.args = (f"picture {index}: {error}",)
        raise
