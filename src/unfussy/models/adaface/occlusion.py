"""
AdaFace with an occlusion head, which tells which places of a face are visible.

B batch. The head comes with occlusion-aware metric learning (OAML), a fork of AdaFace
that trains it together with a matcher of local features (QAConv). Trunk and embedding
are those of AdaFace.
"""

from __future__ import annotations

from os import PathLike
from typing import ClassVar, Final, Self, TypeVar

from torch import Tensor, nn

from unfussy.errors import CheckpointError, InputValueError
from unfussy.models.adaface.backbone import FaceBackbone
from unfussy.models.adaface.network import Architecture
from unfussy.models.adaface.weights import (
    Recipe,
    build_filled,
    build_seeded,
    read_weights,
    recipe_of,
)

__all__ = ["OcclusionAdaFace", "filled_with_head"]

M = TypeVar("M", bound="OcclusionAdaFace")


class OcclusionAdaFace(FaceBackbone, easy=("forward",), mode="inference"):
    """
    AdaFace that also returns which places of a face are visible.

    Args:
        architecture: Its name, such as ``"ir_50"``, or an `Architecture`.
        size: The side of a face in pixels, 112 or 224.
        version: Of the head. The first has 256 channels inside, the second 128.

    Attributes:
        version: Of the head.
        occlusion_head: The last stage to a map of what is visible.
        qaconv: The weights of the matcher that comes in the same files. Nothing here
            runs it.

    Examples:
        >>> import torch
        >>> model = OcclusionAdaFace.from_config("ir_18")
        >>> [x.shape for x in model.easy_forward(torch.zeros(2, 3, 112, 112))]
        [torch.Size([2, 512]), torch.Size([2, 1]), torch.Size([2, 1, 7, 7])]
    """

    kind: ClassVar[str] = "OcclusionAdaFace"

    def __init__(
        self,
        architecture: str | Architecture = "ir_50",
        *,
        size: int = 112,
        version: int = 2,
    ) -> None:
        super().__init__(architecture, size=size)
        if version not in _HEADS:
            raise InputValueError(f"version is 1 or 2, got {version!r}")
        self.version = version
        self.occlusion_head = _HEADS[version](self.architecture.widths[-1])
        self.qaconv = Matcher((size // 16) ** 2)

    @classmethod
    def from_config(
        cls,
        architecture: str = "ir_50",
        seed: int = 0,
        *,
        size: int = 112,
        version: int = 2,
    ) -> Self:
        """Return a model with random weights; see `AdaFace.from_config`."""
        return build_seeded(lambda: cls(architecture, size=size, version=version), seed)

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor], /) -> Self:
        """
        Return a model with these weights; see `AdaFace.from_state_dict`.

        Raises:
            CheckpointError: If these are not the weights of AdaFace with this head.
        """
        return filled_with_head(cls, state_dict, recipe_of(state_dict))

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], /, checkpoint: str | int | None = None
    ) -> Self:
        """
        Return a model with the weights of a file; see `AdaFace.from_pretrained`.

        Raises:
            CheckpointError: If these are not the weights of AdaFace with this head.
        """
        state, source = read_weights(path, checkpoint)
        return filled_with_head(cls, state, recipe_of(state, source), source)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Map inputs of the network to embeddings and maps of what is visible.

        Both versions return three values. The official code of the second returns the
        map on demand only, and lets a face whose features are all but zero change
        those of others in its batch; here no face does.

        Args:
            x: As for `embed`.

        Returns:
            What `embed` returns, and maps ``(B, 1, 7, 7)`` from 0, hidden, to 1,
            visible.
        """
        features = self.features(x)
        visible: Tensor = self.occlusion_head(features)
        return (*self.embed_features(features), visible.float())


class SequentialHead(nn.Module):
    """The first version of the occlusion head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, 256, 3, 1, 1, bias=False),
            *(nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 1, 1), nn.Sigmoid()),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, 7, 7)`` to ``(B, 1, 7, 7)``."""
        visible: Tensor = self.conv(features)
        return visible


class NamedHead(nn.Module):
    """The second version of the occlusion head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, 128, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, C, 7, 7)`` to ``(B, 1, 7, 7)``."""
        visible: Tensor = self.conv2(self.bn1(self.conv1(features)).relu())
        return visible.sigmoid()


class Matcher(nn.Module):
    """The layers of the fork's matcher, kept so that no weight of a file is lost."""

    def __init__(self, n_places: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(1)
        self.fc = nn.Linear(2 * n_places, 1)
        self.logit_bn = nn.BatchNorm1d(1)


_HEADS: Final = {1: SequentialHead, 2: NamedHead}


def filled_with_head(
    kind: type[M],
    state: dict[str, Tensor],
    recipe: Recipe,
    source: str = "the state dict",
) -> M:
    """
    Return a model of *kind* with the weights in *state*.

    Raises:
        CheckpointError: If there is no occlusion head among them, or they do not match.
    """
    if not recipe.occlusion:
        raise CheckpointError(f"{source} has no occlusion head: load it with AdaFace")
    size, version = recipe.size, recipe.occlusion
    title = f"{kind.kind} {recipe.architecture.name}, version {version}"
    return build_filled(
        lambda: kind(recipe.architecture, size=size, version=version),
        state,
        title=title,
        source=source,
    )
