"""
Rotations as VPoser writes them: six numbers, a matrix, an axis-angle vector.

Everything here is computed in float32 or finer, whatever the input and whatever
autocast is active: in bfloat16 a rotation matrix is orthonormal to one digit.
Gradients are finite everywhere, at the identity and at half turns too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

__all__ = [
    "at_least_float32",
    "axis_angle_to_matrix",
    "matrix_to_axis_angle",
    "six_to_matrix",
    "without_autocast",
]

# Below this squared length the quotients angle/length and sin(angle)/angle equal
# their limits to float32's last digit, while their gradients would overflow.
_TINY = 1e-12
_LOW = 1e-6


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Suspend an active autocast on *device*; do nothing where there is none."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def at_least_float32(values: Tensor) -> Tensor:
    """Return *values* in float32 if they are half precision, else as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def six_to_matrix(six: Tensor) -> Tensor:
    """
    Build rotation matrices from VPoser's continuous six-number form.

    The six numbers are a ``(3, 2)`` matrix written row by row. Its columns are
    made orthonormal (Gram-Schmidt) and completed by their cross product, after
    Zhou et al., "On the Continuity of Rotation Representations in Neural
    Networks", equation 15.

    Args:
        six: ``(..., 6)``.

    Returns:
        Rotation matrices ``(..., 3, 3)``.
    """
    with without_autocast(six.device):
        columns = at_least_float32(six).reshape(*six.shape[:-1], 3, 2)
        first = F.normalize(columns[..., 0], dim=-1)
        along = (first * columns[..., 1]).sum(-1, keepdim=True)
        second = F.normalize(columns[..., 1] - along * first, dim=-1)
        third = torch.linalg.cross(first, second)
        return torch.stack((first, second, third), dim=-1)


def matrix_to_axis_angle(matrices: Tensor) -> Tensor:
    """
    Turn rotation matrices into axis-angle vectors, by way of quaternions.

    Right to float32's last digits up to and including half turns, where the
    usual ``arccos`` of the trace loses everything.

    Args:
        matrices: ``(..., 3, 3)``.

    Returns:
        ``(..., 3)``: the axis times the angle, radians, in [0, pi].

    Examples:
        >>> matrix_to_axis_angle(torch.diag(torch.tensor([1.0, -1.0, -1.0])))
        tensor([3.1416, 0.0000, 0.0000])
    """
    with without_autocast(matrices.device):
        w, xyz = _to_quaternion(at_least_float32(matrices))
        squared = xyz.square().sum(-1, keepdim=True)
        is_turned = squared > _TINY
        # Replaced before the root, not after: the gradient of an unused branch
        # is multiplied by zero, and infinity times zero is not a number.
        length = torch.where(is_turned, squared, 1.0).sqrt()
        sign = torch.where(w < 0, -1.0, 1.0)
        half_angle = torch.atan2(sign * length, sign * w)
        return xyz * torch.where(is_turned, 2 * half_angle / length, 2 * sign)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """
    Turn axis-angle vectors into rotation matrices (Rodrigues' formula).

    Args:
        axis_angle: ``(..., 3)``, radians.

    Returns:
        Rotation matrices ``(..., 3, 3)``.

    Examples:
        >>> axis_angle_to_matrix(torch.tensor([torch.pi, 0.0, 0.0])).diag()
        tensor([ 1., -1., -1.])
    """
    with without_autocast(axis_angle.device):
        vectors = at_least_float32(axis_angle)
        squared = vectors.square().sum(-1, keepdim=True).unsqueeze(-1)
        is_turned = squared > _TINY
        angle = torch.where(is_turned, squared, 1.0).sqrt()
        sine = torch.where(is_turned, angle.sin() / angle, 1.0)
        versine = torch.where(is_turned, 2 * ((angle / 2).sin() / angle).square(), 0.5)
        cross = _cross_matrix(vectors)
        identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        return identity + sine * cross + versine * (cross @ cross)


def _to_quaternion(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return quaternions as ``w`` (..., 1) and ``xyz`` (..., 3).

    The largest of the four components is found by a root, the others by a
    division through it (Shepperd's method), so nothing cancels. The choice is
    made between polynomials, before the root: the gradient never sees the three
    roots that may be of zero.
    """
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (
        row.unbind(-1) for row in matrices.unbind(-2)
    )
    candidates = (
        torch.stack((1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01), -1),
        torch.stack((m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20), -1),
        torch.stack((m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12), -1),
        torch.stack((m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22), -1),
    )
    is_low = m22 < _LOW
    largest = torch.where(
        is_low, torch.where(m00 > m11, 1, 2), torch.where(m00 < -m11, 3, 0)
    ).unsqueeze(-1)
    # Candidate i is the quaternion times 4 * component i, that component squared.
    row = largest.unsqueeze(-1).expand(*largest.shape, 4)  # (..., 1, 4)
    scaled = torch.stack(candidates, -2).gather(-2, row).squeeze(-2)
    quaternion = scaled * 0.5 / scaled.gather(-1, largest).sqrt()
    return quaternion[..., :1], quaternion[..., 1:]


def _cross_matrix(vectors: Tensor) -> Tensor:
    """Return the matrices ``(..., 3, 3)`` that multiply like a cross product."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
    return rows.reshape(*vectors.shape, 3)
