"""
Results as files.

``.npy`` (one array), a folder of those (several arrays), ``.npz`` (arrays by their
path in the result), ``.pt`` (the result as it is), ``.json`` (lists and numbers).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from unfussy._arrays import to_array
from unfussy._tree import tree_map, tree_paths
from unfussy.cli.plain import as_plain
from unfussy.errors import InputValueError

__all__ = ["check_output", "describe_output", "is_by_row", "write_output"]


def check_output(path: Path) -> None:
    """
    Make sure, before any work, that a result can be written to *path*.

    Raises:
        InputValueError: If its ending is not known, or its folder not there.
    """
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(filter(None, _WRITERS))
        raise InputValueError(
            f"{path} is of no known kind; results go to {known}, or to a folder"
        )
    if not path.parent.is_dir():
        raise InputValueError(f"there is no folder {path.parent} for {path.name}")


def is_by_row(path: Path) -> bool:
    """Tell whether results can go to *path* some rows at a time."""
    return path.suffix.lower() in {".npy", ""}


def write_output(path: Path, result: Any) -> str:
    """
    Write *result* and return a line about it.

    Each file appears whole or not at all.

    Raises:
        InputValueError: If the result does not fit the kind of file.
    """
    return f"{path}: {_WRITERS[path.suffix.lower()](result, path)}"


def describe_output(path: Path) -> str:
    """Return the line about what is at *path*, a ``.npy`` file or a folder of them."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in files}
    if not path.is_dir():
        return f"{path}: {_describe(arrays[path.stem])}"
    return f"{path}: {_list(arrays)}"


@contextmanager
def _whole(path: Path) -> Iterator[Any]:
    """Open a file that gets its name only when it is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_npy(result: Any, path: Path) -> str:
    if not isinstance(result, np.ndarray):
        listed = ", ".join(_arrays(result))
        if not listed:
            raise InputValueError(f"the result holds no array for {path}")
        raise InputValueError(
            f"a .npy file holds one array, and the result holds {listed}; "
            f"write {path.stem}.npz instead"
        )
    with _whole(path) as file:
        np.save(file, result, allow_pickle=False)
    return _describe(result)


def _write_npz(result: Any, path: Path) -> str:
    arrays = _some_arrays(result, path)
    with _whole(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return _list(arrays)


def _write_folder(result: Any, path: Path) -> str:
    arrays = _some_arrays(result, path)
    if isinstance(result, (np.ndarray, torch.Tensor)):
        raise InputValueError(
            f"the result is one array, and {path} is for several; write to "
            f"{path.name}.npy instead"
        )
    path.mkdir(exist_ok=True)
    for name, array in arrays.items():
        with _whole(path / f"{name}.npy") as file:
            np.save(file, _as_array(array), allow_pickle=False)
    return _list(arrays)


def _write_pt(result: Any, path: Path) -> str:
    with _whole(path) as file:
        torch.save(tree_map(_as_tensor, result), file)
    return _list(_arrays(result))


def _write_json(result: Any, path: Path) -> str:
    plain = as_plain(result)
    with _whole(path) as file:
        file.write(json.dumps(plain, indent=1, allow_nan=False).encode())
    return f"{len(plain)} entries" if isinstance(plain, (list, dict)) else "1 entry"


def _as_tensor(leaf: Any) -> Any:
    return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf


def _as_array(leaf: Any) -> Any:
    return to_array(leaf) if isinstance(leaf, torch.Tensor) else leaf


_WRITERS: Final[dict[str, Callable[[Any, Path], str]]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".pt": _write_pt,
    ".json": _write_json,
    "": _write_folder,
}


def _some_arrays(result: Any, path: Path) -> dict[str, Any]:
    if not (arrays := _arrays(result)):
        raise InputValueError(f"the result holds no array for {path}")
    return arrays


def _arrays(result: Any) -> dict[str, Any]:
    return {
        _key(key): leaf
        for key, leaf in tree_paths(result)
        if isinstance(leaf, (np.ndarray, torch.Tensor))
    }


def _key(path: str) -> str:
    plain = path.replace("][", ".").replace("'", "").strip("[].").replace("].", ".")
    return plain.replace("[", ".") or "result"


def _list(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_describe(array)}" for key, array in arrays.items())


def _describe(array: Any) -> str:
    return f"{tuple(array.shape)} {str(array.dtype).removeprefix('torch.')}"
