"""
VPoser, version 1, of 2019: other layers, other keys, and one tensor for a result.

B batch, D size of a latent.
"""

from __future__ import annotations

from os import PathLike
from typing import ClassVar, Literal, Self, TypeAlias, Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor, nn
from torch.distributions import Normal

from unfussy import EasyOptions
from unfussy.errors import InputValueError
from unfussy.models.vposer.network import RotationHead, to_normal
from unfussy.models.vposer.ops import matrix_to_axis_angle
from unfussy.models.vposer.prior import OfficialConfig, PosePrior
from unfussy.models.vposer.sampling import Seed, draw_normal
from unfussy.models.vposer.shapes import JOINTS, POSE, check_latents, check_poses
from unfussy.models.vposer.weights import build_filled, read_weights

__all__ = ["VPoserV1"]

OutputType: TypeAlias = Literal["matrot", "aa"]

_SLOPE = 0.2


class VPoserV1(PosePrior):
    """
    The first VPoser, whose weights are called ``TR00_E096.pt``.

    `encode`, `decode`, `forward` and `sample_poses` are called and answer as the
    official ones; the easy methods are those of `VPoser`.

    Attributes:
        num_neurons: The width of the hidden layers.
        latentD: The size of a latent, by its official name.
        num_joints: 21: the body of SMPL-X without the pelvis.

    Examples:
        >>> model = VPoserV1.from_config(num_neurons=64, latentD=8)
        >>> model.decode(torch.zeros(2, 8), output_type="aa").shape
        torch.Size([2, 1, 21, 3])
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        num_neurons: int | OfficialConfig = 512,
        latentD: int = 32,  # noqa: N803 - the official name
    ) -> None:
        super().__init__(num_neurons, latentD)
        width, size = self.num_neurons, self.latentD
        self.bodyprior_enc_bn1 = nn.BatchNorm1d(POSE)
        self.bodyprior_enc_fc1 = nn.Linear(POSE, width)
        self.bodyprior_enc_bn2 = nn.BatchNorm1d(width)
        self.bodyprior_enc_fc2 = nn.Linear(width, width)
        self.bodyprior_enc_mu = nn.Linear(width, size)
        self.bodyprior_enc_logvar = nn.Linear(width, size)
        self.dropout = nn.Dropout(0.1)
        self.bodyprior_dec_fc1 = nn.Linear(size, width)
        self.bodyprior_dec_fc2 = nn.Linear(width, width)
        self.rot_decoder = RotationHead()
        self.bodyprior_dec_out = nn.Linear(width, JOINTS * 6)

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], /, checkpoint: str | int | None = None
    ) -> Self:
        """
        Return a model with official or saved weights; see `VPoser.from_pretrained`.

        Raises:
            CheckpointError: If these are no weights of version 1.
        """
        state, file = read_weights(path, checkpoint)
        return build_filled(cls, cls.version, state, source=str(file))

    def encode(self, pose_body: Tensor) -> Normal:
        """
        Map poses to the distribution of their latents.

        Args:
            pose_body: ``(B, 63)``, ``(B, 21, 3)`` or with a dimension of one between,
                axis-angle, radians.

        Returns:
            A ``Normal`` over ``(B, D)``.
        """
        check_poses(pose_body, self.inference_dtype)
        hidden = self.bodyprior_enc_bn1(pose_body.flatten(1))
        hidden = F.leaky_relu(self.bodyprior_enc_fc1(hidden), _SLOPE)
        hidden = self.dropout(self.bodyprior_enc_bn2(hidden))
        hidden = F.leaky_relu(self.bodyprior_enc_fc2(hidden), _SLOPE)
        return to_normal(hidden, self.bodyprior_enc_mu, self.bodyprior_enc_logvar)

    def decode(self, z: Tensor, output_type: OutputType = "matrot") -> Tensor:
        """
        Map latents to poses.

        Args:
            z: ``(B, D)``.
            output_type: Rotation matrices, or axis-angle.

        Returns:
            ``(B, 1, 21, 9)``, matrices row by row, or ``(B, 1, 21, 3)``, radians.

        Raises:
            InputValueError: If there is no such *output_type*.
        """
        check_latents(z, self.latentD, self.inference_dtype)
        _check(output_type)
        matrices = self.decode_matrices(z).unsqueeze(1)  # (B, 1, 21, 3, 3)
        if output_type == "matrot":
            return matrices.flatten(-2)
        return matrix_to_axis_angle(matrices)

    def forward(
        self,
        pose_body: Tensor,
        input_type: OutputType = "aa",  # noqa: ARG002 - as ever
        output_type: OutputType = "matrot",
    ) -> dict[str, Tensor]:
        """
        Encode, draw a latent and decode it.

        Args:
            pose_body: As for `encode`.
            input_type: Ignored, as officially: poses are axis-angle.
            output_type: As for `decode`.

        Returns:
            ``mean`` and ``std``, both ``(B, D)``, and ``pose_matrot`` or ``pose_aa``.
        """
        q_z = self.encode(pose_body)
        poses = self.decode(q_z.rsample(), output_type)
        return {"mean": q_z.mean, "std": q_z.scale, f"pose_{output_type}": poses}

    def sample_poses(
        self,
        num_poses: int,
        output_type: OutputType = "aa",
        seed: Seed = None,
        *,
        generator: torch.Generator | None = None,
        **options: Unpack[EasyOptions],
    ) -> Tensor:
        """
        Decode random latents, for an equal *seed* the official ones.

        Args:
            num_poses: How many, B.
            output_type: As for `decode`.
            seed: As for `VPoser.sample_poses`.
            generator: The same.
            **options: As for every easy method.

        Returns:
            ``(B, 1, 21, 3)`` or ``(B, 1, 21, 9)``, as from `decode`.
        """
        _check(output_type)
        z = draw_normal(num_poses, self.latentD, seed, generator)
        poses = self.easy_decode(z, output=output_type, **options)
        return poses.reshape(-1, 1, *poses.shape[1:])

    def decode_matrices(self, z: Tensor) -> Tensor:
        """Map latents ``(B, D)`` to rotation matrices ``(B, 21, 3, 3)``."""
        hidden = F.leaky_relu(self.bodyprior_dec_fc1(z), _SLOPE)
        hidden = F.leaky_relu(self.bodyprior_dec_fc2(self.dropout(hidden)), _SLOPE)
        matrices: Tensor = self.rot_decoder(self.bodyprior_dec_out(hidden))
        return matrices


def _check(output_type: object) -> None:
    if output_type not in ("matrot", "aa"):
        raise InputValueError(f"output_type is 'matrot' or 'aa', got {output_type!r}")
