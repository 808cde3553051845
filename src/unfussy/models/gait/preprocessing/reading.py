"""
Frames of one walk from wherever they lie: a folder of pictures, a file, a video.

T frames, H height, W width. Numbers come as they are stored; what they mean is
settled where they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.pictures import (
    PICTURES,
    Kind,
    UnreadableFramesError,
    picture_frames,
)
from unfussy.models.gait.preprocessing.videos import VIDEOS, video_frames

__all__ = [
    "ARRAYS",
    "FILES",
    "PICKLES",
    "iter_frames",
    "natural_key",
    "pictures_in",
    "read_arrays",
    "read_frames",
    "refuse_pickle",
]

ARRAYS: Final = frozenset({".npy", ".npz"})
PICKLES: Final = frozenset({".pickle", ".pkl"})
FILES: Final = ARRAYS | PICTURES | VIDEOS


def read_frames(
    path: str | PathLike[str], /, *, kind: Kind = "silhouettes"
) -> NDArray[Any] | list[NDArray[Any]]:
    """
    Read the frames of one walk.

    Args:
        path: A folder of pictures, in natural order (``2.png`` before ``10.png``); a
            file with several pictures (GIF, TIFF, APNG, WebP); a ``.npy`` file, or an
            ``.npz`` file with one array; or a video of masks.
        kind: ``"parsing"`` keeps the numbers of a palette, which are labels.

    Returns:
        ``(T, H, W)``; a list of frames ``(H, W)`` if their sizes differ.

    Raises:
        FileNotFoundError: If there is nothing of that name.
        InputValueError: If it is of a kind that is not read, such as a pickle.
        MissingExtraError: If the package that reads it is not installed.
        UnreadableFramesError: If it holds no frames, or is damaged.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAYS and path.is_file():
        return _only(read_arrays(path), path)
    frames = list(iter_frames(path, kind=kind))
    if not frames:
        raise UnreadableFramesError(f"{path} holds no frames")
    return np.stack(frames) if len({x.shape for x in frames}) == 1 else frames


def iter_frames(
    path: str | PathLike[str], /, *, kind: Kind = "silhouettes"
) -> Iterator[NDArray[Any]]:
    """
    Yield the frames of one walk, each ``(H, W)``, as they are needed.

    Args:
        path: As in `read_frames`.
        kind: As in `read_frames`.

    Raises:
        InputValueError: As in `read_frames`, whose other errors it raises too.
    """
    path = Path(path)
    if kind not in ("silhouettes", "parsing"):
        raise InputValueError(f"kind is 'silhouettes' or 'parsing', got {kind!r}")
    if path.is_dir():
        return _folder_frames(path, kind)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return _file_frames(path, kind)


def read_arrays(path: Path, /) -> dict[str, NDArray[Any]]:
    """
    Return the arrays of a file by name; that of a ``.npy`` file has none.

    Raises:
        UnreadableFramesError: If it is damaged or holds Python objects.
    """
    try:
        with path.open("rb") as file:  # numpy.load() leaves a damaged one open
            loaded = np.load(file, allow_pickle=False)
            is_one = isinstance(loaded, np.ndarray)
            return {"": loaded} if is_one else dict(loaded)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever zlib, zipfile and NumPy make of damage
        reason = str(error).partition("\n")[0]
        raise UnreadableFramesError(
            f"{path} cannot be read as arrays of numbers ({reason})"
        ) from error


def pictures_in(folder: Path, /) -> list[Path]:
    """Return the pictures right in *folder*, in natural order; hidden ones are not."""
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    ]
    return sorted(found, key=lambda path: natural_key(path.name))


def natural_key(name: str, /) -> tuple[Any, ...]:
    """
    Return a key that sorts numbers in names by their size.

    >>> sorted(["10.png", "2.png"], key=natural_key)
    ['2.png', '10.png']
    """
    pieces = re.split(r"(\d+)", name, flags=re.ASCII)
    parts = [(int(x), "") if x.isdigit() else (-1, x) for x in pieces]
    return tuple(parts), name


def refuse_pickle(path: Path, /) -> InputValueError:
    """Return the error that says why a pickle is not read, and what to do."""
    return InputValueError(
        f"{path} is a pickle, which can run code when it is read: where you trust it, "
        "write its array to a .npy file with numpy.save()"
    )


def _only(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    if len(arrays) != 1:
        raise InputValueError(
            f"{path} holds {len(arrays)} arrays ({', '.join(arrays)}): "
            "read_sequences() reads the parts of a walk"
        )
    return next(iter(arrays.values()))


def _folder_frames(folder: Path, kind: Kind) -> Iterator[NDArray[Any]]:
    pictures = pictures_in(folder)
    if not pictures:
        raise UnreadableFramesError(
            f"there are no pictures in {folder}; read_sequences() reads a folder of "
            "walks"
        )
    for path in pictures:
        yield from picture_frames(path, kind)


def _file_frames(path: Path, kind: Kind) -> Iterator[NDArray[Any]]:
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return iter(_only(read_arrays(path), path))
    if suffix in PICTURES:
        return picture_frames(path, kind)
    if suffix in VIDEOS and kind == "parsing":
        raise InputValueError(f"{path} is a video, whose compression changes labels")
    if suffix in VIDEOS:
        return video_frames(path)
    if suffix in PICKLES:
        raise refuse_pickle(path)
    raise InputValueError(
        f"{path} is of no kind that is read: {', '.join(sorted(FILES))}"
    )
