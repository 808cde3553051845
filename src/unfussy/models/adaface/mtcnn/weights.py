"""
The weights of MTCNN: seeded, of the facenet-pytorch package, and of AdaFace.

All are the same numbers under different names, but for the order of the inputs of two
layers; the names here are AdaFace's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from unfussy.models._checkpoints import (
    read_state_dict,
)
from unfussy.models._locating import CheckpointNotFoundError
from unfussy.models._matching import load_strictly, own_part
from unfussy.models.adaface.mtcnn.npy import read_npy_state

__all__ = ["fill", "fill_seeded", "read_weights"]

_NETWORKS: Final = ("pnet", "rnet", "onet")
_SUFFIXES: Final = (".npy", ".pt")
_PACKAGE: Final = "facenet_pytorch"
_ADVICE: Final = (
    "pip install --no-deps facenet-pytorch brings them (without --no-deps it pins old "
    "releases of torch), or pass the folder with pnet.npy, rnet.npy and onet.npy of "
    "the AdaFace repository, face_alignment/mtcnn_pytorch/src/weights"
)
# Layers of facenet-pytorch by their names here, and what they are made from.
_DENSE: Final = re.compile(r"\.dense(\d(?:_\d)?)\.")
_FEATURE: Final = re.compile(r"^(\wnet)\.((?:conv|prelu)\d\.)")
_CHANNELS: Final = {"rnet.features.conv4.weight": 64, "onet.features.conv5.weight": 128}


def fill_seeded(model: nn.Module, seed: int, /) -> None:
    """Draw the weights of *model* for *seed*; no global random state is touched."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.PReLU):
            nn.init.constant_(layer.weight, 0.25)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            bound = layer.weight[0].numel() ** -0.5
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)


def fill(model: nn.Module, state: object, /, source: str = "the state dict") -> None:
    """
    Put the weights *state*, of AdaFace or of facenet-pytorch, into *model*.

    Raises:
        CheckpointError: If keys or shapes differ.
        InputTypeError: If *state* is no mapping.
    """
    own = own_part(state, ("module.", "mtcnn."))
    load_strictly(model, _as_adaface(own), title="MTCNN", source=source)


def read_weights(path: str | PathLike[str] | None, /) -> tuple[dict[str, Tensor], str]:
    """
    Return the weights at *path*, and where they are from.

    Args:
        path: A file that holds all; a folder of three; or None for those of the
            package facenet-pytorch, which is found and not imported.

    Raises:
        CheckpointError: If there are none.
    """
    place = _packaged() if path is None else Path(path).expanduser()
    if place.is_file():
        return read_state_dict(place), str(place)
    if not place.is_dir():
        raise CheckpointNotFoundError(f"there is no file or folder {place}. {_ADVICE}")
    whole = place / "model.safetensors"
    if whole.is_file():
        return read_state_dict(whole), str(whole)
    state: dict[str, Tensor] = {}
    for net in _NETWORKS:
        file = _file_of(net, place)
        own = read_npy_state(file) if file.suffix == ".npy" else read_state_dict(file)
        state |= {f"{net}.{key}": tensor for key, tensor in own.items()}
    return state, str(place)


def _packaged() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointNotFoundError(f"there are no weights of MTCNN here: {_ADVICE}")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _file_of(net: str, folder: Path) -> Path:
    files = [folder / f"{net}{suffix}" for suffix in _SUFFIXES]
    found = next(filter(Path.is_file, files), None)
    if found is None:
        names = " or ".join(file.name for file in files)
        raise CheckpointNotFoundError(f"{folder} holds no {names}. {_ADVICE}")
    return found


def _as_adaface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return *state* under AdaFace's names, and with its order of inputs."""
    if not any(".dense" in key for key in state):
        return dict(state)
    renamed = {_renamed(key): tensor for key, tensor in state.items()}
    return {
        key: _reordered(tensor, _CHANNELS[key]) if key in _CHANNELS else tensor
        for key, tensor in renamed.items()
    }


def _renamed(key: str) -> str:
    key = _DENSE.sub(r".conv\1.", key)
    return _FEATURE.sub(r"\1.features.\2", key)


def _reordered(weight: Tensor, channels: int) -> Tensor:
    """Order inputs (column, row, channel) as (channel, column, row)."""
    if weight.ndim != 2 or weight.shape[1] != channels * 9:  # noqa: PLR2004
        return weight  # the error comes where shapes are compared
    return weight.reshape(-1, 3, 3, channels).movedim(3, 1).flatten(1)
