"""
The network of Img2Pose: pictures on a canvas to proposals, scores and poses.

After Albiero et al., "img2pose: Face Alignment and Detection via 6DoF, Face Pose
Estimation", 2021. N pictures, H and W the sides of their canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unfussy.errors import InputValueError
from unfussy.models.img2pose.architectures import Architecture, architecture_of
from unfussy.models.img2pose.heads import RegionHeads
from unfussy.models.img2pose.precision import at_least_float32, without_autocast
from unfussy.models.img2pose.proposals import ProposalNetwork
from unfussy.models.img2pose.pyramid import Backbone
from unfussy.models.img2pose.raw import RawDetections
from unfussy.models.img2pose.transform import STRIDE, Size

__all__ = ["Img2PoseNetwork"]


class Img2PoseNetwork(nn.Module):
    """
    The official layers under the official keys.

    It converts, moves and switches nothing, and is meant to run in eval mode.

    Args:
        depth: 18, 50 or 101, or an `Architecture`.
        frozen_eps: What frozen norms add to variances: 1e-5 in today's official code, 0
            in that which the released weights were trained with.
        n_candidates: How many anchors of each map are considered.
        n_proposals: How many boxes of a picture are looked at closely.
        proposal_nms: The overlap up to which proposals of one map stay together.

    Attributes:
        architecture: What it is built of.
        backbone: Pictures to maps.
        rpn: Maps to proposals.
        roi_heads: Proposals to scores and poses.
    """

    def __init__(
        self,
        depth: int | Architecture = 18,
        *,
        frozen_eps: float = 1e-5,
        n_candidates: int = 6000,
        n_proposals: int = 1000,
        proposal_nms: float = 0.4,
    ) -> None:
        super().__init__()
        self.architecture = architecture_of(depth)
        self.backbone = Backbone(self.architecture, frozen_eps)
        self.rpn = ProposalNetwork(
            self.architecture.channels, n_candidates, n_proposals, proposal_nms
        )
        self.roi_heads = RegionHeads(self.architecture)

    def forward(
        self, images: Tensor, sizes: Sequence[Size], *, threshold: float = 0.05
    ) -> list[RawDetections]:
        """Return what `detect` returns."""
        return self.detect(images, sizes, threshold=threshold)

    def detect(
        self, images: Tensor, sizes: Sequence[Size], *, threshold: float = 0.05
    ) -> list[RawDetections]:
        """
        Return of each picture the proposals that may be faces.

        Autocast reaches the convolutions only: proposals, pooling and heads are at
        least as precise as float32 if the weights are.

        What a picture gets depends on the canvas, and not on the other pictures on
        canvases of that size. One with NaN gets no proposals.

        Args:
            images: ``(N, 3, H, W)``, prepared by `prepare` and put on a canvas by
                `on_canvas`.
            sizes: The height and width of each picture on its canvas.
            threshold: The score that a face has at least; it exceeds 0.05 in any case.

        Raises:
            InputValueError: If shapes or sizes do not fit.
        """
        pairs = _checked(images, sizes)
        if not pairs:
            return []
        # Faster for several pictures, and no slower for one.
        images = images.contiguous(memory_format=torch.channels_last)
        maps = self.backbone(images)
        canvas = images.shape[-2], images.shape[-1]
        proposals = self.rpn(maps, canvas, pairs)
        with without_autocast(images):
            finest = [at_least_float32(x) for x in maps[:4]]
            found: list[RawDetections] = self.roi_heads(
                finest, proposals, pairs, threshold
            )
        return found


def _checked(images: Tensor, sizes: Any) -> list[Size]:
    if images.ndim != 4 or images.shape[1] != 3:  # noqa: PLR2004
        shape = tuple(images.shape)
        raise InputValueError(f"detect() takes images (N, 3, H, W), got {shape}")
    height, width = images.shape[-2:]
    if height % STRIDE or width % STRIDE:
        raise InputValueError(
            f"the sides of a canvas are multiples of {STRIDE}, got {height} x {width}: "
            "on_canvas() makes one"
        )
    pairs = [(int(h), int(w)) for h, w in sizes]
    if len(pairs) != len(images):
        raise InputValueError(
            f"detect() takes one size per image, got {len(pairs)} for {len(images)}"
        )
    return pairs
