"""
What AdaFace with and without an occlusion head share: embedding, and the four doors.

B batch, C channels of the last stage, H and W its height and width (7, 7).
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, Unpack, overload

import torch
from torch import Tensor, nn

from unfussy import EasyInferenceMixin, EasyOptions, auto_device, batched, easy
from unfussy.errors import InputValueError
from unfussy.models._ranges import Channels, ValueRange
from unfussy.models._saving import save_weights
from unfussy.models.adaface.inputs import check_inputs, is_one_picture, to_inputs
from unfussy.models.adaface.network import (
    EMBEDDING,
    SIZES,
    Architecture,
    architecture_called,
    make_body,
    make_input_layer,
    make_output_layer,
)
from unfussy.models.adaface.ops import fuse_features_with_norm, l2_norm, project

__all__ = ["FaceBackbone", "Images"]

Images: TypeAlias = Any
"""One image, a list of images, or an array or tensor of several."""


def _same(*_: object) -> float:
    """Return what an image costs: however it is given, the network sees one size."""
    return 1.0


class FaceBackbone(EasyInferenceMixin, nn.Module):
    """
    A network from faces to embeddings.

    Args:
        architecture: Its name, such as ``"ir_50"``, or an `Architecture`.
        size: The side of a face in pixels, 112 or 224.

    Attributes:
        architecture: What it is built of.
        size: The side of a face, in pixels.
        input_layer: Faces to the first stage.
        body: The residual units of all stages.
        output_layer: The last stage to a vector.
    """

    easy_methods: ClassVar[tuple[str, ...]] = ("embed",)
    kind: ClassVar[str] = "AdaFace"

    def __init__(
        self, architecture: str | Architecture = "ir_50", *, size: int = 112
    ) -> None:
        super().__init__()
        if isinstance(architecture, str):
            architecture = architecture_called(architecture)
        if size not in SIZES:
            raise InputValueError(f"size is 112 or 224, got {size!r}")
        self.architecture, self.size = architecture, size
        self.input_layer = make_input_layer(architecture)
        self.body = make_body(architecture)
        self.output_layer = make_output_layer(architecture, size)

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """
        Write the weights as safetensors and return the file.

        Args:
            path: A file's name ending in ``.safetensors``, or else a folder's, where
                the file becomes ``model.safetensors``.

        Raises:
            CheckpointError: If *path* ends like another format's file.
        """
        return save_weights(self, path, f"{self.kind} {self.architecture.name}")

    # --- pure methods --------------------------------------------------------------

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Map inputs of the network to embeddings.

        Args:
            x: ``(B, 3, 112, 112)``, blue first, -1 to 1, as `to_input` makes it. Any
                memory format, and no faces at all, will do.

        Returns:
            Unit vectors ``(B, 512)``, and their norms before they were normalised,
            ``(B, 1)``. They are in float32 or finer; what would be a vector of zeros
            stays one.

        Raises:
            InputTypeError: If this is no tensor of the model's precision.
            InputValueError: If its shape is another.
        """
        return self.embed_features(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Map inputs as for `embed` to what the last stage gives, ``(B, C, 7, 7)``."""
        check_inputs(x, self.size, self.inference_dtype)
        features: Tensor = self.body(self.input_layer(x))
        return features

    def embed_features(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map what `features` returns to what `embed` returns."""
        return l2_norm(project(self.output_layer, features))

    # --- easy methods --------------------------------------------------------------

    @overload
    def easy_embed(
        self,
        images: Images,
        *,
        flip: bool = False,
        return_norm: Literal[False] = False,
        channels: Channels | None = None,
        value_range: ValueRange | None = None,
        **options: Unpack[EasyOptions],
    ) -> Tensor: ...

    @overload
    def easy_embed(
        self,
        images: Images,
        *,
        flip: bool = False,
        return_norm: Literal[True],
        channels: Channels | None = None,
        value_range: ValueRange | None = None,
        **options: Unpack[EasyOptions],
    ) -> tuple[Tensor, Tensor]: ...

    @easy(mode="inference")
    @batched(item=3, ragged="list", cost=_same)
    @auto_device(skip="images")
    def easy_embed(
        self,
        images: Images,
        *,
        flip: bool = False,
        return_norm: bool = False,
        channels: Channels | None = None,
        value_range: ValueRange | None = None,
        **options: Unpack[EasyOptions],  # noqa: ARG002 - taken by @easy
    ) -> Tensor | tuple[Tensor, Tensor]:
        """
        Embed aligned faces that come in any form.

        Runs in eval mode and without gradients, wherever the model lives. Files are
        read chunk by chunk. An image with NaN gets an embedding of NaN and disturbs no
        other.

        Args:
            images: One face or a list of faces, each a file's path, a Pillow picture,
                an array or a tensor, as `to_input` takes them; or an array
                ``(B, H, W, 3)`` or a tensor ``(B, 3, H, W)``.
            flip: Whether to embed mirrored faces too and to fuse both views, as the
                official evaluation does.
            return_norm: Whether to return norms too.
            channels: As in `to_input`.
            value_range: As in `to_input`.
            **options: As for every easy method.

        Returns:
            Unit vectors ``(B, 512)``, for one face ``(512,)``; with *return_norm* a
            tuple of them and of norms, ``(B, 1)`` or ``(1,)``. Those of fused views
            are norms of a sum, about twice as large.

        Raises:
            InputTypeError: If an image is of a kind that cannot be read.
            InputValueError: If its size, its values or the order of its channels is
                not what the network takes, or is not known.
        """
        x = to_inputs(
            images, channels=channels, value_range=value_range, size=self.size
        )
        x = x.to(self.inference_device, self.inference_dtype)
        if len(x) > 1:  # one alone is faster as it is
            x = x.contiguous(memory_format=torch.channels_last)
        embedding, norm = self._embed_views(x) if flip else self.embed(x)
        if is_one_picture(images):
            embedding, norm = embedding[0], norm[0]
        return (embedding, norm) if return_norm else embedding

    def _embed_views(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding, norm = self.embed(torch.cat((x, x.flip(-1))))
        views = embedding.reshape(2, len(x), EMBEDDING), norm.reshape(2, len(x), 1)
        return fuse_features_with_norm(*views)
