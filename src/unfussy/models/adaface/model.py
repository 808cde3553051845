"""AdaFace, a network from aligned faces to embeddings: the official layers and keys."""

from __future__ import annotations

from os import PathLike
from typing import Self, TypeVar

from torch import Tensor

from unfussy.errors import CheckpointError
from unfussy.models.adaface.backbone import FaceBackbone
from unfussy.models.adaface.network import architecture_called
from unfussy.models.adaface.occlusion import OcclusionAdaFace, filled_with_head
from unfussy.models.adaface.weights import (
    Recipe,
    build_filled,
    build_seeded,
    read_weights,
    recipe_of,
)

__all__ = ["AdaFace", "load_pretrained_model"]

A = TypeVar("A", bound="AdaFace")


class AdaFace(FaceBackbone, easy=("forward",), mode="inference"):
    """
    A face recognition network: a face to a unit vector of 512 numbers, and its norm.

    `forward`, `embed` and `features` take inputs of the network, and convert, move and
    switch nothing. `easy_embed` takes images, and `easy_forward` inputs, that come in
    any form and from anywhere.

    Args:
        architecture: Its name, such as ``"ir_50"``, or an `Architecture`.
        size: The side of a face in pixels, 112 or 224.

    Attributes:
        architecture: What it is built of.
        size: The side of a face, in pixels.
        input_layer: Faces to the first stage.
        body: The residual units of all stages.
        output_layer: The last stage to a vector.

    Examples:
        >>> import numpy
        >>> model = AdaFace.from_config("ir_18")
        >>> faces = numpy.zeros((2, 112, 112, 3), numpy.uint8)
        >>> model.easy_embed(faces).shape, model.easy_embed(faces[0]).shape
        (torch.Size([2, 512]), torch.Size([512]))
    """

    @classmethod
    def from_config(
        cls, architecture: str = "ir_50", seed: int = 0, *, size: int = 112
    ) -> Self:
        """
        Return a model in eval mode with random weights, the same for the same *seed*.

        Args:
            architecture: ``"ir_18"``, 34, 50, 101, 152 or 200; ``"ir_se_50"`` and so on
                weigh their channels too.
            seed: Of the weights; no global random state is touched.
            size: The side of a face in pixels, 112 or 224.

        Raises:
            InputValueError: If there is no such architecture or size.
        """
        return build_seeded(lambda: cls(architecture, size=size), seed)

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor], /) -> Self:
        """
        Return a model in eval mode, on the CPU, with a copy of these weights.

        Its architecture, size and precision are those of the weights. Leading
        ``model.``, ``module.`` and ``net.`` are cut off the keys, ``head.*`` (the
        classes of the training) is ignored and ``num_batches_tracked`` may be absent;
        apart from that all keys must match.

        Raises:
            CheckpointError: If these are not the weights of AdaFace, or are of one with
                an occlusion head.
        """
        return _filled(cls, state_dict, recipe_of(state_dict))

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], /, checkpoint: str | int | None = None
    ) -> AdaFace | OcclusionAdaFace:
        """
        Return a model in eval mode, on the CPU, with official or saved weights.

        Reads Lightning checkpoints (without Lightning, and without running what is
        pickled in them), plain state dicts, those of CVLface and of the fork with an
        occlusion head, and safetensors. The architecture is inferred.

        Args:
            path: A file, a folder, or the name of a repository on the Hugging Face
                Hub.
            checkpoint: The file to take from a folder of several, by name or epoch.

        Returns:
            An `AdaFace`, or an `OcclusionAdaFace` if the weights have that head.

        Raises:
            CheckpointError: If there are no such weights, or other ones.
        """
        state, source = read_weights(path, checkpoint)
        return _filled_as_inferred(cls, state, recipe_of(state, source), source)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `embed` returns."""
        return self.embed(x)


def load_pretrained_model(
    architecture: str,
    path: str | PathLike[str],
    /,
    checkpoint: str | int | None = None,
) -> AdaFace | OcclusionAdaFace:
    """
    Return a model with official weights, which have to be of *architecture*.

    Args:
        architecture: Its name, such as ``"ir_50"``.
        path: As in `AdaFace.from_pretrained`, which infers the architecture.
        checkpoint: The same.

    Raises:
        CheckpointError: If there are no such weights, or they are of another
            architecture.
        InputValueError: If there is no such architecture.
    """
    wanted = architecture_called(architecture)
    state, source = read_weights(path, checkpoint)
    recipe = recipe_of(state, source)
    if recipe.architecture != wanted:
        found = recipe.architecture.name
        raise CheckpointError(f"{source} is of {found}, not of {architecture}")
    return _filled_as_inferred(AdaFace, state, recipe, source)


def _filled_as_inferred(
    kind: type[AdaFace], state: dict[str, Tensor], recipe: Recipe, source: str
) -> AdaFace | OcclusionAdaFace:
    if recipe.occlusion:
        return filled_with_head(OcclusionAdaFace, state, recipe, source)
    return _filled(kind, state, recipe, source)


def _filled(
    kind: type[A],
    state: dict[str, Tensor],
    recipe: Recipe,
    source: str = "the state dict",
) -> A:
    if recipe.occlusion:
        raise CheckpointError(
            f"{source} has an occlusion head: load it with OcclusionAdaFace"
        )
    title = f"{kind.kind} {recipe.architecture.name}"
    return build_filled(
        lambda: kind(recipe.architecture, size=recipe.size),
        state,
        title=title,
        source=source,
    )
