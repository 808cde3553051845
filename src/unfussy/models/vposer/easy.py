"""
The planned calls behind VPoser's easy methods.

They take any shape too, but cut batches along whatever the first dimension is. The
methods make rows of their input first, so that no pose is ever cut in two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, Unpack

import torch
from torch import Tensor
from torch.distributions import Normal

from unfussy import EasyOptions, TensorLike, autocast_policy, easy, tree_map
from unfussy._arrays import from_array
from unfussy.errors import InputValueError
from unfussy.models.vposer.ops import matrix_to_axis_angle
from unfussy.models.vposer.sampling import Seed, draw_normal
from unfussy.models.vposer.shapes import Rows, latent_rows, pose_rows

__all__ = [
    "Output",
    "Poses",
    "easy_decode",
    "easy_encode",
    "make_noise",
    "restored",
    "to_poses",
]

F = TypeVar("F", bound=Callable[..., Any])

Output: TypeAlias = Literal["both", "aa", "matrot"]
Poses: TypeAlias = dict[str, Tensor]


class _Coder(Protocol):
    latentD: int  # noqa: N815 - the official name

    @property
    def inference_dtype(self) -> torch.dtype: ...

    def encode(self, pose_body: Tensor, /) -> Normal: ...

    def decode_matrices(self, z: Tensor, /) -> Tensor: ...


# Not autocast by default: the network is so small that it only costs accuracy.
@easy(mode="inference")
@autocast_policy(precision="fp32")
def easy_encode(
    model: _Coder,
    x: TensorLike,
    *,
    return_stats: bool = False,
    sample: bool = False,
    seed: Seed = None,
    noise: TensorLike | None = None,
    **_: Unpack[EasyOptions],
) -> Any:
    """Encode poses; *noise* is what to sample with, ``(B, D)``."""
    rows, lead = pose_rows(x, "easy_encode()")
    if noise is None:
        noise = make_noise(len(rows), model.latentD, seed, sample=sample)
    q_z = model.encode(_cast(rows, model))
    # A copy: who fits z in place must not move the mean along with it.
    z = q_z.loc.clone()
    if noise is not None:
        z += q_z.scale * _like(noise, z)
    return restored((z, (q_z.loc, q_z.scale)) if return_stats else z, lead)


@easy(mode="inference")
@autocast_policy(precision="fp32")
def easy_decode(
    model: _Coder,
    z: TensorLike,
    *,
    output: Output = "both",
    **_: Unpack[EasyOptions],
) -> Any:
    """Decode latents."""
    rows, lead = latent_rows(z, model.latentD, "easy_decode()")
    if output not in ("both", "aa", "matrot"):
        raise InputValueError(f"output is 'both', 'aa' or 'matrot', got {output!r}")
    matrices = model.decode_matrices(_cast(rows, model))
    poses = to_poses(matrices, output)
    return restored(poses if output == "both" else poses.popitem()[1], lead)


def to_poses(matrices: Tensor, output: Output = "both", /) -> Poses:
    """Return matrices ``(..., 21, 3, 3)`` in the official forms of a pose."""
    poses = {}
    if output != "matrot":
        poses["pose_body"] = matrix_to_axis_angle(matrices)
    if output != "aa":
        poses["pose_body_matrot"] = matrices.flatten(-2)
    return poses


def make_noise(count: int, size: int, seed: Seed, *, sample: bool) -> Rows | None:
    """
    Return normal numbers for a *sample*, else None.

    Raises:
        InputValueError: If there is a *seed* and no *sample*.
    """
    if sample:
        return draw_normal(count, size, seed)
    if seed is not None:
        raise InputValueError("easy_encode() uses seed= only with sample=True")
    return None


def restored(tree: Any, lead: tuple[int, ...]) -> Any:
    """Return *tree* with the first dimension of every leaf replaced by *lead*."""
    return tree_map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), tree)


def _cast(rows: Rows, model: _Coder) -> Tensor:
    tensor = rows if isinstance(rows, Tensor) else from_array(rows)
    # Doubles that are still doubles here were asked for.
    is_double = tensor.dtype == torch.float64
    return tensor if is_double else tensor.to(model.inference_dtype)


def _like(noise: Rows, mean: Tensor) -> Tensor:
    return (noise if isinstance(noise, Tensor) else from_array(noise)).to(mean)
