"""
The weights of the multimodal model: seeded, from a state dict, from files.

All sizes but the number of attention heads are read off the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._locating import find_weights
from unfussy.models._matching import build_empty, load_strictly, own_part
from unfussy.models.multimodal.network import START_SIDE

__all__ = ["Sizes", "build_filled", "build_seeded", "read_weights", "sizes_of"]

M = TypeVar("M", bound=nn.Module)

ADVICE: Final = (
    "The training writes checkpoints/best.pt: pass its path, or a folder that holds "
    "it. For a trial with random weights, MultimodalGenerator.from_config()"
)
_PREFIXES: Final = ("module.", "model.")
_LATENT: Final = "image_encoder.fc.2.weight"
_WORDS: Final = "text_decoder.output_projection.weight"
_PLACES: Final = "text_decoder.positional_encoding.weight"
_DOUBLING: Final = "image_decoder.decoder."
_LAYER: Final = "text_decoder.transformer_decoder.layers."


@dataclass(frozen=True, slots=True)
class Sizes:
    """The arguments that a `MultimodalModel` of some weights is made with."""

    latent_dim: int
    image_channels: int
    vocab_size: int
    max_caption_length: int
    image_size: int
    width: int
    num_layers: int


def build_seeded(make: Callable[[], M], seed: int, /) -> M:
    """
    Return what *make* makes, on the CPU, in eval mode, with weights drawn for *seed*.

    They have PyTorch's usual distribution. No global random state is touched.
    """
    model = build_empty(make)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        _draw(layer, generator)
    return model.eval()


def build_filled(
    make: Callable[[Sizes], M],
    state: Mapping[str, Tensor],
    /,
    source: str = "the state dict",
) -> M:
    """
    Return the model that *make* makes for the sizes of *state*, filled with it.

    Raises:
        CheckpointError: If these are not the weights of a multimodal model.
    """
    own = own_part(state, _PREFIXES)
    sizes = sizes_of(own, source)
    model = build_empty(lambda: make(sizes)).to(own[_WORDS].dtype)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()  # num_batches_tracked may not be in the file
    load_strictly(model, own, title=_titled(sizes), source=source)
    return model.eval()


def sizes_of(state: Mapping[str, Tensor], /, source: str = "the state dict") -> Sizes:
    """
    Return the sizes of the model that *state* is of.

    Raises:
        CheckpointError: If it is of none.
    """
    own = own_part(state, _PREFIXES)
    doublings = [key for key in own if _is_doubling(key, own[key])]
    lacking = [key for key in (_LATENT, _WORDS, _PLACES) if not _is_matrix(own, key)]
    if lacking or not doublings:
        listed = ", ".join(map(repr, list(own)[:4])) or "nothing"
        wanted = lacking[0] if lacking else _DOUBLING + "0.weight"
        raise CheckpointError(
            f"{source} does not hold weights of MultimodalModel: it lacks {wanted!r} "
            f"and has {listed}"
        )
    last = max(doublings, key=lambda key: int(key.split(".")[2]))
    layers = {key.split(".")[3] for key in own if key.startswith(_LAYER)}
    return Sizes(
        latent_dim=own[_LATENT].shape[0],
        image_channels=own[last].shape[1],
        vocab_size=own[_WORDS].shape[0],
        max_caption_length=own[_PLACES].shape[0],
        image_size=START_SIDE << len(doublings),
        width=own[_WORDS].shape[1],
        num_layers=len(layers),
    )


def read_weights(
    path: str | PathLike[str], checkpoint: str | int | None = None, /
) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that *path* means, and the name of the file it is from."""
    best = Path(path).expanduser() / "best.pt"
    chosen = best if checkpoint is None and best.is_file() else path
    file = find_weights(chosen, checkpoint, advice=ADVICE)
    return read_state_dict(file), str(file)


# --- random weights ----------------------------------------------------------------


def _draw(layer: nn.Module, generator: torch.Generator) -> None:
    if isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)):
        layer.reset_parameters()
    elif isinstance(layer, nn.Embedding):
        nn.init.normal_(layer.weight, generator=generator)
    elif isinstance(layer, nn.MultiheadAttention):
        nn.init.xavier_uniform_(layer.in_proj_weight, generator=generator)
        nn.init.zeros_(layer.in_proj_bias)
    elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        bound = layer.weight[0].numel() ** -0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


# --- what was read -----------------------------------------------------------------


def _is_matrix(own: Mapping[str, Tensor], key: str) -> bool:
    return key in own and own[key].ndim == 2  # noqa: PLR2004


def _is_doubling(key: str, tensor: Tensor) -> bool:
    return key.startswith(_DOUBLING) and key.endswith(".weight") and tensor.ndim == 4  # noqa: PLR2004


def _titled(sizes: Sizes) -> str:
    return (
        f"MultimodalModel with latent_dim={sizes.latent_dim}, "
        f"vocab_size={sizes.vocab_size}, image_size={sizes.image_size}"
    )
