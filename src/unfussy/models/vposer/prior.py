"""
What both versions of VPoser share: easy methods, sampling and the four doors.

B batch, D size of a latent, ... any leading dimensions, which results have again.
"""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias, Unpack, overload

from torch import Tensor, nn
from torch.distributions import Normal

from unfussy import EasyInferenceMixin, EasyOptions, TensorLike
from unfussy._arrays import from_array
from unfussy.models._dressing import as_planned
from unfussy.models._saving import save_weights
from unfussy.models.vposer import easy as planned
from unfussy.models.vposer.easy import Output, Poses, make_noise, restored
from unfussy.models.vposer.ops import at_least_float32
from unfussy.models.vposer.sampling import Kind, Seed, interpolate
from unfussy.models.vposer.shapes import JOINTS, latent_rows, pose_rows
from unfussy.models.vposer.weights import build_filled, build_seeded

__all__ = ["OfficialConfig", "PosePrior", "Stats"]

Stats: TypeAlias = tuple[Tensor, tuple[Tensor, Tensor]]


class OfficialConfig(Protocol):
    """A configuration of the official code: sizes under ``model_params``."""

    model_params: Any


class PosePrior(EasyInferenceMixin, nn.Module):
    """
    A variational autoencoder of body poses.

    Attributes:
        num_neurons: The width of the hidden layers.
        latentD: The size of a latent, by its official name.
        num_joints: 21: the body of SMPL-X without the pelvis.
    """

    version: ClassVar[int]
    easy_methods = ("encode", "decode")

    def __init__(
        self,
        num_neurons: int | OfficialConfig = 512,
        latentD: int = 32,  # noqa: N803 - the official name
    ) -> None:
        super().__init__()
        self.num_neurons, self.latentD = _sizes(num_neurons, latentD)
        self.num_joints = JOINTS

    @property
    def latent_dim(self) -> int:
        """The size of a latent."""
        return self.latentD

    # --- doors ---------------------------------------------------------------------

    @classmethod
    def from_config(
        cls,
        num_neurons: int | OfficialConfig = 512,
        latentD: int = 32,  # noqa: N803
        seed: int = 0,
    ) -> Self:
        """
        Return a model in eval mode with random weights, the same for the same *seed*.

        Args:
            num_neurons: The width of the hidden layers, or an official configuration
                that holds both sizes.
            latentD: The size of a latent.
            seed: Of the weights; no global random state is touched.
        """
        return build_seeded(lambda: cls(num_neurons, latentD), seed)

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor], /) -> Self:
        """
        Return a model in eval mode, on the CPU, with a copy of these weights.

        Its sizes and precision are those of the weights. Leading ``vp_model.``,
        ``module.`` and ``model.`` are cut off the keys, ``bm_train.*`` is ignored and
        ``num_batches_tracked`` may be absent; apart from that all keys must match.

        Raises:
            CheckpointError: If these are not the weights of this version.
        """
        return build_filled(cls, cls.version, state_dict)

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """
        Write the weights as safetensors and return the file.

        Args:
            path: A file's name ending in ``.safetensors``, or else a folder's, where
                the file becomes ``model.safetensors``.

        Raises:
            CheckpointError: If *path* ends like another format's file.
        """
        return save_weights(self, path, f"VPoser v{self.version}")

    # --- easy methods --------------------------------------------------------------

    @overload
    def easy_encode(
        self,
        x: TensorLike,
        *,
        return_stats: Literal[False] = False,
        sample: bool = False,
        seed: Seed = None,
        **options: Unpack[EasyOptions],
    ) -> Tensor: ...

    @overload
    def easy_encode(
        self,
        x: TensorLike,
        *,
        return_stats: Literal[True],
        sample: bool = False,
        seed: Seed = None,
        **options: Unpack[EasyOptions],
    ) -> Stats: ...

    @as_planned(planned.easy_encode)
    def easy_encode(
        self,
        x: TensorLike,
        *,
        return_stats: bool = False,
        sample: bool = False,
        seed: Seed = None,
        **options: Unpack[EasyOptions],
    ) -> Tensor | Stats:
        """
        Encode poses that come in any form, and return their mean latents.

        Runs in eval mode and without gradients, wherever the model lives; the result
        is an ordinary tensor, so that fitting may start from it. A pose that holds
        NaN gets a latent of NaN and disturbs no other.

        Args:
            x: A tensor, an array or a list of poses in axis-angle, radians: ``(63,)``,
                ``(21, 3)``, ``(..., 63)`` or ``(..., 21, 3)``.
            return_stats: Whether to return ``(z, (mean, std))``.
            sample: Whether to draw *z* from the distribution instead of its mean.
            seed: For *sample*: a whole number, a NumPy or PyTorch generator, or None
                for numbers that are new each time.
            **options: As for every easy method.

        Returns:
            Latents ``(..., D)``; with *return_stats* as said there, *std* being the
            standard deviation. Arrays with ``return_numpy=True``.

        Raises:
            InputTypeError: If *x* is no tensor, array or list.
            InputValueError: If its shape is not one of poses, or *seed* comes without
                *sample*.
        """
        rows, lead = pose_rows(x, "easy_encode()")
        noise = make_noise(len(rows), self.latentD, seed, sample=sample)
        found = planned.easy_encode(
            self, rows, return_stats=return_stats, noise=noise, **options
        )
        latents: Tensor | Stats = restored(found, lead)
        return latents

    @overload
    def easy_decode(
        self,
        z: TensorLike,
        *,
        output: Literal["both"] = "both",
        **options: Unpack[EasyOptions],
    ) -> Poses: ...

    @overload
    def easy_decode(
        self,
        z: TensorLike,
        *,
        output: Literal["aa", "matrot"],
        **options: Unpack[EasyOptions],
    ) -> Tensor: ...

    @as_planned(planned.easy_decode)
    def easy_decode(
        self,
        z: TensorLike,
        *,
        output: Output = "both",
        **options: Unpack[EasyOptions],
    ) -> Poses | Tensor:
        """
        Decode latents that come in any form.

        Args:
            z: A tensor, an array or a list of latents: ``(D,)`` or ``(..., D)``.
            output: What to return: a dictionary of both forms, or one of them alone.
            **options: As for every easy method.

        Returns:
            ``{"pose_body": (..., 21, 3), "pose_body_matrot": (..., 21, 9)}``: axis-
            angle in radians, and rotation matrices row by row; with *output* ``"aa"``
            the first alone, with ``"matrot"`` the second. Arrays with
            ``return_numpy=True``.

        Raises:
            InputTypeError: If *z* is no tensor, array or list.
            InputValueError: If its shape is not one of latents, or *output* unknown.
        """
        rows, lead = latent_rows(z, self.latentD, "easy_decode()")
        found = planned.easy_decode(self, rows, output=output, **options)
        poses: Poses | Tensor = restored(found, lead)
        return poses

    def interpolate(
        self, z_a: TensorLike, z_b: TensorLike, steps: int, kind: Kind = "linear"
    ) -> Tensor:
        """
        Return *steps* latents from *z_a* to *z_b*, both included.

        Differentiable; for poses, encode them first and decode the result.

        Args:
            z_a: ``(D,)`` or ``(..., D)``.
            z_b: The same.
            steps: How many.
            kind: ``"linear"``, or ``"spherical"``: along the arc between both, which
                stays as far from the origin as typical latents are.

        Returns:
            ``(steps, ..., D)``, on the model's device.

        Raises:
            InputValueError: If there are no steps or no such *kind*, or if these are
                no latents.
        """
        start, end = self._latents(z_a), self._latents(z_b)
        return interpolate(start, end, steps, kind)

    # --- what a version is ----------------------------------------------------------

    @abstractmethod
    def encode(self, pose_body: Tensor, /) -> Normal:
        """Map poses to the distribution of their latents, without any conversion."""

    @abstractmethod
    def decode_matrices(self, z: Tensor, /) -> Tensor:
        """Map latents ``(B, D)`` to rotation matrices ``(B, 21, 3, 3)``."""

    def _latents(self, z: TensorLike) -> Tensor:
        rows, lead = latent_rows(z, self.latentD, "interpolate()")
        tensor = rows if isinstance(rows, Tensor) else from_array(rows)
        own = tensor.to(self.inference_device, self.inference_dtype)
        return at_least_float32(own).reshape(*lead, self.latentD)


def _sizes(num_neurons: int | OfficialConfig, latent_dim: int) -> tuple[int, int]:
    if isinstance(num_neurons, int):
        return num_neurons, latent_dim
    params = num_neurons.model_params
    return params.num_neurons, params.latentD
