"""Safetensors files, behind the extra ``weights``."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["read", "write"]


def read(path: Path, /) -> dict[str, Tensor]:
    """Return the tensors in the file at *path*, on the CPU."""
    return load_file(path)


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], /) -> None:
    """Write *tensors* and *metadata* to *path*; a file is there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    save_file(tensors, partial, metadata)
    partial.replace(path)
