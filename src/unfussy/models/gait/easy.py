"""
The planned call behind ``easy_embed``: sequences of any lengths in chunks of frames.

Chunks get whole sequences, so that what a chunk holds never changes a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Unpack

import torch
from torch import Tensor, nn

from unfussy import EasyOptions, auto_device, batched, easy
from unfussy.models.gait.fast import find_form
from unfussy.models.gait.packed import Runs, runs_of
from unfussy.models.gait.sequences import Sequences, count_frames, to_frames

__all__ = ["easy_embed", "embed_all", "embed_packed", "runs_one_by_one"]


class _Embedder(Protocol):
    kinds: tuple[str, ...]
    in_channels: int
    embedding_dim: int
    parts: int

    @property
    def inference_device(self) -> torch.device: ...

    @property
    def inference_dtype(self) -> torch.dtype: ...

    def embed_frames(self, frames: Tensor, runs: Runs, /) -> Tensor: ...


@easy(mode="inference")
@batched("auto", ragged="list", cost=count_frames)
@auto_device(skip="sequences")
def easy_embed(model: _Embedder, sequences: Sequences, **_: Unpack[EasyOptions]) -> Any:
    """Embed a list of sequences."""
    return embed_all(model, sequences)


def embed_all(model: _Embedder, sequences: Iterable[Any], /) -> Tensor:
    """
    Embed sequences that are ready, all at once.

    Args:
        model: What embeds.
        sequences: Arrays, tensors or mappings, as `to_frames` takes them.

    Returns:
        ``(n, D, P)``, on the device of the model.
    """
    device, dtype = model.inference_device, model.inference_dtype
    kinds, channels = model.kinds, model.in_channels
    frames = [to_frames(x, kinds, channels, dtype).to(device) for x in sequences]
    size = model.embedding_dim, model.parts
    found = torch.empty(len(frames), *size, device=device, dtype=dtype)
    for places in _by_size(frames):
        packed = _joined([frames[i] for i in places])
        lengths = [len(frames[i]) for i in places]
        found[places] = embed_packed(model, packed, lengths).to(dtype)
    return found


def embed_packed(model: _Embedder, frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """
    Map frames of all sequences on one axis to embeddings, the fastest way there is.

    Args:
        model: What embeds.
        frames: ``(F, C, H, W)``, as the network takes them.
        lengths: How many belong to each sequence.

    Returns:
        ``(n, D, P)``.
    """
    if not runs_one_by_one(frames):
        return model.embed_frames(frames, runs_of(lengths, len(frames)))
    if isinstance(model, nn.Module) and (form := find_form(model, frames)) is not None:
        return form.embed(frames, lengths)
    split = torch.split(frames, list(lengths))
    alone = [model.embed_frames(x, runs_of([len(x)], len(x))) for x in split]
    return torch.cat(alone)


def runs_one_by_one(frames: Tensor) -> bool:
    """Tell whether few frames at a time are faster: their maps stay in the caches."""
    return frames.device.type == "cpu"


def _joined(frames: list[Tensor]) -> Tensor:
    return frames[0] if len(frames) == 1 else torch.cat(frames)


def _by_size(frames: list[Tensor]) -> list[list[int]]:
    """Return which sequences have frames of one size."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, sequence in enumerate(frames):
        sizes.setdefault(tuple(sequence.shape[1:]), []).append(i)
    return list(sizes.values())
