"""
Proposals: the boxes of a picture that are worth a closer look.

After Ren et al., "Faster R-CNN", 2015. Boxes are ``(left, top, right, bottom)`` in
pixels of the resized picture. N pictures, C channels, H and W the sides of a map,
A anchors of a map, K of them that are candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Final

import torch
from torch import Tensor, nn

from unfussy.models.img2pose.anchors import RATIOS, make_anchors
from unfussy.models.img2pose.nms import nms
from unfussy.models.img2pose.precision import at_least_float32, without_autocast
from unfussy.models.img2pose.steady import SteadyConv2d
from unfussy.models.img2pose.transform import Size

__all__ = ["ProposalHead", "ProposalNetwork", "clip_boxes", "decode_boxes", "is_wide"]

_SHORTEST: Final = 1e-3  # pixels
_LARGEST_GROWTH: Final = log(1000 / 16)


class ProposalHead(nn.Module):
    """
    Convolutions that tell of every anchor whether, and where, there is something.

    Args:
        channels: Those of each map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SteadyConv2d(channels, channels, 3, padding=1)
        self.cls_logits = SteadyConv2d(channels, len(RATIOS), 1)
        self.bbox_pred = SteadyConv2d(channels, 4 * len(RATIOS), 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """
        Judge the anchors of one map.

        The last layers run in float32 under any autocast: rounded to fewer bits, many
        anchors would be equally good.

        Args:
            features: ``(N, C, H, W)``.

        Returns:
            The logits ``(N, A)`` of the anchors in their order, and how to move them,
            ``(N, A, 4)``; both in float32 or finer.
        """
        hidden = self.conv(features).relu()
        with without_autocast(hidden):
            hidden = hidden.to(self.cls_logits.weight.dtype)
            logits, moves = self.cls_logits(hidden), self.bbox_pred(hidden)
        moves = moves.unflatten(1, (len(RATIOS), 4)).permute(0, 3, 4, 1, 2)
        return (
            at_least_float32(logits.movedim(1, -1).flatten(1)),
            at_least_float32(moves.flatten(1, 3)),
        )


class ProposalNetwork(nn.Module):
    """
    The best boxes of each picture, by its maps.

    Args:
        channels: Those of each map.
        n_candidates: How many anchors of each map are considered.
        n_proposals: How many boxes of a picture are proposed.
        nms_threshold: The overlap up to which boxes of one map stay together.
    """

    def __init__(
        self, channels: int, n_candidates: int, n_proposals: int, nms_threshold: float
    ) -> None:
        super().__init__()
        self.head = ProposalHead(channels)
        self.n_candidates, self.n_proposals = n_candidates, n_proposals
        self.nms_threshold = nms_threshold

    def forward(
        self, maps: Sequence[Tensor], canvas: Size, sizes: Sequence[Size]
    ) -> list[Tensor]:
        """
        Return the proposals of each picture, best first, float32.

        Anchors or boxes that are equally good keep the order of the maps, finest
        first, and within a map that of the anchors.

        Args:
            maps: Of all pictures, finest first, each ``(N, C, H, W)``.
            canvas: The height and the width of what the maps are of.
            sizes: Those of the pictures on it, beyond which no box reaches.
        """
        sides: list[Size] = [(x.shape[-2], x.shape[-1]) for x in maps]
        anchors = make_anchors(canvas, sides, maps[0].device)
        found = [self._candidates(x, each) for x, each in zip(maps, anchors)]
        return [
            self._best([(logits[i], boxes[i]) for logits, boxes in found], size)
            for i, size in enumerate(sizes)
        ]

    def _candidates(self, features: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best logits of one map, ``(N, K)``, falling, and their boxes."""
        logits, moves = self.head(features)
        # Not topk, which is free to choose among equals.
        order = logits.argsort(dim=1, descending=True, stable=True)
        order = order[:, : self.n_candidates]
        chosen = moves.take_along_dim(order[..., None], 1)
        return logits.take_along_dim(order, 1), decode_boxes(chosen, anchors[order])

    def _best(self, found: Sequence[tuple[Tensor, Tensor]], size: Size) -> Tensor:
        kept = [self._best_of_map(logits, boxes, size) for logits, boxes in found]
        logits, boxes = (torch.cat(parts) for parts in zip(*kept))
        order = logits.argsort(descending=True, stable=True)
        return boxes[order[: self.n_proposals]]

    def _best_of_map(
        self, logits: Tensor, boxes: Tensor, size: Size
    ) -> tuple[Tensor, Tensor]:
        boxes = clip_boxes(boxes, size)
        wide = is_wide(boxes, _SHORTEST)
        logits, boxes = logits[wide], boxes[wide]
        kept = nms(boxes, logits, self.nms_threshold, limit=self.n_proposals)
        return logits[kept], boxes[kept]


def decode_boxes(moves: Tensor, anchors: Tensor) -> Tensor:
    """
    Return *anchors* moved and grown.

    Args:
        moves: ``(..., 4)``: the centre's way, in sides of the anchor, right and down,
            and logarithms of what width and height are multiplied by.
        anchors: ``(..., 4)``.
    """
    left, top, right, bottom = anchors.unbind(-1)
    width, height = right - left, bottom - top
    dx, dy, dw, dh = moves.unbind(-1)
    x, y = dx * width + (left + 0.5 * width), dy * height + (top + 0.5 * height)
    half_width = 0.5 * (dw.clamp(max=_LARGEST_GROWTH).exp() * width)
    half_height = 0.5 * (dh.clamp(max=_LARGEST_GROWTH).exp() * height)
    corners = (x - half_width, y - half_height, x + half_width, y + half_height)
    return torch.stack(corners, -1)


def clip_boxes(boxes: Tensor, size: Size) -> Tensor:
    """Return what of *boxes*, ``(..., 4)``, is inside a picture of *size*."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x, y), -1).flatten(-2)


def is_wide(boxes: Tensor, shortest: float) -> Tensor:
    """Tell which of *boxes*, ``(..., 4)``, have sides of *shortest* pixels or more."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= shortest).all(-1)
