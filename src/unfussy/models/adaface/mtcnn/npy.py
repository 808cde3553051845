"""
A dictionary of arrays in a ``.npy`` file, read without running what is pickled in it.

NumPy itself reads such a file only with ``allow_pickle=True``, which lets the file run
any code.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from unfussy._arrays import from_array
from unfussy.errors import CheckpointError
from unfussy.models._unpickler import Unpickler

__all__ = ["read_npy_state"]

_RECONSTRUCT: Final = np.empty(0).__reduce__()[0]
# What an array is pickled as, in NumPy 1 and 2; none of it runs code of the file.
_NAMES: Final = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT
        for core in ("core", "_core")
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


def read_npy_state(path: Path, /) -> dict[str, Tensor]:
    """
    Return the arrays of the dictionary in a ``.npy`` file, by key.

    Raises:
        CheckpointError: If the file cannot be read, or holds something else.
    """
    try:
        value = _read(path)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be read ({reason})") from error
    state = value.item() if isinstance(value, np.ndarray) and not value.ndim else None
    if not isinstance(state, Mapping) or not all(map(_is_numbers, state.values())):
        raise CheckpointError(f"{path} holds no dictionary of arrays")
    return {key: from_array(array).to(torch.float32) for key, array in state.items()}


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        major, _ = npy.read_magic(file)
        header: Any = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
        header[major](file)
        return _ArrayUnpickler(file).load()


class _ArrayUnpickler(Unpickler):
    """Reads a pickle of arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may use under this name: mostly a stand-in."""
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        return super().find_class(module, name)


def _is_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"
