"""
The planned call behind pipelines: walks as people have them, to finished embeddings.

A walk that cannot be read, cut or embedded fails alone, where that is asked for: all
that may fail is inside the call that the engine cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, tee
from typing import Any, Final, Protocol, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfussy import EasyOptions, auto_device, batched, easy
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.easy import embed_all
from unfussy.models.gait.fast import Precision, fast_form
from unfussy.models.gait.finishing import Finish
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.preprocessing.framing import cut
from unfussy.models.gait.preprocessing.levels import level_frames
from unfussy.models.gait.preprocessing.silhouettes import cut_labels
from unfussy.models.gait.sequences import to_frames
from unfussy.models.gait.walks import Preparation, Walk, walk_cost

__all__ = ["Holder", "embed_video", "embed_walks"]

_AT_ONCE: Final = 8


class Holder(Protocol):
    """What embeds walks: a model, and what is done before and behind it."""

    @property
    def inference_module(self) -> GaitModel: ...  # noqa: D102

    @property
    def preparation(self) -> Preparation: ...  # noqa: D102

    @property
    def finish(self) -> Finish: ...  # noqa: D102


@easy(mode="inference")
@batched("auto", over="walks", ragged="list", cost=walk_cost)
@auto_device(skip="walks")
def embed_walks(holder: Holder, walks: list[Walk], **_: Unpack[EasyOptions]) -> Any:
    """Embed a list of walks."""
    model, prepare = holder.inference_module, holder.preparation.prepare
    return holder.finish(embed_all(model, [prepare(x, model.kinds) for x in walks]))


def embed_video(
    holder: Holder, frames: Iterable[Any], precision: Precision, /
) -> Tensor:
    """
    Embed one walk while its frames come in, in memory that does not grow.

    Args:
        holder: What embeds.
        frames: Each ``(H, W)``, or a mapping with one of each kind.
        precision: As for `fast_form`.

    Returns:
        ``(D, P)``.

    Raises:
        InputTypeError: If a frame is no array, or lacks a kind.
        InputValueError: If there are no frames, or none can be used.
    """
    model = holder.inference_module
    kinds, channels = model.kinds, model.in_channels
    stream = fast_form(model, precision).stream()
    n_frames = 0
    with torch.no_grad():
        for block in _blocks(iter(frames), kinds, holder.preparation):
            n_frames += len(next(iter(block.values())))
            ready = to_frames(block, kinds, channels, model.inference_dtype)
            stream.push(ready.to(model.inference_device))
        if not n_frames:
            raise InputValueError(
                "there is no frame that can be used; a walk needs one"
            )
        found = stream.finish().to(model.inference_dtype)
        return holder.finish(found)[0]


# --- frames as they come -------------------------------------------------------------


def _blocks(
    frames: Iterator[Any], kinds: tuple[str, ...], how: Preparation
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield some frames at a time of all kinds, cut where they are raw."""
    one_each = (_by_kind(frame, kinds) for frame in frames)
    copies = tee(one_each, len(kinds))
    parts = [_part(copy, kind, how) for kind, copy in zip(kinds, copies)]
    kept = (
        found
        for found in zip(*parts)
        if not any(isinstance(part, str) for part in found)
    )
    while some := list(islice(kept, _AT_ONCE)):
        yield {kind: _stacked(part) for kind, part in zip(kinds, zip(*some))}


def _by_kind(frame: Any, kinds: tuple[str, ...]) -> dict[str, Any]:
    given = frame if isinstance(frame, Mapping) else {kinds[0]: frame}
    if not isinstance(frame, Mapping) and len(kinds) > 1:
        raise InputTypeError(
            f"a frame of this model is a mapping with {' and '.join(kinds)}, got "
            f"{type(frame).__name__}"
        )
    missing = next((kind for kind in kinds if given.get(kind) is None), None)
    if missing is not None:
        found = ", ".join(map(repr, given)) or "nothing"
        raise InputTypeError(f"a frame lacks {missing!r} and has {found}")
    return {kind: _as_array(given[kind]) for kind in kinds}


def _as_array(frame: Any) -> NDArray[Any]:
    return np.asarray(frame.detach().cpu() if isinstance(frame, Tensor) else frame)


def _part(
    frames: Iterator[dict[str, Any]], kind: str, how: Preparation
) -> Iterator[NDArray[Any] | str]:
    """Yield frames of one kind, cut, or why one cannot be."""
    own = (frame[kind] for frame in frames)
    first = next(own, None)
    if first is None:
        return iter(())
    given = chain([first], own)
    if kind == "skeleton_maps" or how.takes(first):
        return given
    if kind == "parsing":
        return cut_labels(given, how.size)
    levels = level_frames(given, how.value_range)
    return (cut(plane, how.size) for plane in levels)


def _stacked(frames: tuple[Any, ...]) -> NDArray[Any]:
    if len(sizes := {frame.shape for frame in frames}) > 1:
        listed = " and ".join(map(str, sorted(sizes)))
        raise InputValueError(f"frames of one walk have one size, got {listed}")
    return np.stack(frames)
