"""
Faces in the picture files of a folder, in order, or why there is none.

Files are read ahead of the network by a thread, photos aligned some at a time. What
cannot be read or shows no face comes as an `Unusable` in its place.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from torch import Tensor

from unfussy import Failed, batched, stream
from unfussy._files import PICTURES
from unfussy.errors import InputValueError, MissingExtraError
from unfussy.models.adaface.inputs import to_input
from unfussy.models.adaface.mtcnn.cropping import NoFaceError
from unfussy.models.adaface.mtcnn.reading import read_photo

__all__ = ["Aligner", "FaceFiles", "Unusable", "read_faces"]


class Aligner(Protocol):
    """What cuts faces out of photos, such as an ``MTCNN``."""

    def align(self, photos: list[Any], /, *, size: int) -> Sequence[Tensor | None]:
        """Return of each photo ``(3, H, W)`` a face ``(3, size, size)``, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture without a face, and why."""

    error: Exception

    def reason(self, path: Path) -> str:
        """Say in a line why the picture *path* has no face, without its path."""
        text = " ".join(str(self.error).split()) or type(self.error).__name__
        return text.removeprefix(str(path)).lstrip(": ")


@dataclass(frozen=True, slots=True)
class FaceFiles(Sequence[Path]):
    """
    The picture files below a folder, in the order of their paths.

    Attributes:
        folder: Where they are.
        names: Their paths below it, with slashes.
    """

    folder: Path
    names: tuple[str, ...]

    @classmethod
    def below(cls, folder: Path) -> FaceFiles:
        """
        Return the pictures below *folder*; hidden ones are left out.

        Raises:
            InputValueError: If there are none.
        """
        below = (path.relative_to(folder) for path in folder.rglob("*"))
        found = sorted(path.parts for path in below if _is_shown_picture(path))
        if not found:
            kinds = ", ".join(sorted(PICTURES))
            raise InputValueError(f"there are no pictures ({kinds}) below {folder}")
        return cls(folder, tuple(map("/".join, found)))

    @property
    def fingerprint(self) -> str:
        """Their names, sizes and times, as a checksum."""
        states = [path.stat() for path in self]
        known = [(state.st_size, state.st_mtime_ns) for state in states]
        return f"pictures {crc32(repr((self.names, known)).encode()):08x}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: Any) -> Any:
        return self.folder / self.names[i]


def read_faces(
    paths: Iterator[Path], aligner: Aligner | None, size: int
) -> Generator[Tensor | Unusable, None, None]:
    """
    Yield the face of each picture as the network takes it, ``(3, size, size)``.

    Args:
        paths: The pictures, which are read when it is their turn.
        aligner: Finds the faces; without one, pictures are aligned faces.
        size: The side of a face.
    """
    if aligner is None:
        read = (_attempted(_read_face, path, size) for path in paths)
        yield from stream(_passed, read)
        return
    photos = (_attempted(read_photo, path) for path in paths)
    crops = stream(_align, photos, on_error="return", aligner=aligner, size=size)
    with closing(crops):
        for crop in crops:
            yield Unusable(crop.error) if isinstance(crop, Failed) else crop


def _is_shown_picture(path: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in PICTURES and not is_hidden


def _attempted(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except MissingExtraError:
        raise
    except Exception as error:  # noqa: BLE001 - what one file does stops no other
        # Its traceback would keep the picture in memory.
        return Unusable(error.with_traceback(None))


def _read_face(path: Path, size: int) -> Tensor:
    return to_input(path, size=size)[0]


@batched(ragged="list", join="items", progress=False)
def _passed(faces: list[Any]) -> list[Any]:
    return faces


@batched(ragged="list", join="items", progress=False)
def _align(photos: list[Any], aligner: Aligner, size: int) -> list[Any]:
    read = [photo for photo in photos if not isinstance(photo, Unusable)]
    crops = iter(aligner.align(read, size=size) if read else ())
    return [
        photo if isinstance(photo, Unusable) else _to_face(next(crops), size)
        for photo in photos
    ]


def _to_face(crop: Tensor | None, size: int) -> Any:
    if crop is None:
        return Unusable(NoFaceError("there is no face in the photo"))
    return to_input(crop, channels="rgb", size=size)[0]
