"""
A user's files as inputs, and results as files.

Read: ``.npy``, ``.npz`` (one array, or several by name), ``.pt`` (tensors in
containers, never an object that would run code), a picture or a folder of pictures.
Written: ``.npy`` (one array), ``.npz`` (arrays by their path in the result), ``.pt``
(the result as it is).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from unfussy._tree import tree_map, tree_paths
from unfussy.errors import InputValueError, MissingExtraError

__all__ = ["check_output", "read_input", "write_output"]

_PICTURES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


def read_input(path: Path) -> Any:
    """
    Return what *path* holds: an array, tensors, pictures, or a dictionary of arrays.

    Raises:
        InputValueError: If there is nothing there that can be read.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise InputValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix in _PICTURES:
        return _read_pictures([path])[0]
    if suffix not in _READERS:
        known = ", ".join([*_READERS, "pictures"])
        raise InputValueError(f"{path} is of no known kind; there are {known}")
    try:
        return _READERS[suffix](path)
    except Exception as error:
        raise InputValueError(f"{path} cannot be read: {error}") from error


def _read_npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


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


def _read_folder(path: Path) -> list[Any]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not files:
        raise InputValueError(f"the folder {path} holds no pictures")
    return _read_pictures(files)


def _read_pictures(files: list[Path]) -> list[Any]:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("Pillow", "images") from error
    pictures = []
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
                pictures.append(picture.copy())
        except OSError as error:
            raise InputValueError(
                f"the picture {file} cannot be read: {error}"
            ) from error
    return pictures


def check_output(path: Path) -> None:
    """
    Make sure, before any work, that a result can be written to *path*.

    Raises:
        InputValueError: If its ending is not known, or its folder not there.
    """
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise InputValueError(f"{path} is of no known kind; results go to {known}")
    if not path.parent.is_dir():
        raise InputValueError(f"there is no folder {path.parent} for {path.name}")


def write_output(path: Path, result: Any) -> str:
    """
    Write *result* and return a line about it.

    The file appears whole or not at all.

    Raises:
        InputValueError: If the result does not fit the kind of file.
    """
    write = _WRITERS[path.suffix.lower()]
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            written = write(file, result, path)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"{path}: {written}"


def _write_npy(file: Any, result: Any, path: Path) -> str:
    if not isinstance(result, np.ndarray):
        listed = ", ".join(key for key, _ in _arrays(result))
        if not listed:
            raise InputValueError(f"the result holds no array for {path}")
        raise InputValueError(
            f"a .npy file holds one array, and the result holds {listed}; "
            f"write {path.stem}.npz instead"
        )
    np.save(file, result, allow_pickle=False)
    return _describe(result)


def _write_npz(file: Any, result: Any, path: Path) -> str:
    arrays = dict(_arrays(result))
    if not arrays:
        raise InputValueError(f"the result holds no array for {path}")
    np.savez(file, allow_pickle=False, **arrays)
    return ", ".join(f"{key} {_describe(array)}" for key, array in arrays.items())


def _write_pt(file: Any, result: Any, path: Path) -> str:  # noqa: ARG001 - as the others
    torch.save(tree_map(_tensor, result), file)
    return ", ".join(f"{key} {_describe(array)}" for key, array in _arrays(result))


def _tensor(leaf: Any) -> Any:
    return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf


_WRITERS: Final[dict[str, Callable[[Any, Any, Path], str]]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".pt": _write_pt,
}


def _arrays(result: Any) -> list[tuple[str, Any]]:
    return [
        (_key(key), leaf)
        for key, leaf in tree_paths(result)
        if isinstance(leaf, (np.ndarray, torch.Tensor))
    ]


def _key(path: str) -> str:
    plain = path.replace("][", ".").replace("'", "").strip("[].").replace("].", ".")
    return plain.replace("[", ".") or "result"


def _describe(array: Any) -> str:
    return f"{tuple(array.shape)} {str(array.dtype).removeprefix('torch.')}"
