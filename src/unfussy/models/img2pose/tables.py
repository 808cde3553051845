"""
What the command line reads and writes for the detector: folders, and arrays of faces.

F faces of all pictures, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from unfussy import Failed
from unfussy._files import PICTURES, fingerprint_of
from unfussy.errors import InputValueError
from unfussy.models.img2pose.faces import Face

__all__ = ["PhotoFiles", "as_arrays"]


class PhotoFiles(Sequence[Any]):
    """
    Pictures in files, by their paths: each is opened when its turn comes.

    Args:
        files: Where they are.
        folder: What their names are relative to.
    """

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        self._files, self._folder = tuple(files), folder

    @classmethod
    def below(cls, path: Path, /) -> PhotoFiles:
        """
        Find the pictures below a folder, in the order of their names.

        Raises:
            InputValueError: If there are none.
        """
        found = sorted(x for x in path.rglob("*") if x.suffix.lower() in PICTURES)
        if not found:
            raise InputValueError(f"the folder {path} holds no pictures")
        return cls(found, path)

    @property
    def names(self) -> tuple[str, ...]:
        """What the pictures are called: their paths below the folder."""
        return tuple(x.relative_to(self._folder).as_posix() for x in self._files)

    @property
    def fingerprint(self) -> str:
        """Their names, sizes and times, as a checksum."""
        return fingerprint_of("photos", zip(self.names, self._files))

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, i: int) -> Path: ...
    @overload
    def __getitem__(self, i: slice) -> PhotoFiles: ...
    def __getitem__(self, i: int | slice) -> Path | PhotoFiles:
        if isinstance(i, slice):
            return PhotoFiles(self._files[i], self._folder)
        return self._files[i]


def as_arrays(found: Iterable[Any], /) -> dict[str, NDArray[Any]]:
    """
    Return what `Img2Pose.detect_faces` found as arrays, for files of arrays.

    Args:
        found: Faces of one picture; or for each of several pictures its faces, or why
            there are none.

    Returns:
        ``boxes`` ``(F, 4)``, ``confidences`` ``(F,)``, ``poses`` ``(F, 6)``,
        ``keypoints`` ``(F, 5, 2)``, and ``pictures`` ``(F,)``: the index of the picture
        that each face is in.
    """
    rows = list(found)
    lists = [rows] if rows and isinstance(rows[0], Face) else rows
    pairs = [(i, face) for i, each in enumerate(lists) for face in _faces(each)]
    faces = [face for _, face in pairs]
    return {
        "boxes": _table([face.box for face in faces], 4),
        "confidences": _table([face.confidence for face in faces]),
        "poses": _table([face.pose for face in faces], 6),
        "keypoints": _table([face.keypoints for face in faces], 5, 2),
        "pictures": np.array([i for i, _ in pairs], np.int64),
    }


def _faces(found: Any) -> Sequence[Face]:
    return () if isinstance(found, Failed) else found


def _table(rows: Sequence[Any], *shape: int) -> NDArray[Any]:
    return np.array(rows, np.float32).reshape(len(rows), *shape)
