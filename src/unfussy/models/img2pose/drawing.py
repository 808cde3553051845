"""
Pictures with what was found in them drawn on: boxes, points and how heads are turned.

F faces. Of the three axes of a head the red one goes to the right of a face that looks
at the camera, the green one down and the blue one where the face looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy._pillow import pillow
from unfussy.models._pictures import as_bytes
from unfussy.models.img2pose.aligning import poses_of
from unfussy.models.img2pose.inputs import Photo, Reading
from unfussy.models.img2pose.points import default_points, read_points
from unfussy.models.img2pose.poses import PictureSize, project

__all__ = ["visualize"]

_BOX: Final = (255, 200, 0)
_POINT: Final = (255, 255, 255)
_EDGE: Final = (20, 20, 20)
_COLOURS: Final = ((235, 30, 45), (40, 190, 60), (35, 95, 255))
_TIP_OF_NOSE: Final = 30
_LENGTH: Final = 0.75  # of an axis, in units of the reference head
_AXES: Final = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, -1.0))
_FAR: Final = 20  # widths of the picture: what goes farther is not drawn
_SMOOTHEST: Final = 4
_LARGE: Final = 2048  # pixels


def visualize(
    image: Any,
    faces: Iterable[Any],
    /,
    *,
    boxes: bool = True,
    landmarks: bool = True,
    axes: bool = True,
    confidences: bool = True,
    line_width: int | None = None,
    reference_points: Any = None,
    reading: Reading | None = None,
) -> NDArray[np.uint8]:
    """
    Draw faces on a copy of a picture.

    Args:
        image: As `Img2Pose.detect_faces` takes one picture.
        faces: What was found in it.
        boxes: Whether to draw boxes.
        landmarks: Whether to draw where 68 points of the head are.
        axes: Whether to draw how the head is turned.
        confidences: Whether to write them above the boxes.
        line_width: Pixels; by default it goes with the size of the picture.
        reference_points: ``(68, 3)``, the reference head, or a file with it; by default
            the published table.
        reading: The order of colours, the range of values and whether to turn pictures.

    Returns:
        ``(H, W, 3)``, red first.

    Raises:
        InputTypeError: If *image* or *faces* is of another kind.
        MissingExtraError: If Pillow is not installed.
    """
    pixels = Photo.of(image, reading or Reading()).read()
    canvas = _Canvas(as_bytes(pixels), line_width)
    faces = list(faces)
    points = default_points() if reference_points is None else reference_points
    heads = _Heads(read_points(points), poses_of(faces), canvas.size)
    if boxes:
        canvas.draw_boxes(faces, confidences=confidences)
    if landmarks:
        canvas.draw_points(heads.points())
    if axes:
        canvas.draw_axes(heads.axes())
    return canvas.pixels()


class _Heads:
    """Reference heads as they are seen in a picture."""

    def __init__(self, points: Any, poses: Any, size: PictureSize) -> None:
        self._points, self._poses = points, poses
        height, width = size
        self._camera = height + width, (width / 2, height / 2)

    def points(self) -> Any:
        """Return the places of all points, ``(F, 68, 2)``."""
        return project(self._points, self._poses, *self._camera)

    def axes(self) -> Any:
        """Return the tip of the nose and the ends of its axes, ``(F, 4, 2)``."""
        nose = self._points[_TIP_OF_NOSE]
        ends = [nose + _LENGTH * np.array(axis) for axis in _AXES]
        return project(np.stack([nose, *ends]), self._poses, *self._camera)


class _Canvas:
    """
    A copy of a picture, and the means to draw on it.

    On small pictures everything is drawn larger and shrunk, so that lines are smooth.
    """

    def __init__(self, pixels: NDArray[np.uint8], line_width: int | None) -> None:
        self.size = height, width = pixels.shape[0], pixels.shape[1]
        self._scale = max(1, min(_SMOOTHEST, _LARGE // max(self.size)))
        self._width = self._scale * (line_width or max(1, round(sum(self.size) / 700)))
        self._pixels = pixels
        enlarged = (width * self._scale, height * self._scale)
        self._layer = pillow().new("RGBA", enlarged)
        self._draw = pillow("ImageDraw").Draw(self._layer)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the picture with what was drawn, ``(H, W, 3)``."""
        picture = pillow().fromarray(self._pixels)
        layer = self._layer.reduce(self._scale)
        picture.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
        return np.array(picture)

    def draw_boxes(self, faces: list[Any], *, confidences: bool) -> None:
        """Draw the boxes of *faces*, the most confident last and so on top."""
        for face in reversed(faces):
            left, top, right, bottom = (x * self._scale for x in face["box"])
            if left + 1 <= right and top + 1 <= bottom:  # NaN is not
                corners = (left, top, right - 1, bottom - 1)
                self._draw.rectangle(corners, outline=_BOX, width=self._width)
                if confidences:
                    self._write(f"{face['confidence']:.2f}", left, top)

    def draw_points(self, points: Any) -> None:
        """Draw dots at *points* ``(F, P, 2)``, smaller on smaller faces."""
        for face in points * self._scale:
            known = face[np.isfinite(face).all(-1)]
            extent = np.ptp(known, axis=0).max() if len(known) else 0.0
            radius = max(min(self._width, 0.012 * extent), self._scale / 2)
            for x, y in filter(self._is_near, known.tolist()):
                corners = (x - radius, y - radius, x + radius, y + radius)
                self._draw.ellipse(corners, fill=_POINT)

    def draw_axes(self, axes: Any) -> None:
        """Draw the axes ``(F, 4, 2)`` of faces, where they look on top."""
        for start, *ends in (axes * self._scale).tolist():
            for colour, end in zip(_COLOURS, ends):
                if self._is_near(start) and self._is_near(end):
                    self._line((*start, *end), colour)

    def _is_near(self, place: Any) -> bool:
        # NaN is near nothing.
        return all(abs(x) < _FAR * max(self._layer.size) for x in place)

    def _line(self, ends: tuple[float, ...], colour: tuple[int, int, int]) -> None:
        self._draw.line(ends, fill=_EDGE, width=2 * self._width + self._scale)
        self._draw.line(ends, fill=colour, width=2 * self._width)

    def _write(self, text: str, left: float, top: float) -> None:
        """Write *text* above the box at *left* and *top*, or in it at the edge."""
        font = pillow("ImageFont").load_default(max(7 * self._width, 10 * self._scale))
        _, _, width, height = self._draw.textbbox((0, 0), text, font=font)
        y = top - height if top >= height else top
        pad = 2 * self._width
        self._draw.rectangle((left, y, left + width + 2 * pad, y + height), fill=_BOX)
        self._draw.text((left + pad, y), text, fill=_EDGE, font=font)
