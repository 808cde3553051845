"""
SkeletonGait++, a network of silhouettes and skeleton maps: the official layers, keys.

After Fan et al., "SkeletonGait: Gait Recognition Using Skeleton Maps", 2024. F frames
of all sequences, C channels, H and W.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError
from unfussy.models.gait.blocks import Framewise, flat_stage, make_stem
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.packed import Runs
from unfussy.models.gait.shapes import Shapes
from unfussy.models.gait.stages import add_stages, check_sizes, run_stages, stages_of

__all__ = ["Fusion", "SkeletonGaitPP"]


class SkeletonGaitPP(GaitModel):
    """
    A network that looks at silhouettes and skeleton maps, and along time.

    A frame has the skeleton maps first (limbs, then joints), then the silhouette.

    Args:
        layers: The blocks of each stage: ``(1, 4, 4, 1)`` for Gait3D and GREW,
            ``(1, 1, 1, 1)`` for CCPG and SUSTech1K.
        channels: The channels of each stage.
        map_channels: How many skeleton maps a frame has.
        squeeze: By how much the fusion's hidden layer is narrower than a stage.
        strips: Into how many strips a feature map is cut.
        embedding_dim: The entries of each part's embedding.
        class_num: On how many identities it is trained; None leaves out ``BNNecks``.

    Raises:
        InputValueError: If there is no such network.
    """

    kinds = ("skeleton_maps", "silhouettes")

    def __init__(
        self,
        layers: tuple[int, ...] = (1, 4, 4, 1),
        channels: tuple[int, ...] = (64, 128, 256, 512),
        *,
        map_channels: int = 2,
        squeeze: int = 16,
        strips: int = 16,
        embedding_dim: int = 256,
        class_num: int | None = 3000,
    ) -> None:
        super().__init__()
        check_sizes(layers, channels)
        self.layers, self.channels = tuple(layers), tuple(channels)
        self.map_channels, self.in_channels = map_channels, map_channels + 1
        width = channels[0]
        self.sil_layer0 = make_stem(1, width)
        self.map_layer0 = make_stem(map_channels, width)
        self.sil_layer1 = Framewise(flat_stage(width, width, layers[0]))
        self.map_layer1 = Framewise(flat_stage(width, width, layers[0]))
        self.fusion = Fusion(width, width // squeeze)
        add_stages(self, "p3d", layers, channels)
        self._add_heads(strips, channels[-1], embedding_dim, class_num)

    @classmethod
    def settings_of(cls, shapes: Shapes, /) -> dict[str, Any]:
        """Return what the class was made with, read off the shapes of its weights."""
        stages = stages_of(shapes, "sil_layer1.forward_block.")
        if (mode := stages.pop("mode")) != "p3d":
            raise CheckpointError(
                f"{shapes.source} holds weights of SkeletonGait++ in mode {mode!r}; "
                "only 'p3d' was ever published"
            )
        hidden, both, *_ = shapes.of("fusion.conv.forward_block.0.weight", 4)
        return {
            **stages,
            "map_channels": shapes.of("map_layer0.forward_block.0.weight", 4)[1],
            "squeeze": both // 2 // hidden,
            **shapes.heads(),
        }

    def embed_frames(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map the frames of all sequences, on one axis, to embeddings."""
        skeletons, silhouettes = torch.split(frames, [self.map_channels, 1], 1)
        fused = self.fusion(
            self.sil_layer1(self.sil_layer0(silhouettes)),
            self.map_layer1(self.map_layer0(skeletons)),
        )
        return self._embed_maps(run_stages(self, fused, runs), runs)


class Fusion(nn.Module):
    """
    A weighted sum of two maps, whose weights add up to one everywhere.

    Args:
        channels: Those of each map, C.
        hidden: Those in between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = Framewise(
            nn.Sequential(
                nn.Conv2d(2 * channels, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 3, 1, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(),
                nn.Conv2d(hidden, 2 * channels, 1, bias=False),
            )
        )

    def forward(self, silhouettes: Tensor, skeletons: Tensor) -> Tensor:
        """Fuse two maps ``(F, C, H, W)`` into one."""
        scores = self.conv(torch.cat((silhouettes, skeletons), 1))
        weights = torch.stack(scores.chunk(2, 1)).softmax(0)
        fused: Tensor = weights[0] * silhouettes + weights[1] * skeletons
        return fused
