"""Weights out of a module: into a safetensors file, under the module's own keys."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from torch import nn

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import write_state_dict
from unfussy.models._locating import SUFFIXES

__all__ = ["save_weights"]


def save_weights(model: nn.Module, path: str | PathLike[str], /, title: str) -> Path:
    """
    Write *model* as safetensors and return the file.

    Args:
        model: Whose state dict to write.
        path: A ``.safetensors`` file, or a folder, which gets ``model.safetensors``.
        title: What the file says of itself.

    Raises:
        CheckpointError: If *path* has the suffix of another format.
    """
    file = Path(path).expanduser()
    if file.suffix in SUFFIXES[1:]:
        raise CheckpointError(
            f"weights are saved as safetensors, so {file.name} would be misnamed: "
            f"write {file.stem}.safetensors, or a folder's name"
        )
    if file.suffix != ".safetensors":
        file = file / "model.safetensors"
    write_state_dict(file, model.state_dict(), {"model": title})
    return file
