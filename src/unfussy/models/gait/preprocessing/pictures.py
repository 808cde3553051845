"""
Masks and label maps in picture files, one or several to a file.

Masks come as grey levels; label maps keep the numbers of a palette, which are labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy import _files
from unfussy._pillow import pillow
from unfussy.errors import InputValueError

__all__ = [
    "PICTURES",
    "Kind",
    "UnreadableFramesError",
    "holds_several",
    "picture_frames",
]

Kind: TypeAlias = Literal["silhouettes", "parsing"]
"""What the pixels are: grey levels, or labels."""

PICTURES: Final = _files.PICTURES | {".apng"}
_OFTEN_SEVERAL: Final = frozenset({".apng", ".gif", ".tif", ".tiff", ".webp"})


class UnreadableFramesError(InputValueError, OSError):
    """A file holds no frames, or is damaged."""


def picture_frames(path: Path, kind: Kind, /) -> Iterator[NDArray[Any]]:
    """
    Yield the pictures in a file, each ``(H, W)``.

    Raises:
        MissingExtraError: If Pillow is not installed.
        UnreadableFramesError: If the file cannot be read.
    """
    try:
        with pillow().open(path) as picture:
            for i in range(getattr(picture, "n_frames", 1)):
                picture.seek(i)
                yield _plane(picture, kind)
    except (FileNotFoundError, UnreadableFramesError):
        raise
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableFramesError(
            f"{path} cannot be read as a picture ({reason})"
        ) from error


def holds_several(path: Path, /) -> bool:
    """
    Tell whether a picture file is a walk by itself.

    Raises:
        MissingExtraError: If that takes Pillow, and it is not installed.
    """
    if path.suffix.lower() not in _OFTEN_SEVERAL:
        return False
    try:
        with pillow().open(path) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError):
        return False  # what is wrong with it is said when it is read


def _plane(picture: Any, kind: Kind) -> NDArray[Any]:
    if picture.mode.startswith(("I", "F")):
        return np.asarray(picture).copy()  # the numbers have to be judged
    if kind == "silhouettes":
        return np.asarray(picture.convert("L")).copy()
    if picture.mode not in ("L", "P"):
        raise UnreadableFramesError(
            "label maps are pictures of grey levels or of a palette, got mode "
            f"{picture.mode!r} in {picture.filename or 'a picture'}"
        )
    return np.asarray(picture).copy()
