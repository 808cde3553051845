"""
Maps of frames to the embedding of their sequence.

F frames, H and W height and width, C channels, P parts, O channels of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.fast.frames import Block, split_spans
from unfussy.models.gait.heads import bins_of

__all__ = ["Head", "LargestSoFar"]


class LargestSoFar:
    """Pool each sequence over time, as its frames come."""

    def __init__(self) -> None:
        self._largest: Tensor | None = None

    def __call__(self, block: Block) -> list[Tensor]:
        """Return the pooled maps ``(H, W, C)`` of sequences that end in *block*."""
        finished = []
        for frames, span in zip(split_spans(block), block.spans):
            self._add(frames)
            if span.ends and self._largest is not None:
                finished.append(self._largest)
                self._largest = None
        return finished

    def _add(self, frames: Tensor) -> None:
        if len(frames):
            new, old = frames.amax(0), self._largest
            self._largest = new if old is None else torch.maximum(old, new)


@dataclass(frozen=True)
class Head:
    """
    Horizontal strips to parts of an embedding.

    Attributes:
        layers: A weight ``(P, C, O)`` for each group of C channels.
    """

    layers: tuple[Tensor, ...]

    def __call__(self, pooled: Tensor) -> Tensor:
        """Return the embedding ``(O, P)``, groups in order, of maps ``(H, W, C)``."""
        groups = pooled.to(self.layers[0].dtype).chunk(len(self.layers), -1)
        parts = [_project(maps, layer) for maps, layer in zip(groups, self.layers)]
        return torch.cat(parts).T

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of an embedding, O and P."""
        return self.layers[0].shape[2], sum(len(layer) for layer in self.layers)


def _project(maps: Tensor, layer: Tensor) -> Tensor:
    bins = bins_of(len(layer))
    if len(maps) % max(bins):
        raise InputValueError(
            f"frames give maps of {len(maps)} rows, which cannot be cut into "
            f"{max(bins)} strips; they have to be {4 * max(bins)} pixels high, or a "
            f"multiple of that"
        )
    features = torch.cat([_strips(maps, count) for count in bins])
    return torch.bmm(features[:, None], layer)[:, 0]


def _strips(maps: Tensor, count: int) -> Tensor:
    strips = maps.reshape(count, -1, maps.shape[-1])
    return strips.mean(1) + strips.amax(1)
