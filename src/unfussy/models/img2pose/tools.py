"""What is done with faces after they were found: cut out upright, and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from unfussy.models._alignment import Scale, Size
from unfussy.models._ranges import Channels, ValueRange
from unfussy.models.img2pose.aligning import (
    align_faces,
    align_faces_batch,
    with_crops,
)
from unfussy.models.img2pose.drawing import visualize
from unfussy.models.img2pose.facts import Facts
from unfussy.models.img2pose.inputs import Reading

__all__ = ["FaceTools", "ReadingOptions"]

_READING: Final = {"channels", "value_range", "exif"}


class ReadingOptions(TypedDict, total=False):
    """The keyword options about how pictures are read."""

    channels: Channels
    value_range: ValueRange | None
    exif: bool


class FaceTools:
    """The methods of a detector that take faces."""

    facts: Facts

    if TYPE_CHECKING:

        def detect_faces(self, images: Any, *args: Any, **options: Any) -> Any:
            """Find the faces in pictures."""

    def align_faces(
        self,
        image: Any,
        faces: Iterable[Any],
        output_size: Size = 224,
        *,
        return_array: bool = False,
        fit: Scale = "least_squares",
        **reading: Unpack[ReadingOptions],
    ) -> list[Any]:
        """
        Cut the faces of one picture out, upright.

        Args:
            image: One picture.
            faces: What was found in it.
            output_size: The side of the crops in pixels.
            return_array: Whether to return arrays ``(S, S, 3)`` and not Pillow
                pictures.
            fit: ``"least_squares"``, or ``"rms"`` as the official package scales faces.
            **reading: ``channels``, ``value_range`` and ``exif``, as in `detect_faces`.
        """
        return align_faces(
            image,
            faces,
            output_size,
            return_array=return_array,
            fit=fit,
            reference_points=self.facts.alignment_points,
            reading=Reading(**reading),
        )

    def align_faces_batch(
        self,
        images: Sequence[Any],
        faces: Sequence[Iterable[Any]],
        output_size: Size = 224,
        *,
        return_array: bool = False,
        fit: Scale = "least_squares",
        **reading: Unpack[ReadingOptions],
    ) -> list[list[Any]]:
        """
        Cut the faces of several pictures out, each as `align_faces` would.

        Args:
            images: Pictures.
            faces: For each of them what was found in it.
            output_size: As in `align_faces`.
            return_array: As in `align_faces`.
            fit: As in `align_faces`.
            **reading: As in `align_faces`.

        Raises:
            InputValueError: If there are not as many lists of faces as pictures.
        """
        return align_faces_batch(
            images,
            faces,
            output_size,
            return_array=return_array,
            fit=fit,
            reference_points=self.facts.alignment_points,
            reading=Reading(**reading),
        )

    def detect_and_align(
        self,
        image: Any,
        output_size: Size = 224,
        *,
        score_threshold: float | None = None,
        max_faces: int | None = None,
        return_array: bool = False,
        fit: Scale = "least_squares",
        **reading: Unpack[ReadingOptions],
    ) -> list[dict[str, Any]]:
        """
        Find the faces in one picture and cut them out.

        Args:
            image: One picture.
            output_size: As in `align_faces`.
            score_threshold: As in `detect_faces`.
            max_faces: As in `detect_faces`.
            return_array: As in `align_faces`.
            fit: As in `align_faces`.
            **reading: As in `align_faces`.

        Returns:
            Each face as a dictionary, with its crop under ``"image"``.
        """
        faces = self.detect_faces(image, score_threshold, max_faces, **reading)
        crops = self.align_faces(
            image, faces, output_size, return_array=return_array, fit=fit, **reading
        )
        return with_crops(faces, crops)

    def visualize(
        self, image: Any, faces: Iterable[Any] | None = None, **options: Any
    ) -> NDArray[np.uint8]:
        """
        Draw boxes, points and axes of heads on a copy of a picture; see `visualize`.

        Args:
            image: One picture.
            faces: What was found in it; None finds them.
            **options: As for `visualize`: ``boxes``, ``landmarks``, ``axes``,
                ``confidences`` and ``line_width``; and ``channels``, ``value_range``
                and ``exif``, as in `detect_faces`.

        Returns:
            ``(H, W, 3)``, red first.
        """
        told: Any = {k: options.pop(k) for k in _READING & options.keys()}
        found = self.detect_faces(image, **told) if faces is None else faces
        points = self.facts.reference_points
        reading = Reading(**told)
        return visualize(
            image, found, reference_points=points, reading=reading, **options
        )
