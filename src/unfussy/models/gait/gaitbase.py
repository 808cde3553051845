"""
GaitBase, a residual network of single silhouettes: the official layers and keys.

After Fan et al., "OpenGait: Revisiting Gait Recognition Towards Better Practicality",
2023. F frames of all sequences, C channels, H and W.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unfussy.models.gait.blocks import Framewise
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.packed import Runs
from unfussy.models.gait.resnet import ResNet9, resnet_of
from unfussy.models.gait.shapes import Shapes
from unfussy.models.gait.stages import check_sizes

__all__ = ["GaitBase"]


class GaitBase(GaitModel):
    """
    A network that looks at each frame by itself; their order does not matter.

    Args:
        layers: The blocks of each stage.
        channels: The channels of each.
        strides: The stride of each.
        in_channels: The channels of a frame, C.
        strips: Into how many strips a feature map is cut.
        embedding_dim: The entries of each part's embedding.
        class_num: On how many identities it is trained; None leaves out ``BNNecks``.

    Raises:
        InputValueError: If there is no such network.

    Examples:
        >>> import numpy
        >>> model = GaitBase.from_config(class_num=None)
        >>> model.easy_embed(numpy.zeros((2, 64, 44), numpy.uint8)).shape
        torch.Size([256, 16])
    """

    kinds = ("silhouettes",)

    def __init__(
        self,
        layers: tuple[int, ...] = (1, 1, 1, 1),
        channels: tuple[int, ...] = (64, 128, 256, 512),
        strides: tuple[int, ...] = (1, 2, 2, 1),
        *,
        in_channels: int = 1,
        strips: int = 16,
        embedding_dim: int = 256,
        class_num: int | None = 3000,
    ) -> None:
        super().__init__()
        check_sizes(layers, channels)
        self.layers, self.channels = tuple(layers), tuple(channels)
        self.strides, self.in_channels = tuple(strides), in_channels
        self.Backbone = Framewise(ResNet9(in_channels, channels, layers, strides))
        self._add_heads(strips, channels[-1], embedding_dim, class_num)

    @classmethod
    def settings_of(cls, shapes: Shapes, /) -> dict[str, Any]:
        """Return what the class was made with, read off the shapes of its weights."""
        inside = "Backbone.forward_block."
        return {
            **resnet_of(shapes, inside),
            "in_channels": shapes.of(f"{inside}conv1.conv.weight", 4)[1],
            **shapes.heads(),
        }

    def embed_frames(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map the frames of all sequences, on one axis, to embeddings."""
        return self._embed_maps(self.Backbone(frames), runs)
