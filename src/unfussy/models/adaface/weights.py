"""
The weights of AdaFace: seeded, from a state dict, from official files, and saved.

What network they are of is read off their keys and shapes, not off a file's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from os import PathLike
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._locating import find_weights
from unfussy.models._matching import build_empty, load_strictly, own_part
from unfussy.models.adaface.network import ARCHITECTURES, SIZES, Architecture

__all__ = [
    "Recipe",
    "build_filled",
    "build_seeded",
    "read_weights",
    "recipe_of",
]

M = TypeVar("M", bound=nn.Module)

ADVICE: Final = (
    "The official weights are linked from https://github.com/mk-minchul/AdaFace: "
    "download one, such as adaface_ir50_ms1mv2.ckpt, and pass its path"
)
_PREFIXES: Final = ("model.", "module.", "net.")
# What a training checkpoint has beside the backbone: the classes it was trained on.
_FOREIGN: Final = ("head.",)
_OCCLUSION: Final = {
    "occlusion_head.conv.0.weight": 1,
    "occlusion_head.conv1.weight": 2,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    What network some weights are of.

    Attributes:
        architecture: The backbone.
        size: The side of a face, in pixels.
        occlusion: The version of the occlusion head, or 0 without one.
    """

    architecture: Architecture
    size: int
    occlusion: int


def build_seeded(make: Callable[[], M], seed: int, /) -> M:
    """
    Return what *make* makes, on the CPU, in eval mode, with weights drawn for *seed*.

    They have the official distribution, Kaiming's. No global random state is touched.
    """
    model = build_empty(make)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.reset_parameters()
        elif isinstance(layer, nn.PReLU):
            nn.init.constant_(layer.weight, 0.25)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model.eval()


def build_filled(
    make: Callable[[], M],
    state: Mapping[str, Tensor],
    /,
    *,
    title: str,
    source: str = "the state dict",
) -> M:
    """
    Return the model that *make* makes, in eval mode, filled with a copy of *state*.

    Args:
        make: Makes the network that the weights are of.
        state: The weights, under official keys, prefixes allowed.
        title: What an error calls the model.
        source: What an error calls *state*.

    Raises:
        CheckpointError: If keys or shapes differ.
    """
    own = _own_part(state)
    model = build_empty(make).to(own["input_layer.0.weight"].dtype)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.reset_running_stats()  # num_batches_tracked may not be in the file
    load_strictly(model, own, title=title, source=source)
    return model.eval()


def recipe_of(state: Mapping[str, Tensor], /, source: str = "the state dict") -> Recipe:
    """
    Return what network *state* is of.

    Raises:
        CheckpointError: If it is of none that is known.
        InputTypeError: If it is no mapping.
    """
    own = _own_part(state)
    ends = ("input_layer.0.weight", "output_layer.3.weight")
    if any(key not in own or own[key].ndim < 2 for key in ends):  # noqa: PLR2004
        listed = ", ".join(map(repr, list(own)[:4])) or "nothing"
        raise CheckpointError(
            f"{source} does not hold weights of AdaFace: it lacks {ends[0]!r} or "
            f"{ends[1]!r} and has {listed}"
        )
    architecture = _architecture_of(own, source)
    places = own[ends[1]].shape[1] // architecture.widths[-1]
    size = 16 * isqrt(places)
    if size not in SIZES:
        raise CheckpointError(f"{source} is of AdaFace for faces of {size} pixels")
    occlusion = (version for key, version in _OCCLUSION.items() if key in own)
    return Recipe(architecture, size, next(occlusion, 0))


def read_weights(
    path: str | PathLike[str], checkpoint: str | int | None, /
) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that *path* means, and the name of the file it is from."""
    file = find_weights(path, checkpoint, advice=ADVICE)
    return read_state_dict(file), str(file)


def _own_part(state: object) -> dict[str, Tensor]:
    return own_part(state, _PREFIXES, _FOREIGN)


def _architecture_of(own: Mapping[str, Tensor], source: str) -> Architecture:
    units = len({key.split(".")[1] for key in own if key.startswith("body.")})
    bottleneck = "body.0.res_layer.7.weight" in own
    excites = any(".se_block." in key for key in own)
    for known in ARCHITECTURES.values():
        kind = sum(known.units), known.bottleneck, known.excites
        if kind == (units, bottleneck, excites):
            return known
    inside = "bottleneck" if bottleneck else "basic"
    raise CheckpointError(
        f"{source} has {units} {inside} units, as no architecture of AdaFace has "
        f"({', '.join(ARCHITECTURES)}); is it cut short?"
    )
