"""
What the gait models share: pure methods, easy ones, and the four doors.

n sequences, s frames of each, F frames of all, C channels of a frame, D entries of
each of the P parts of an embedding.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import torch
from torch import Tensor, nn

from unfussy import EasyInferenceMixin, EasyOptions
from unfussy.errors import InputValueError
from unfussy.models._dressing import as_planned
from unfussy.models._saving import save_weights
from unfussy.models.gait import easy as planned
from unfussy.models.gait.frames import pack
from unfussy.models.gait.heads import PartLinear, PartNecks, bins_of, pool_strips
from unfussy.models.gait.packed import Runs, pool_time
from unfussy.models.gait.sequences import Sequences, as_list
from unfussy.models.gait.shapes import Shapes
from unfussy.models.gait.weights import build_filled, build_seeded, read_weights

__all__ = ["GaitModel"]


class GaitModel(EasyInferenceMixin, nn.Module):
    """
    A network from gait sequences to embeddings, one for each part of the body.

    Attributes:
        kinds: What a sequence holds, in the order of the channels: ``"silhouettes"``,
            ``"parsing"``, ``"skeleton_maps"``.
        in_channels: The channels of a frame, C.
        bins: Into how many strips a feature map is cut, each time.
        parts: The parts of an embedding, P.
        embedding_dim: The entries of each, D.
        class_num: How many identities ``BNNecks`` tells apart; None without them.
    """

    easy_methods: ClassVar[tuple[str, ...]] = ("embed",)
    branches: ClassVar[tuple[str, ...]] = ("",)
    kinds: tuple[str, ...]
    in_channels: int
    bins: tuple[int, ...]
    parts: int
    embedding_dim: int
    class_num: int | None

    def _add_heads(
        self, strips: int, n_in: int, embedding_dim: int, class_num: int | None
    ) -> None:
        """Add what makes embeddings of the maps of each branch, in official order."""
        self.bins, self.parts = bins_of(strips), strips * len(self.branches)
        self.embedding_dim, self.class_num = embedding_dim, class_num
        for branch in self.branches:
            linear = PartLinear(strips, n_in, embedding_dim)
            self.add_module(f"FCs{branch}", linear)
        for branch in self.branches if class_num is not None else ():
            necks = PartNecks(strips, embedding_dim, class_num or 0)
            self.add_module(f"BNNecks{branch}", necks)

    # --- doors -----------------------------------------------------------------------

    @classmethod
    def from_config(cls, *args: Any, seed: int = 0, **settings: Any) -> Self:
        """
        Return a model in eval mode with random weights, the same for the same *seed*.

        Args:
            *args: What the class takes.
            seed: Of the weights; no global random state is touched.
            **settings: What the class takes.

        Raises:
            InputValueError: If there is no such network.
        """
        return build_seeded(lambda: cls(*args, **settings), seed)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any], /, **expected: Any) -> Self:
        """
        Return a model in eval mode, on the CPU, with a copy of these weights.

        Its settings and precision are those of the weights. Leading ``module.``,
        ``model.`` and ``_orig_mod.`` are cut off the keys, and what official files
        have around the weights is, too. ``BNNecks`` and ``num_batches_tracked`` may be
        absent; apart from that all keys must match.

        Args:
            state_dict: The weights.
            **expected: Settings that they must be of, such as ``mode="p3d"``.

        Raises:
            CheckpointError: If these are not the weights of this class, or of other
                settings than expected.
        """
        return build_filled(cls, cls.settings_of, state_dict, expected)

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str],
        /,
        checkpoint: str | int | None = None,
        **expected: Any,
    ) -> Self:
        """
        Return a model in eval mode, on the CPU, with official or saved weights.

        Reads official checkpoints, plain state dicts and safetensors. Nothing that is
        pickled in them is run.

        Args:
            path: A file, a folder, or the name of a repository on the Hugging Face
                Hub.
            checkpoint: The file to take from a folder of several, by its name.
            **expected: As for `from_state_dict`.

        Raises:
            CheckpointError: If there are no such weights, or other ones.
        """
        state, source = read_weights(path, checkpoint)
        return build_filled(cls, cls.settings_of, state, expected, source)

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """
        Write the weights as safetensors, under official keys, and return the file.

        Args:
            path: A file's name ending in ``.safetensors``, or else a folder's, where
                the file becomes ``model.safetensors``.

        Raises:
            CheckpointError: If *path* ends like another format's file.
        """
        return save_weights(self, path, type(self).__name__)

    @classmethod
    @abstractmethod
    def settings_of(cls, shapes: Shapes, /) -> dict[str, Any]:
        """
        Return what the class was made with, read off the shapes of its weights.

        Raises:
            CheckpointError: If a tensor that tells is missing.
        """

    # --- pure methods ----------------------------------------------------------------

    def forward(self, x: Tensor, lengths: Iterable[int] | None = None) -> Tensor:
        """Return what `embed` returns."""
        return self.embed(x, lengths)

    def embed(self, x: Tensor, lengths: Iterable[int] | None = None) -> Tensor:
        """
        Map frames as the network takes them to embeddings.

        Args:
            x: ``(n, s, H, W)`` or ``(n, s, C, H, W)``; with *lengths* the frames of
                all sequences on one axis, ``(F, H, W)`` or ``(F, C, H, W)``. Levels
                are from 0 to 1.
            lengths: How many frames each sequence has, in order.

        Returns:
            ``(n, D, P)``, not normalised. In eval mode that of a sequence depends on
            that sequence alone.

        Raises:
            InputTypeError: If *x* is no tensor of the model's precision.
            InputValueError: If its shape is another.
        """
        frames, runs = pack(x, lengths, self.in_channels, self.inference_dtype)
        return self.embed_frames(frames, runs)

    @abstractmethod
    def embed_frames(self, frames: Tensor, runs: Runs) -> Tensor:
        """
        Map the frames of all sequences, on one axis, to embeddings.

        Args:
            frames: ``(F, C, H, W)``.
            runs: How they belong to sequences; `runs_of` makes it of their lengths.

        Returns:
            ``(n, D, P)``.
        """

    def classify(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """
        Map embeddings to what the network is trained with.

        Args:
            embeddings: ``(n, D, P)``, as `embed` returns them.

        Returns:
            Embeddings after batch norm, each part of length one, ``(n, D, P)``; and
            scores of the identities that the network was trained on, ``(n, class_num,
            P)``.

        Raises:
            InputValueError: If the weights came without ``BNNecks``.
        """
        if self.class_num is None:
            raise InputValueError("this model has no BNNecks, so it cannot classify")
        branches = embeddings.chunk(len(self.branches), -1)
        necks = [self.get_submodule(f"BNNecks{branch}") for branch in self.branches]
        found = [neck(part) for neck, part in zip(necks, branches)]
        units, scores = zip(*found)
        return torch.cat(units, -1), torch.cat(scores, -1)

    def _embed_maps(self, maps: Tensor, runs: Runs, branch: str = "") -> Tensor:
        strips = pool_strips(pool_time(maps, runs), self.bins)
        embeddings: Tensor = self.get_submodule(f"FCs{branch}")(strips)
        return embeddings

    # --- easy methods ----------------------------------------------------------------

    @as_planned(planned.easy_embed)
    def easy_embed(
        self, sequences: Sequences, **options: Unpack[EasyOptions]
    ) -> Tensor:
        """
        Embed sequences of any lengths that come in any form.

        Runs in eval mode and without gradients, wherever the model lives. Each
        sequence gets what it would get alone, whatever else is in the list.

        Args:
            sequences: A list of sequences, each an array or tensor of frames
                ``(T, H, W)``, or a mapping with ``kinds``; one of these alone; or an
                array or tensor of several of equal length, ``(n, T, H, W)``. Frames
                are 64 x 64 or 64 x 44 pixels, or twice that. Silhouettes and skeleton
                maps are whole numbers from 0 to 255, floating ones from 0 to 1, or
                boolean; parsing holds labels from 0 to 11. Skeleton maps are
                ``(T, 2, H, W)``.
            **options: As for every easy method.

        Returns:
            ``(n, D, P)``, not normalised, in the order given; of one sequence alone
            ``(D, P)``. Arrays with ``return_numpy=True``.

        Raises:
            InputTypeError: If a sequence is no array, tensor or mapping.
            InputValueError: If one lacks something, or has another shape, size or
                range than it should.
        """
        given, is_single = as_list(sequences, self.kinds, self.in_channels)
        found = planned.easy_embed(self, given, **options)
        embeddings: Tensor = found[0] if is_single else found
        return embeddings
