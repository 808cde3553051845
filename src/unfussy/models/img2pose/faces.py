"""
One face that was found: where it is, how sure that is, and how the head is turned.

All numbers are Python's own, in pixels of the picture as it was given, so that a face
can be compared, hashed, pickled and written as JSON.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from dataclasses import dataclass
from math import degrees as to_degrees
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from unfussy.errors import InputTypeError, UnknownNameError
from unfussy.models.img2pose.rotations import Floats, euler_angles, matrices_of

__all__ = ["Box", "Euler", "Face", "Keypoints", "Point", "Pose"]


class Point(NamedTuple):
    """A place in a picture, in pixels from its left and top edges."""

    x: float
    y: float


class Box(NamedTuple):
    """A box in a picture: the places of its sides, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


class Keypoints(NamedTuple):
    """Five points of a face; left is what is on the left in the picture."""

    left_eye: Point
    """The outer corner of the eye."""
    right_eye: Point
    """The outer corner of the eye."""
    nose: Point
    """The tip."""
    mouth_left: Point
    """The corner."""
    mouth_right: Point
    """The corner."""


class Pose(NamedTuple):
    """How the reference head is turned and moved in front of the camera."""

    rx: float
    ry: float
    rz: float
    tx: float
    ty: float
    tz: float


class Euler(NamedTuple):
    """How far a head is turned: up, aside and tilted."""

    pitch: float
    yaw: float
    roll: float


_NAMES: Final = ("box", "confidence", "pose", "keypoints")
_Plain: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Face:
    """
    A face that was found in a picture.

    It reads like a dictionary too: ``face["box"]``, ``dict(face)``. There boxes, poses
    and points are lists, as JSON has them.

    Attributes:
        box: Left, top, right and bottom, pixels.
        confidence: The probability that this is a face.
        pose: A rotation vector, in radians, and a shift, in sizes of the head. The
            camera's focal length is the width plus the height of the picture in pixels,
            and its axis the picture's middle.
        keypoints: Five points, pixels. They follow from *pose* and are not cut off at
            the picture's edges.

    Examples:
        >>> face = Face.of((0, 0, 8, 9), 0.75, (0, 0, 0.5, 0, 0, 4), [(1, 2)] * 5)
        >>> face.box.right, face["box"], face.keypoints.nose.y
        (8.0, [0.0, 0.0, 8.0, 9.0], 2.0)
        >>> face.as_euler().roll
        28.6478...
        >>> sorted(face.to_dict()["keypoints"])
        ['left_eye', 'mouth_left', 'mouth_right', 'nose', 'right_eye']
    """

    box: Box
    confidence: float
    pose: Pose
    keypoints: Keypoints

    @classmethod
    def of(cls, box: Any, confidence: Any, pose: Any, keypoints: Any, /) -> Face:
        """Make a face of any sequences of numbers: 4, one, 6 and five times 2."""
        points = [Point(float(x), float(y)) for x, y in keypoints]
        return cls(
            Box(*map(float, box)),
            float(confidence),
            Pose(*map(float, pose)),
            Keypoints(*points),
        )

    @classmethod
    def from_dict(cls, plain: Any, /) -> Face:
        """
        Make a face of what `to_dict` gave, read from JSON perhaps.

        Raises:
            InputTypeError: If it is something else.
        """
        try:
            points = [plain["keypoints"][name] for name in Keypoints._fields]
            return cls.of(plain["box"], plain["confidence"], plain["pose"], points)
        except (KeyError, TypeError, ValueError) as error:
            raise InputTypeError(
                f"a face is a dictionary of {', '.join(_NAMES)}, got {plain!r:.80}"
            ) from error

    def to_dict(self) -> _Plain:
        """Return dictionaries, lists and floats alone, for JSON."""
        points = {k: list(point) for k, point in self.keypoints._asdict().items()}
        return {
            "box": list(self.box),
            "confidence": self.confidence,
            "pose": list(self.pose),
            "keypoints": points,
        }

    def rotation_matrix(self) -> Floats:
        """
        Return how the head is turned, ``(3, 3)``.

        The matrix turns points of the reference head, for which x goes to the right in
        the picture, y down and z away from the camera.
        """
        matrix: Floats = matrices_of(np.array([self.pose[:3]]))[0]
        return matrix

    def as_euler(self, *, degrees: bool = True) -> Euler:
        """
        Return pitch, yaw and roll, as they are compared on AFLW2000-3D.

        These are the turns about the fixed axes x, y and z of the *transposed* matrix,
        in that order, with the signs of y and z changed.

        Args:
            degrees: Otherwise radians.
        """
        x, y, z = euler_angles(self.rotation_matrix().T[None])[0].tolist()
        angles = (x, -y, -z)
        return Euler(*map(to_degrees, angles) if degrees else angles)

    # --- as a dictionary -----------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        """Return the box, confidence, pose or keypoints, as `to_dict` gives them."""
        try:
            return self.to_dict()[name]
        except KeyError as error:
            raise UnknownNameError(
                f"a face has {', '.join(_NAMES)}, not {name!r}"
            ) from error

    def __iter__(self) -> Iterator[str]:
        """Return the names, as a dictionary does."""
        return iter(_NAMES)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(_NAMES)

    def __contains__(self, name: object) -> bool:
        """Tell whether a face has *name*."""
        return name in _NAMES

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return what *name* has, or *default* if a face has none such."""
        return self.to_dict().get(name, default)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self.to_dict().keys()

    def values(self) -> ValuesView[Any]:
        """Return what the names have."""
        return self.to_dict().values()

    def items(self) -> ItemsView[str, Any]:
        """Return the names and what they have."""
        return self.to_dict().items()
