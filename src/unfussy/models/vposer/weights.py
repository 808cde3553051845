"""
The weights of VPoser: seeded, from a state dict, from official files, and saved.

Both versions are told apart by their keys, and their sizes are read off the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._locating import find_weights
from unfussy.models._matching import build_empty, load_strictly, own_part

__all__ = ["build_filled", "build_seeded", "read_weights"]

M = TypeVar("M", bound=nn.Module)

ADVICE: Final = (
    "VPoser's weights are not free to pass on: register at "
    "https://smpl-x.is.tue.mpg.de, download VPoser, unpack it, and pass the folder "
    "that holds snapshots/ (of V02_05 or of vposer_v1_0) or a file in it"
)
_PREFIXES: Final = ("vp_model.", "module.", "model.")
# The official trainer saved the buffers of its body model along with the network.
_FOREIGN: Final = ("bm_train.",)
# The keys whose shapes tell (neurons, 63) and (size of a latent, neurons).
_SIZES: Final = {
    2: ("encoder_net.2.weight", "encoder_net.8.mu.weight"),
    1: ("bodyprior_enc_fc1.weight", "bodyprior_enc_mu.weight"),
}


def build_seeded(make: Callable[[], M], seed: int, /) -> M:
    """
    Return what *make* makes, on the CPU, with weights drawn for *seed*.

    They have PyTorch's usual distribution. No global random state is touched.
    """
    model = build_empty(make)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return model.eval()


def build_filled(
    make: Callable[[int, int], M],
    version: int,
    state: Mapping[str, Tensor],
    /,
    source: str = "the state dict",
) -> M:
    """
    Return the model that *make* makes for the sizes of *state*, filled with it.

    Args:
        make: Called with the number of neurons and the size of a latent.
        version: Of the network that *make* makes.
        state: Its weights, under official keys, prefixes allowed.
        source: What an error calls *state*.

    Raises:
        CheckpointError: If these are not the weights of that version.
    """
    own = _own_part(state)
    found = version_of(own, source)
    if found != version:
        name = "VPoserV1" if found == 1 else "VPoser"
        raise CheckpointError(f"{source} is of VPoser v{found}: load it with {name}")
    neurons, latent = (own[key] for key in _SIZES[version])
    sizes = neurons.shape[0], latent.shape[0]
    model = build_empty(lambda: make(*sizes)).to(neurons.dtype)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()  # num_batches_tracked may not be in the file
    title = f"VPoser v{version} with num_neurons={sizes[0]}, latentD={sizes[1]}"
    load_strictly(model, own, title=title, source=source)
    return model.eval()


def version_of(state: Mapping[str, Tensor], /, source: str) -> int:
    """
    Return the version, 1 or 2, of the network that *state* is of.

    Raises:
        CheckpointError: If it is of neither.
    """
    own = _own_part(state)
    for version, keys in _SIZES.items():
        if all(key in own and own[key].ndim > 0 for key in keys):
            return version
    listed = ", ".join(repr(key) for key in list(own)[:4]) or "nothing"
    raise CheckpointError(
        f"{source} does not hold weights of VPoser: it has neither "
        f"{_SIZES[2][0]!r} (v2) nor {_SIZES[1][0]!r} (v1) but {listed}"
    )


def read_weights(
    path: str | PathLike[str], checkpoint: str | int | None, /
) -> tuple[dict[str, Tensor], Path]:
    """Return the state dict that *path* means, and the file it is from."""
    file = find_weights(path, checkpoint, advice=ADVICE)
    return read_state_dict(file), file


def _own_part(state: object) -> dict[str, Tensor]:
    return own_part(state, _PREFIXES, _FOREIGN)
