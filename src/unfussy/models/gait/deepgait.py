"""
DeepGaitV2, a deep residual network of silhouettes: the official layers and keys.

After Fan et al., "Exploring Deep Models for Practical Gait Recognition", 2023. F
frames of all sequences, C channels, H and W.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.blocks import Framewise, Mode, flat_stage, make_stem
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.packed import Runs
from unfussy.models.gait.shapes import Shapes
from unfussy.models.gait.stages import add_stages, check_sizes, run_stages, stages_of

__all__ = ["DeepGaitV2"]

_KINDS: Final = {
    1: ("silhouettes",),
    2: ("skeleton_maps",),
    3: ("skeleton_maps", "silhouettes"),
}


class DeepGaitV2(GaitModel):
    """
    A network of 22 layers, or 10, that looks along time.

    With two channels it is SkeletonGait, of skeleton maps.

    Args:
        mode: ``"p3d"`` as in all published weights; ``"3d"``; or ``"2d"``, which looks
            at each frame by itself.
        layers: The blocks of each stage: ``(1, 4, 4, 1)`` for Gait3D and GREW,
            ``(1, 1, 1, 1)`` for CASIA-B, OU-MVLP, CCPG and SUSTech1K.
        channels: The channels of each stage.
        in_channels: The channels of a frame, C.
        strips: Into how many strips a feature map is cut.
        embedding_dim: The entries of each part's embedding.
        class_num: On how many identities it is trained; None leaves out ``BNNecks``.

    Raises:
        InputValueError: If there is no such network.

    Examples:
        >>> import numpy
        >>> model = DeepGaitV2.from_config(layers=(1, 1, 1, 1), class_num=None)
        >>> walks = [numpy.zeros((n, 64, 64), numpy.uint8) for n in (2, 1)]
        >>> model.easy_embed(walks).shape
        torch.Size([2, 256, 16])
    """

    def __init__(
        self,
        mode: Mode = "p3d",
        layers: tuple[int, ...] = (1, 4, 4, 1),
        channels: tuple[int, ...] = (64, 128, 256, 512),
        *,
        in_channels: int = 1,
        strips: int = 16,
        embedding_dim: int = 256,
        class_num: int | None = 3000,
    ) -> None:
        super().__init__()
        check_sizes(layers, channels)
        if mode not in get_args(Mode):
            raise InputValueError(f"mode is 'p3d', '3d' or '2d', got {mode!r}")
        self.mode, self.layers, self.channels = mode, tuple(layers), tuple(channels)
        self.in_channels = in_channels
        self.kinds = _KINDS.get(in_channels, ("frames",))
        width = channels[0]
        self.layer0 = make_stem(in_channels, width)
        self.layer1 = Framewise(flat_stage(width, width, layers[0]))
        add_stages(self, mode, layers, channels)
        self._add_heads(strips, channels[-1], embedding_dim, class_num)

    @classmethod
    def settings_of(cls, shapes: Shapes, /) -> dict[str, Any]:
        """Return what the class was made with, read off the shapes of its weights."""
        return {
            **stages_of(shapes, "layer1.forward_block."),
            "in_channels": shapes.of("layer0.forward_block.0.weight", 4)[1],
            **shapes.heads(),
        }

    def embed_frames(self, frames: Tensor, runs: Runs) -> Tensor:
        """Map the frames of all sequences, on one axis, to embeddings."""
        maps = run_stages(self, self.layer1(self.layer0(frames)), runs)
        return self._embed_maps(maps, runs)
