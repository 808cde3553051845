"""
The fast form of a model, made of its weights alone.

Which of the four models they are of, how many layers it has and how wide they are is
read off the keys and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import torch
from torch import Tensor

from unfussy.errors import CheckpointError
from unfussy.models.gait.fast.convolving import make_conv
from unfussy.models.gait.fast.folding import Weights
from unfussy.models.gait.fast.forms import Form
from unfussy.models.gait.fast.merging import Aligned, Attention, Path, make_gate
from unfussy.models.gait.fast.pooling import Head
from unfussy.models.gait.fast.residual import Layer, Plain, make_stage

__all__ = ["STRIDES", "build_form"]

STRIDES: Final = (1, 2, 2, 1)
"""Of the four stages, in all official configurations."""


@dataclass(frozen=True)
class _Recipe:
    """How to make layers: their precision, and the strides of stages."""

    dtype: torch.dtype
    strides: Sequence[int]


_Build: TypeAlias = Callable[[Weights, _Recipe], tuple[list[Layer], int]]


def build_form(
    state: Mapping[str, Tensor],
    *,
    bf16: bool = False,
    strides: Sequence[int] = STRIDES,
) -> Form:
    """
    Return the fast form of a model whose weights are *state*.

    Args:
        state: A state dict under official keys.
        bf16: Whether to compute in bfloat16; pooling and what follows stay exact.
        strides: Of the four stages, which weights do not show.

    Raises:
        CheckpointError: If these are not the weights of one of the four models.
    """
    weights = Weights(state)
    for key, (build, heads) in _MODELS.items():
        if key in weights:
            layers = tuple(weights[f"{head}.fc_bin"] for head in heads)
            exact = torch.promote_types(layers[0].dtype, torch.float32)
            dtype = torch.bfloat16 if bf16 else exact
            parts, channels = build(weights, _Recipe(dtype, strides))
            head = Head(tuple(layer.to(exact) for layer in layers))
            return Form(tuple(parts), head, channels, dtype)
    raise CheckpointError(
        "there is a fast form of DeepGaitV2, GaitBase, SkeletonGaitPP and XGait; "
        f"the state dict is of none of them: it begins with {next(iter(state), None)!r}"
    )


def _deep_gait(weights: Weights, recipe: _Recipe) -> tuple[list[Layer], int]:
    stem = _stem(weights, "layer0.forward_block.0", "layer0.forward_block.1", recipe)
    return [stem, *_stages(weights, recipe)], _channels(weights, "layer0")


def _gait_base(weights: Weights, recipe: _Recipe) -> tuple[list[Layer], int]:
    inside = weights.below("Backbone.forward_block.")
    return _res_net(inside, recipe), inside["conv1.conv.weight"].shape[1]


def _skeleton_gait(weights: Weights, recipe: _Recipe) -> tuple[list[Layer], int]:
    path = {
        kind: [
            _stem(
                weights,
                f"{kind}_layer0.forward_block.0",
                f"{kind}_layer0.forward_block.1",
                recipe,
            ),
            *_stage(weights, f"{kind}_layer1", recipe, stride=1),
        ]
        for kind in ("sil", "map")
    }
    of_fusion = weights.below("fusion.conv.forward_block.")
    folded = of_fusion.conv("0", "1"), of_fusion.conv("3", "4"), of_fusion.conv("6")
    squeeze, look, score = (make_conv(each, recipe.dtype) for each in folded)
    silhouettes, maps = cast("Path", path["sil"]), cast("Path", path["map"])
    stem = Attention(silhouettes, maps, (squeeze, look, score))
    channels = _channels(weights, "sil_layer0") + _channels(weights, "map_layer0")
    return [stem, *_stages(weights, recipe, start=2)], channels


def _x_gait(weights: Weights, recipe: _Recipe) -> tuple[list[Layer], int]:
    exact = torch.promote_types(recipe.dtype, torch.float32)
    silhouettes, parsing = (
        cast("Path", _res_net(weights.below(f"Backbone_{kind}.forward_block."), recipe))
        for kind in ("sil", "par")
    )
    up, middle, down = (
        make_gate(weights.below(f"pcm_{part}."), exact, part)
        for part in ("up", "middle", "down")
    )
    gate = make_gate(weights.below("gcm."), exact)
    return [Aligned(silhouettes, parsing, gate, (up, middle, down))], 2


_MODELS: Final[Mapping[str, tuple[_Build, tuple[str, ...]]]] = {
    "layer0.forward_block.0.weight": (_deep_gait, ("FCs",)),
    "Backbone.forward_block.conv1.conv.weight": (_gait_base, ("FCs",)),
    "sil_layer0.forward_block.0.weight": (_skeleton_gait, ("FCs",)),
    "Backbone_sil.forward_block.conv1.conv.weight": (
        _x_gait,
        ("FCs_sil", "FCs_par", "FCs_gcm", "FCs_pcm"),
    ),
}
"""By a key that only its state dict has, what builds a model and names its heads."""


def _res_net(weights: Weights, recipe: _Recipe) -> list[Layer]:
    return [_stem(weights, "conv1.conv", "bn1", recipe), *_stages(weights, recipe)]


def _stem(weights: Weights, conv: str, norm: str, recipe: _Recipe) -> Plain:
    return Plain(make_conv(weights.conv(conv, norm), recipe.dtype))


def _stages(weights: Weights, recipe: _Recipe, *, start: int = 1) -> list[Layer]:
    return [
        layer
        for number, stride in enumerate(recipe.strides, 1)
        if number >= start
        for layer in _stage(weights, f"layer{number}", recipe, stride=stride)
    ]


def _stage(weights: Weights, name: str, recipe: _Recipe, *, stride: int) -> list[Layer]:
    """Return the blocks of a stage, whichever way its keys are spelt."""
    spellings = (weights.below(f"{name}.{inner}") for inner in ("forward_block.", ""))
    for blocks in spellings:
        if blocks.blocks():
            return make_stage(blocks, recipe.dtype, stride=stride)
    raise CheckpointError(f"weights have no {weights.prefix}{name}")


def _channels(weights: Weights, stem: str) -> int:
    return weights[f"{stem}.forward_block.0.weight"].shape[1]
