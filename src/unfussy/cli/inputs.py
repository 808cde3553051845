"""
A user's files as inputs.

``.npy``, ``.npz`` (one array, or several by name), ``.pt`` (tensors in containers,
never an object that would run code), a picture, or a folder of pictures. Of large ones
only what is used is read: ``.npy`` files are mapped into memory, pictures of a folder
opened one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import torch

from unfussy._files import PICTURES, fingerprint_of
from unfussy._pillow import pillow
from unfussy.errors import InputValueError

__all__ = ["Pictures", "is_items", "names_of", "read_input", "read_whole"]


def read_input(path: Path, kind: Any = None) -> Any:
    """
    Return what *path* holds: an array, tensors, pictures, or a dictionary of arrays.

    Args:
        path: A file or a folder.
        kind: The class that it is for. If that has ``read_items``, this reads folders:
            it returns a sequence of items that are read when they are asked for, with a
            ``fingerprint``, and ``names`` if they have some.

    Raises:
        InputValueError: If there is nothing there that can be read.
        MissingExtraError: If there are pictures and Pillow is not installed.
    """
    if path.is_dir():
        return getattr(kind, "read_items", _read_folder)(path)
    if not path.exists():
        raise InputValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return Pictures([path])[0]
    if suffix not in _READERS:
        known = ", ".join([*_READERS, "pictures"])
        raise InputValueError(f"{path} is of no known kind; there are {known}")
    try:
        return _READERS[suffix](path)
    except Exception as error:
        raise InputValueError(f"{path} cannot be read: {error}") from error


def read_whole(inputs: Any) -> Any:
    """Return *inputs* as one call of a method takes them: all at once."""
    if isinstance(inputs, np.memmap):
        return np.asarray(inputs)
    return list(inputs) if is_items(inputs) else inputs


def is_items(inputs: Any) -> bool:
    """Tell whether *inputs* are items in files, read when they are asked for."""
    return isinstance(inputs, Sequence) and hasattr(inputs, "fingerprint")


def names_of(inputs: Any) -> tuple[str, ...] | None:
    """Return what items in files are called, or None if they have no names."""
    names: tuple[str, ...] | None = getattr(inputs, "names", None)
    return names if is_items(inputs) else None


def _read_npy(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _read_pt(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: Final[dict[str, Callable[[Path], Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
}


def _read_folder(path: Path) -> Pictures:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    if not files:
        raise InputValueError(f"the folder {path} holds no pictures")
    return Pictures(files)


class Pictures(Sequence[Any]):
    """
    Pictures in files, each opened when it is asked for.

    Args:
        files: Where they are.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files, self._open = files, pillow().open

    @property
    def fingerprint(self) -> str:
        """Their names, sizes and times, as a checksum."""
        return fingerprint_of("pictures", ((x.name, x) for x in self._files))

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, i: int) -> Any: ...
    @overload
    def __getitem__(self, i: slice) -> Pictures: ...
    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return Pictures(self._files[i])
        try:
            with self._open(self._files[i]) as picture:
                picture.load()
                return picture.copy()
        except OSError as error:
            raise InputValueError(
                f"the picture {self._files[i]} cannot be read: {error}"
            ) from error
