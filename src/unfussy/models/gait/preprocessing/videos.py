"""
Videos of masks, read by PyAV or imageio, whichever is installed.

Compression leaves faint grey round a mask, and rows that are not black belong to the
walker: so pixels are made black or white.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import MissingExtraError
from unfussy.models.gait.preprocessing.pictures import UnreadableFramesError

__all__ = ["VIDEOS", "video_frames"]

VIDEOS: Final = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})

_WHITE: Final = 128


def video_frames(path: Path, /) -> Iterator[NDArray[np.uint8]]:
    """
    Yield the frames of a video of masks, each ``(H, W)``, 0 or 255.

    Raises:
        MissingExtraError: If there is nothing to read videos with.
        UnreadableFramesError: If the file cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    module, decode = _reader()
    try:
        for frame in decode(module, path):
            grey = frame if frame.ndim == 2 else frame.mean(axis=-1)  # noqa: PLR2004
            yield np.where(grey >= _WHITE, np.uint8(255), np.uint8(0))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UnreadableFramesError(
            f"{path} cannot be read as a video ({reason})"
        ) from error


def _by_av(av: Any, path: Path) -> Iterator[NDArray[Any]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="gray")


def _by_imageio(imageio: Any, path: Path) -> Iterator[NDArray[Any]]:
    yield from map(np.asarray, imageio.imiter(path))


_READERS: Final[dict[str, Callable[[Any, Path], Iterator[NDArray[Any]]]]] = {
    "av": _by_av,
    "imageio.v3": _by_imageio,
}


def _reader() -> tuple[Any, Callable[[Any, Path], Iterator[NDArray[Any]]]]:
    for name, decode in _READERS.items():
        try:
            return import_module(name), decode
        except ImportError:
            continue
    raise MissingExtraError("av", "video")
