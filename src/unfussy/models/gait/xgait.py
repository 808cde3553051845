"""
XGait, a network of silhouettes and parsing: the official layers and keys.

After Zheng et al., "It Takes Two: Accurate Gait Recognition in the Wild via Cross-
granularity Alignment", 2024. n sequences, s frames of each, F frames of all, H and W.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.attention import GlobalGate, PartGate, labels_on
from unfussy.models.gait.blocks import Framewise
from unfussy.models.gait.frames import pack
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.packed import Runs
from unfussy.models.gait.resnet import ResNet9, resnet_of
from unfussy.models.gait.shapes import Shapes
from unfussy.models.gait.stages import check_sizes

__all__ = ["XGait"]


class XGait(GaitModel):
    """
    A network that looks at silhouettes and body parts, each frame by itself.

    The order of frames does not matter. Parsing holds labels, not levels: 1 head, 2
    torso, 3 and 4 arms, 5 and 6 hands, 7 and 8 legs, 9 and 10 feet, 11 dress.

    Args:
        layers: The blocks of each stage.
        channels: The channels of each.
        strides: The stride of each.
        reduction: By how much the hidden layers of gates are narrower than a map.
        strips: Into how many strips a feature map is cut.
        embedding_dim: The entries of each part's embedding.
        class_num: On how many identities it is trained; None leaves out ``BNNecks``.

    Raises:
        InputValueError: If there is no such network.
    """

    kinds = ("parsing", "silhouettes")
    branches = ("_sil", "_par", "_gcm", "_pcm")
    in_channels = 2

    def __init__(
        self,
        layers: tuple[int, ...] = (1, 1, 1, 1),
        channels: tuple[int, ...] = (64, 128, 256, 512),
        strides: tuple[int, ...] = (1, 2, 2, 1),
        *,
        reduction: int = 16,
        strips: int = 16,
        embedding_dim: int = 256,
        class_num: int | None = 3000,
    ) -> None:
        super().__init__()
        check_sizes(layers, channels)
        self.layers, self.channels = tuple(layers), tuple(channels)
        self.strides, width = tuple(strides), channels[-1]
        self.Backbone_sil = Framewise(ResNet9(1, channels, layers, strides))
        self.Backbone_par = Framewise(ResNet9(1, channels, layers, strides))
        self.gcm = GlobalGate(width, reduction)
        self.pcm_up = PartGate("up", width, reduction)
        self.pcm_middle = PartGate("middle", width, reduction)
        self.pcm_down = PartGate("down", width, reduction)
        self._add_heads(strips, width, embedding_dim, class_num)

    @classmethod
    def settings_of(cls, shapes: Shapes, /) -> dict[str, Any]:
        """Return what the class was made with, read off the shapes of its weights."""
        hidden, both = shapes.of("gcm.fc.0.weight", 2)
        return {
            **resnet_of(shapes, "Backbone_sil.forward_block."),
            "reduction": both // 2 // hidden,
            **shapes.heads("_sil"),
        }

    def forward(  # type: ignore[override] # the official order of two inputs
        self,
        parsing: Tensor,
        silhouettes: Tensor,
        lengths: Iterable[int] | None = None,
    ) -> Tensor:
        """Return what `embed` returns."""
        return self.embed(parsing, silhouettes, lengths)

    def embed(  # type: ignore[override] # the official order of two inputs
        self,
        parsing: Tensor,
        silhouettes: Tensor,
        lengths: Iterable[int] | None = None,
    ) -> Tensor:
        """
        Map frames as the network takes them to embeddings.

        Args:
            parsing: Labels from 0 to 11 as floating numbers, ``(n, s, H, W)``; with
                *lengths* those of all sequences on one axis, ``(F, H, W)``.
            silhouettes: Levels from 0 to 1, of the same shape.
            lengths: How many frames each sequence has, in order.

        Returns:
            ``(n, D, P)``, not normalised: parts of silhouettes, of parsing, of both
            aligned globally, and of both aligned part by part.

        Raises:
            InputTypeError: If these are no tensors of the model's precision.
            InputValueError: If their shapes are others, or differ.
        """
        if lengths is not None:
            lengths = list(lengths)
        labels, runs = pack(parsing, lengths, 1, self.inference_dtype)
        levels, _ = pack(silhouettes, lengths, 1, self.inference_dtype)
        if labels.shape != levels.shape:
            raise InputValueError(
                f"parsing and silhouettes have one shape, got {tuple(parsing.shape)} "
                f"and {tuple(silhouettes.shape)}"
            )
        return self.embed_frames(torch.cat((labels, levels), 1), runs)

    def embed_frames(self, frames: Tensor, runs: Runs) -> Tensor:
        """
        Map the frames of all sequences, on one axis, to embeddings.

        Args:
            frames: ``(F, 2, H, W)``: parsing, then silhouettes.
            runs: How they belong to sequences.
        """
        parsing, silhouettes = torch.split(frames, 1, 1)
        maps = self.Backbone_sil(silhouettes), self.Backbone_par(parsing)
        labels = labels_on(parsing, maps[0].shape[2])
        gates = self.pcm_up, self.pcm_middle, self.pcm_down
        by_part = torch.cat([gate(*maps, labels) for gate in gates], 2)
        fused = *maps, self.gcm(*maps), by_part
        found = [self._embed_maps(x, runs, b) for x, b in zip(fused, self.branches)]
        return torch.cat(found, -1)
