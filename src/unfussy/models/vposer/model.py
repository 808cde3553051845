"""VPoser, version 2: the official methods, and easy ones beside them."""

from __future__ import annotations

from os import PathLike
from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.distributions import Normal

from unfussy import EasyOptions
from unfussy.models.vposer.easy import Poses, to_poses
from unfussy.models.vposer.network import make_decoder, make_encoder
from unfussy.models.vposer.prior import OfficialConfig, PosePrior
from unfussy.models.vposer.sampling import Seed, draw_normal
from unfussy.models.vposer.shapes import check_latents, check_poses
from unfussy.models.vposer.v1 import VPoserV1
from unfussy.models.vposer.weights import build_filled, read_weights, version_of

__all__ = ["VPoser"]


class VPoser(PosePrior):
    """
    VPoser, version 2: a variational autoencoder of body poses.

    `encode`, `decode` and `forward` are the official methods: they convert, move and
    switch nothing. `easy_encode` and `easy_decode` take what people have.

    Args:
        num_neurons: The width of the hidden layers, or an official configuration.
        latentD: The size of a latent.

    Attributes:
        num_neurons: The width of the hidden layers.
        latentD: The size of a latent, by its official name.
        num_joints: 21: the body of SMPL-X without the pelvis.
        encoder_net: Poses ``(B, 63)`` to a ``Normal`` over latents ``(B, D)``.
        decoder_net: Latents ``(B, D)`` to rotation matrices ``(B, 21, 3, 3)``.

    Examples:
        >>> import numpy
        >>> model = VPoser.from_config(num_neurons=64, latentD=8)
        >>> z = model.easy_encode(numpy.zeros((5, 63)))
        >>> z.shape, model.easy_decode(z)["pose_body"].shape
        (torch.Size([5, 8]), torch.Size([5, 21, 3]))
    """

    version: ClassVar[int] = 2

    def __init__(
        self,
        num_neurons: int | OfficialConfig = 512,
        latentD: int = 32,  # noqa: N803 - the official name
    ) -> None:
        super().__init__(num_neurons, latentD)
        self.encoder_net = make_encoder(self.num_neurons, self.latentD)
        self.decoder_net = make_decoder(self.num_neurons, self.latentD)

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], /, checkpoint: str | int | None = None
    ) -> VPoser | VPoserV1:
        """
        Return a model in eval mode, on the CPU, with official or saved weights.

        Reads Lightning checkpoints (without Lightning, and without running what is
        pickled in them), plain state dicts, safetensors and the official experiment
        folders of both versions; sizes are inferred. Of several files in a folder's
        ``snapshots`` it takes the one of the highest epoch, and warns.

        Args:
            path: A file, a folder, or the name of a repository on the Hugging Face
                Hub.
            checkpoint: The file to take from a folder of several, by name or epoch.

        Returns:
            A `VPoser`, or a `VPoserV1` if the weights are of version 1.

        Raises:
            CheckpointError: If there are no such weights, or other ones.
        """
        state, file = read_weights(path, checkpoint)
        source = str(file)
        if version_of(state, source) == VPoserV1.version:
            return build_filled(VPoserV1, VPoserV1.version, state, source=source)
        return build_filled(cls, cls.version, state, source=source)

    def encode(self, pose_body: Tensor) -> Normal:
        """
        Map poses to the distribution of their latents.

        Args:
            pose_body: ``(B, 63)``, ``(B, 21, 3)`` or with a dimension of one between,
                axis-angle, radians.

        Returns:
            A ``Normal`` over ``(B, D)``.

        Raises:
            InputTypeError: If this is no tensor of the model's precision.
            InputValueError: If its shape is another.
        """
        check_poses(pose_body, self.inference_dtype)
        q_z: Normal = self.encoder_net(pose_body)
        return q_z

    def decode(self, z: Tensor) -> Poses:
        """
        Map latents to poses.

        Args:
            z: ``(B, D)``.

        Returns:
            ``pose_body`` ``(B, 21, 3)``, axis-angle in radians, and
            ``pose_body_matrot`` ``(B, 21, 9)``, rotation matrices row by row.

        Raises:
            InputTypeError: If this is no tensor of the model's precision.
            InputValueError: If its shape is another.
        """
        check_latents(z, self.latentD, self.inference_dtype)
        return to_poses(self.decode_matrices(z))

    def forward(self, pose_body: Tensor) -> dict[str, Tensor | Normal]:
        """
        Encode, draw a latent and decode it.

        Returns:
            What `decode` returns, and of the latents ``poZ_body_mean`` and
            ``poZ_body_std``, both ``(B, D)``, and the distribution ``q_z``.
        """
        q_z = self.encode(pose_body)
        poses = self.decode(q_z.rsample())
        latents = {"poZ_body_mean": q_z.mean, "poZ_body_std": q_z.scale}
        return {**poses, **latents, "q_z": q_z}

    def sample_poses(
        self,
        num_poses: int,
        seed: Seed = None,
        *,
        generator: torch.Generator | None = None,
        **options: Unpack[EasyOptions],
    ) -> Poses:
        """
        Decode random latents, for an equal *seed* the official ones.

        Unlike the official method it leaves NumPy's global generator and the model's
        mode alone, and the result carries no graph.

        Args:
            num_poses: How many, B.
            seed: A whole number, a NumPy generator, or None for new poses each time.
            generator: A PyTorch generator, instead of *seed*.
            **options: As for every easy method.

        Returns:
            What `decode` returns.

        Raises:
            InputValueError: If both *seed* and *generator* are given.

        Examples:
            >>> model = VPoser.from_config(num_neurons=64, latentD=8)
            >>> model.sample_poses(3, seed=123)["pose_body"].shape
            torch.Size([3, 21, 3])
        """
        z = draw_normal(num_poses, self.latentD, seed, generator)
        return self.easy_decode(z, **options)

    def decode_matrices(self, z: Tensor) -> Tensor:
        """Map latents ``(B, D)`` to rotation matrices ``(B, 21, 3, 3)``."""
        matrices: Tensor = self.decoder_net(z)
        return matrices
