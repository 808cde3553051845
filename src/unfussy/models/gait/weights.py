"""
The weights of gait models: seeded, from a state dict, and from official files.

What network they are of is read off their keys and shapes, not off a file's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unfussy.errors import CheckpointError, InputValueError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._locating import find_weights
from unfussy.models._matching import build_empty, load_strictly, own_part
from unfussy.models.gait.heads import PartLinear, PartNecks
from unfussy.models.gait.shapes import Shapes

__all__ = ["build_filled", "build_seeded", "kind_of", "read_weights"]

M = TypeVar("M", bound=nn.Module)

ADVICE: Final = (
    "The official weights are in the repository opengait/OpenGait of the Hugging Face "
    "Hub, those of XGait among the releases of https://github.com/Gait3D/"
    "Gait3D-Benchmark: download one and pass its path"
)
_PREFIXES: Final = ("module.", "model.", "_orig_mod.")
_NECKS: Final = ("fc_bin", "bn1d.weight", "bn1d.bias", "bn1d.running_mean")
# One key that no other network has, for each that is known.
_SIGNS: Final = {
    "XGait": "Backbone_par.forward_block.conv1.conv.weight",
    "SkeletonGaitPP": "map_layer0.forward_block.0.weight",
    "DeepGaitV2": "layer0.forward_block.0.weight",
    "GaitBase": "Backbone.forward_block.conv1.conv.weight",
}


def build_seeded(make: Callable[[], M], seed: int, /) -> M:
    """
    Return what *make* makes, on the CPU, in eval mode, with weights drawn for *seed*.

    Convolutions keep the size of what passes through them, Kaiming's way. No global
    random state is touched.
    """
    model = build_empty(make)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_parameters()
        elif isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(
                layer.weight, nonlinearity="relu", generator=generator
            )
        elif isinstance(layer, (PartLinear, PartNecks)):
            scale = layer.fc_bin.shape[1] ** -0.5
            nn.init.normal_(layer.fc_bin, std=scale, generator=generator)
        elif isinstance(gammas := getattr(layer, "gammas", None), nn.Parameter):
            nn.init.constant_(gammas, 0.75)
    return model.eval()


def build_filled(
    kind: type[M],
    settings_of: Callable[[Shapes], Mapping[str, Any]],
    state: Any,
    expected: Mapping[str, Any],
    /,
    source: str = "the state dict",
) -> M:
    """
    Return a model in eval mode, filled with a copy of *state*.

    Args:
        kind: The class of the model.
        settings_of: Reads what it is made with off the shapes of weights.
        state: The weights, under official keys, prefixes allowed.
        expected: Settings that they must be of.
        source: What an error calls *state*.

    Raises:
        CheckpointError: If they are of another class or other settings, or if keys or
            shapes differ.
        InputTypeError: If *state* is no mapping.
        InputValueError: If the class has no such setting.
    """
    own = _own_part(state)
    _check_kind(kind.__name__, own, source)
    settings = settings_of(Shapes(own, source))
    _check_expected(settings, expected, kind.__name__, source)
    floats = (x.dtype for x in own.values() if x.is_floating_point())
    model = build_empty(lambda: kind(**settings)).to(next(floats))
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()  # num_batches_tracked may not be in the file
    load_strictly(model, own, title=kind.__name__, source=source)
    return model.eval()


def kind_of(state: Mapping[str, Any], /) -> str | None:
    """Return the name of the class that *state* is of, or None if none is known."""
    own = _own_part(state)
    return next((kind for kind, key in _SIGNS.items() if key in own), None)


def read_weights(
    path: str | PathLike[str], checkpoint: str | int | None, /
) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that *path* means, and the name of the file it is from."""
    file = find_weights(path, checkpoint, advice=ADVICE)
    return read_state_dict(file), str(file)


def _own_part(state: Any) -> dict[str, Tensor]:
    """Return weights under official keys, without necks that are not whole."""
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    own = own_part(state, _PREFIXES)
    tensors = {key: x for key, x in own.items() if isinstance(x, Tensor)}
    necks = {key.partition(".")[0] for key in tensors if key.startswith("BNNecks")}
    linear = {key.partition(".")[0] for key in tensors if key.startswith("FCs")}
    needed = {name.replace("FCs", "BNNecks", 1) for name in linear} | necks
    if all(f"{neck}.{part}" in tensors for neck in needed for part in _NECKS):
        return tensors
    return {k: x for k, x in tensors.items() if not k.startswith("BNNecks")}


def _check_kind(wanted: str, own: Mapping[str, Tensor], source: str) -> None:
    found = kind_of(own)
    if found == wanted:
        return
    if found is not None:
        raise CheckpointError(
            f"{source} holds weights of {found}, not of {wanted}: load it with {found}"
        )
    if any(key.startswith("Backbone.") for key in own):
        raise CheckpointError(
            f"{source} holds weights of another backbone than ResNet-9, such as the "
            "plain network that early checkpoints called Baseline have; there is no "
            f"class for it here, and {wanted} cannot take them"
        )
    listed = ", ".join(map(repr, list(own)[:4])) or "no tensor"
    raise CheckpointError(
        f"{source} does not hold weights of {wanted}, nor of "
        f"{', '.join(k for k in _SIGNS if k != wanted)}; it has {listed}"
    )


def _check_expected(
    settings: Mapping[str, Any], expected: Mapping[str, Any], name: str, source: str
) -> None:
    for setting, value in expected.items():
        if setting not in settings:
            known = ", ".join(settings)
            raise InputValueError(f"{name} has no setting {setting!r}, only {known}")
        wanted = tuple(value) if isinstance(value, list) else value
        if settings[setting] != wanted:
            raise CheckpointError(
                f"{source} holds weights of {name} with {setting}="
                f"{settings[setting]!r}, not {wanted!r}"
            )
