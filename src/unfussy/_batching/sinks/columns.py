"""
Blocks of results as columns: arrays by the name of the file that each goes to.

An array is one column without a name, in a file of its own; a container has a column
for every leaf, in a folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from unfussy._arrays import to_array
from unfussy._batching.sinks.npy import RowKind
from unfussy._tree import Tree, tree_paths
from unfussy.errors import InputTypeError, InputValueError

__all__ = [
    "Columns",
    "check_columns",
    "file_of",
    "is_folder",
    "row_kinds",
    "to_columns",
]

Columns: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

_FILE_NAME: Final = re.compile(r"[\w\-+=@, ][\w\-+=@, .]*")
_KINDS: Final = "biufcSUmM"  # what a .npy file holds without pickles


def is_folder(path: Path) -> bool:
    """Tell whether *path* is meant for several arrays."""
    return path.suffix.lower() != ".npy"


def file_of(path: Path, name: str) -> Path:
    """Return where the column *name* of the result *path* goes."""
    return path / f"{name}.npy" if is_folder(path) else path


def row_kinds(columns: Columns) -> dict[str, RowKind]:
    """Return what the rows of each column are."""
    return {name: RowKind(x.dtype, x.shape[1:]) for name, x in columns.items()}


def to_columns(block: Tree, path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """
    Return the arrays of *block*: contiguous, in this machine's byte order.

    Args:
        block: One array or tensor, or containers of them, with a row for each item.
        path: Where it is to be written, for the names and for errors.

    Raises:
        InputTypeError: If something in *block* cannot be stored as an array.
        InputValueError: If *path* is not for such a block, or the arrays do not
            have equally many rows.
    """
    if isinstance(block, list):
        raise InputTypeError(
            f"{path}: a list of results is not stored; stack its items to one array"
        )
    leaves = list(tree_paths(block))
    _check_path(leaves, path)
    names = [_key(where) if is_folder(path) else "" for where, _ in leaves]
    _check_names(names, path)
    arrays = [_to_array(leaf, f"result{where}") for where, leaf in leaves]
    columns = dict(zip(names, arrays))
    if len({len(array) for array in columns.values()}) > 1:
        shapes = ", ".join(f"{name} {x.shape}" for name, x in columns.items())
        raise InputValueError(
            f"{path}: arrays with different numbers of rows: {shapes}"
        )
    return columns


def check_columns(
    columns: Columns, expected: Mapping[str, RowKind], path: Path
) -> None:
    """
    Make sure that a block has the columns that the blocks before had.

    Raises:
        InputValueError: If it has others.
    """
    if (found := row_kinds(columns)) != expected:
        raise InputValueError(
            f"{path} holds rows of {_list(expected)}, and this block has "
            f"{_list(found)}; make all blocks alike, or write to another path"
        )


def _list(columns: Mapping[str, RowKind]) -> str:
    listed = [f"{name} {kind}".strip() for name, kind in sorted(columns.items())]
    return ", ".join(listed)


def _check_path(leaves: list[tuple[str, Any]], path: Path) -> None:
    if not leaves:
        raise InputValueError(f"the result holds no array for {path}")
    is_array = leaves[0][0] == ""
    if is_array and is_folder(path):
        raise InputValueError(
            f"the result is one array, and {path} is for several; "
            f"write to {path.with_name(path.name + '.npy')} instead"
        )
    if not is_array and not is_folder(path):
        names = ", ".join(_key(where) for where, _ in leaves)
        raise InputValueError(
            f"a .npy file holds one array, and the result holds {names}; "
            f"write to the folder {path.with_suffix('')} instead"
        )


def _key(where: str) -> str:
    plain = where.replace("][", ".").replace("'", "").strip("[].").replace("].", ".")
    return plain.replace("[", ".") or "result"


def _check_names(names: list[str], path: Path) -> None:
    # Many disks do not tell small letters from capitals.
    same = Counter(name.casefold() for name in names)
    for name in names:
        if name and not _FILE_NAME.fullmatch(name):
            raise InputValueError(
                f"{path}: {name!r} cannot name a file; rename that key"
            )
        if same[name.casefold()] > 1:
            raise InputValueError(
                f"{path}: several results would be written to {name}.npy; rename a key"
            )


def _to_array(leaf: Any, where: str) -> np.ndarray[Any, Any]:
    array = to_array(leaf) if isinstance(leaf, torch.Tensor) else leaf
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        kind = type(leaf).__name__
        raise InputTypeError(f"{where} is a {kind}; only arrays and tensors are stored")
    if array.dtype.kind not in _KINDS or np.dtype(array.dtype.str) != array.dtype:
        raise InputTypeError(
            f"{where} is of dtype {array.dtype}, which has no place in a .npy file; "
            "convert it to numbers"
        )
    if not array.ndim:
        raise InputValueError(
            f"{where} is one value for all items; return a row for each item"
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
