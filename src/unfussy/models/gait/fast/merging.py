"""
How two views of the same frames become one: what only SkeletonGait++ and XGait have.

F frames, H and W height and width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from unfussy.models.gait.fast.convolving import Conv
from unfussy.models.gait.fast.folding import Weights
from unfussy.models.gait.fast.frames import Step, each_frame

__all__ = ["Aligned", "Attention", "Gate", "Path", "make_gate"]

Path = Sequence[Callable[[Tensor], Tensor]]
"""What single frames go through, one after the other."""

_MIDDLE: Final = (2, 3, 4, 5, 6, 11)
_PARTS: Final = {"up": (1,), "middle": _MIDDLE, "down": (7, 8, 9, 10, 11)}
"""Labels of parsing maps, by where they are expected."""


@dataclass(frozen=True)
class Attention:
    """
    Silhouettes and skeleton maps, mixed as learnt: the stem of SkeletonGait++.

    Attributes:
        silhouettes: The path of the last channel.
        maps: The path of all others.
        scores: Both to a score for each of their channels.
    """

    silhouettes: Path
    maps: Path
    scores: tuple[Conv, Conv, Conv]

    def open(self) -> Step:
        """Return a step that keeps nothing."""
        return each_frame(self)

    def __call__(self, frames: Tensor) -> Tensor:
        """Mix frames ``(F, H, W, maps and silhouette)``."""
        silhouettes = _through(self.silhouettes, frames[..., -1:].contiguous())
        maps = _through(self.maps, frames[..., :-1].contiguous())
        squeeze, look, score = self.scores
        scores = squeeze(torch.cat([silhouettes, maps], -1)).relu_()
        first, second = score(look(scores).relu_()).chunk(2, -1)
        # The softmax of two is the sigmoid of their difference.
        return torch.lerp(maps, silhouettes, (first - second).sigmoid_())


@dataclass(frozen=True)
class Gate:
    """
    Two vectors to a weight for each of their channels.

    Attributes:
        narrow: ``(few, 2 C)``.
        widen: ``(2 C, few)``.
        share: What maps inside a body part count; outside it is one minus that.
        labels: The labels of that part.
    """

    narrow: Tensor
    widen: Tensor
    share: float = 1.0
    labels: tuple[int, ...] = ()

    def __call__(self, silhouettes: Tensor, parsing: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights of both, ``(F, 1, 1, C)``."""
        both = torch.cat([silhouettes, parsing], -1).to(self.narrow.dtype)
        scores = torch.relu(both @ self.narrow.T) @ self.widen.T
        weights = scores.sigmoid().to(silhouettes.dtype)[:, None, None]
        first, second = weights.chunk(2, -1)
        return first, second


def make_gate(weights: Weights, dtype: torch.dtype, part: str | None = None) -> Gate:
    """Return the gate of these *weights*, for all of the body or a *part* of it."""
    layers = weights["fc.0.weight"].to(dtype), weights["fc.2.weight"].to(dtype)
    if part is None:
        return Gate(*layers)
    return Gate(*layers, float(weights["gammas"]), _PARTS[part])


@dataclass(frozen=True)
class Aligned:
    """
    Parsing maps and silhouettes, and both together in two ways: the trunk of XGait.

    Attributes:
        silhouettes: The path of the last channel.
        parsing: The path of the first, whose values are labels.
        everywhere: The gate of whole frames.
        parts: The gates of the top quarter, the middle half and the last quarter.
    """

    silhouettes: Path
    parsing: Path
    everywhere: Gate
    parts: tuple[Gate, Gate, Gate]

    def open(self) -> Step:
        """Return a step that keeps nothing."""
        return each_frame(self)

    def __call__(self, frames: Tensor) -> Tensor:
        """Return silhouettes, parsing, whole and parts, ``(F, H, W, 4 C)``."""
        silhouettes = _through(self.silhouettes, frames[..., -1:].contiguous())
        parsing = _through(self.parsing, frames[..., :1].contiguous())
        first, second = self.everywhere(silhouettes.mean((1, 2)), parsing.mean((1, 2)))
        whole = silhouettes * first + parsing * second
        parts = self._by_part(silhouettes, parsing, frames[..., 0])
        return torch.cat([silhouettes, parsing, whole, parts], -1)

    def _by_part(self, silhouettes: Tensor, parsing: Tensor, labels: Tensor) -> Tensor:
        height, width = silhouettes.shape[1:3]
        rows, columns = labels.shape[1] // height, labels.shape[2] // width
        labels = labels[:, ::rows, ::columns, None]
        quarter = height // 4
        top = _described(silhouettes[:, :quarter])  # for all parts, not only the top
        ends = (0, quarter, height - quarter, height)
        results = []
        for gate, start, end in zip(self.parts, ends, ends[1:]):
            inside = sum((labels == label).to(parsing.dtype) for label in gate.labels)
            shares = inside * gate.share + (1 - inside) * (1 - gate.share)
            weighted = parsing * shares
            first, second = gate(top, _described(weighted))
            part = slice(start, end)
            results.append(silhouettes[:, part] * first + parsing[:, part] * second)
        return torch.cat(results, 1)


def _through(path: Path, frames: Tensor) -> Tensor:
    for part in path:
        frames = part(frames)
    return frames


def _described(maps: Tensor) -> Tensor:
    return maps.mean((1, 2)) + maps.amax((1, 2))
