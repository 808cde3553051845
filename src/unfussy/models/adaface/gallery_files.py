"""
Galleries on disk: features in a ``.npy``, and labels in a file that names it.

A gallery is saved under new names, and the file of labels is replaced last. Whenever
a run is killed, the labels that are there belong to the features that they name.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from unfussy.errors import InputValueError
from unfussy.models.adaface.searching import Rows

__all__ = ["LABELS", "collect", "read", "write"]

LABELS: Final = "gallery.json"
_ARRAYS: Final = ("features", "norms")


def write(folder: Path, features: Rows, norms: Rows, labels: Sequence[Any]) -> Path:
    """Write a gallery into *folder*, in place of the one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    old = _names_in(folder)
    token = secrets.token_hex(4)
    names = {name: f"{name}-{token}.npy" for name in _ARRAYS}
    _replace(folder / names["features"], lambda file: np.save(file, features))
    _replace(folder / names["norms"], lambda file: np.save(file, norms))
    text = json.dumps({**names, "labels": list(labels)}, ensure_ascii=False)
    _replace(folder / LABELS, lambda file: file.write(text.encode()))
    for name in old:
        # Some systems do not remove a file that a gallery still maps.
        with suppress(OSError):
            (folder / name).unlink()
    return folder


def read(folder: Path) -> tuple[Rows, Rows, list[Any]]:
    """
    Return features, mapped into memory, with their norms and labels.

    Raises:
        InputValueError: If there is no gallery in *folder*, or only part of it.
    """
    try:
        saved = json.loads((folder / LABELS).read_bytes())
        features, norms = (_mapped(folder / saved[name]) for name in _ARRAYS)
        labels = list(saved["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputValueError(
            f"{folder} holds no whole gallery, as Gallery.save() writes it: {error}"
        ) from error
    if not len(features) == len(norms) == len(labels):
        raise InputValueError(
            f"{folder} holds {len(features)} features, {len(norms)} norms and "
            f"{len(labels)} labels: its files are not of one gallery"
        )
    return features, norms, labels


def collect(folder: Path, label: Callable[[Path], Any]) -> tuple[Rows, list[Any]]:
    """
    Return the rows of every ``.npy`` below *folder*, in the order of their paths.

    Args:
        folder: Where files of one row ``(D,)`` or of several ``(n, D)`` are.
        label: Called with the path of a file; labels each of its rows.

    Raises:
        InputValueError: If there are none, or their rows differ in length.
    """
    files = sorted(folder.rglob("*.npy"))
    if not files:
        raise InputValueError(f"there are no .npy files below {folder}")
    parts = [np.atleast_2d(np.load(file)) for file in files]
    for file, part in zip(files, parts):
        if part.ndim != 2 or part.shape[1] != parts[0].shape[1]:  # noqa: PLR2004
            raise InputValueError(
                f"{file} holds an array {part.shape}; after {files[0]} a gallery "
                f"takes ({parts[0].shape[-1]},) or (n, {parts[0].shape[-1]})"
            )
    labels = [label(file) for file, part in zip(files, parts) for _ in part]
    return np.concatenate(parts), labels


def _names_in(folder: Path) -> list[str]:
    with suppress(OSError, ValueError, KeyError):
        saved = json.loads((folder / LABELS).read_bytes())
        return [saved[name] for name in _ARRAYS]
    return []


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _mapped(path: Path) -> Rows:
    array: Rows = np.load(path, mmap_mode=None if _is_empty(path) else "r")
    return array


def _is_empty(path: Path) -> bool:
    """Tell whether the array in *path* has no numbers: no system maps nothing."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, *_ = np.lib.format.read_array_header_1_0(file)
    return 0 in shape
