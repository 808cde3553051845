"""
The heads: how surely each proposal is a face, and its pose.

Boxes are ``(left, top, right, bottom)`` in pixels of the resized picture. N pictures,
C channels, K proposals of all pictures together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.precision import at_least_float32
from unfussy.models.img2pose.proposals import clip_boxes, is_wide
from unfussy.models.img2pose.raw import LOWEST_SCORE, SHORTEST, RawDetections
from unfussy.models.img2pose.roi_align import GRID, roi_align
from unfussy.models.img2pose.steady import with_rows
from unfussy.models.img2pose.transform import Size

__all__ = ["RegionHeads", "level_of", "pool_regions"]

_SCALES: Final = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
_CLASSES: Final = 2  # something else, and a face
_POSE: Final = 6


class RegionHeads(nn.Module):
    """
    The layers that judge pooled regions, and those that tell their pose.

    Args:
        architecture: How wide they are.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden, narrow = architecture.hidden, architecture.hidden // 4
        self.box_head = _TwoLayers(architecture)
        self.box_predictor = _Container(
            dof_pred=nn.Sequential(
                nn.Linear(hidden, narrow),
                nn.BatchNorm1d(narrow),
                nn.ReLU(),
                nn.Linear(narrow, _CLASSES * _POSE),
            )
        )
        self.class_head = _TwoLayers(architecture)
        self.class_predictor = _Container(cls_score=nn.Linear(hidden, _CLASSES))

    def forward(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[Size],
        threshold: float,
    ) -> list[RawDetections]:
        """
        Return of each picture the proposals that may be faces.

        Regions are pooled once, and only those that pass get a pose.

        Args:
            maps: Four of all pictures, finest first, in float32 or finer.
            proposals: Of each picture, ``(K, 4)``.
            sizes: The height and width of each picture.
            threshold: The score that a face has at least.
        """
        owners = torch.cat(
            [
                boxes.new_full((len(boxes),), i, dtype=torch.long)
                for i, boxes in enumerate(proposals)
            ]
        )
        pooled = pool_regions(maps, torch.cat(list(proposals)), owners)
        pooled = pooled.flatten(1).to(self.class_head.fc6.weight.dtype)
        scores = self.scores(pooled)
        boxes = torch.cat([clip_boxes(b, size) for b, size in zip(proposals, sizes)])
        passes = (scores > LOWEST_SCORE) & (scores >= threshold)
        chosen = (passes & is_wide(boxes, SHORTEST)).nonzero()[:, 0]
        poses = self.poses(pooled[chosen])
        counts = torch.bincount(owners[chosen], minlength=len(proposals)).tolist()
        parts = (torch.split(x, counts) for x in (boxes[chosen], scores[chosen], poses))
        return [RawDetections(*part) for part in zip(*parts)]

    def scores(self, pooled: Tensor) -> Tensor:
        """Return how surely each pooled region ``(K, C * 49)`` is a face, 0 to 1."""
        logits = self.class_predictor(self.class_head(with_rows(pooled)))
        return at_least_float32(logits[: len(pooled)]).softmax(1)[:, 1]

    def poses(self, pooled: Tensor) -> Tensor:
        """Return the six numbers of each pooled region's pose, ``(K, 6)``."""
        numbers = self.box_predictor(self.box_head(with_rows(pooled)))
        return at_least_float32(numbers[: len(pooled), _POSE:])


def pool_regions(maps: Sequence[Tensor], boxes: Tensor, owners: Tensor) -> Tensor:
    """
    Return *boxes* pooled, each from the map that suits its size: ``(K, C, 7, 7)``.

    Args:
        maps: Four, each ``(N, C, H, W)``, a cell being 4, 8, 16 and 32 pixels wide.
        boxes: ``(K, 4)``.
        owners: ``(K,)``, which of the pictures each lies in.
    """
    levels = level_of(boxes)
    pooled = maps[0].new_empty(len(boxes), maps[0].shape[1], GRID, GRID)
    for level, (features, scale) in enumerate(zip(maps, _SCALES)):
        (chosen,) = (levels == level).nonzero(as_tuple=True)
        pooled[chosen] = roi_align(features, boxes[chosen], owners[chosen], scale)
    return pooled


def level_of(boxes: Tensor) -> Tensor:
    """
    Return from which of four maps each of *boxes* is pooled, 0 for the finest.

    After Lin et al., 2017, equation 1: a box of 224 pixels is pooled from the third.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    levels = (4 + (sides / 224).log2() + 1e-6).floor()
    return (levels.clamp(2, 5) - 2).long()


class _TwoLayers(nn.Module):
    """Two layers over pooled regions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden = architecture.hidden
        self.fc6 = nn.Linear(architecture.channels * GRID * GRID, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, pooled: Tensor) -> Tensor:
        x: Tensor = self.fc7(self.fc6(pooled).relu()).relu()
        return x


class _Container(nn.Module):
    """One layer under a name of its own, as the official keys have it."""

    def __init__(self, **layer: nn.Module) -> None:
        super().__init__()
        for name, module in layer.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x
