"""
The layers of VPoser, numbered as in the official weights.

B batch, N neurons, D size of a latent. After Pavlakos et al., "Expressive Body
Capture: 3D Hands, Face, and Body from a Single Image", 2019; settings of version 2.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor, nn
from torch.distributions import Normal

from unfussy.models.vposer.ops import (
    at_least_float32,
    six_to_matrix,
    without_autocast,
)
from unfussy.models.vposer.shapes import JOINTS, POSE

__all__ = ["NormalHead", "RotationHead", "make_decoder", "make_encoder", "to_normal"]


def make_encoder(num_neurons: int, latent_dim: int) -> nn.Sequential:
    """Return the network from poses ``(B, 63)`` to a `Normal` over ``(B, D)``."""
    return nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(POSE),
        nn.Linear(POSE, num_neurons),
        nn.LeakyReLU(),
        nn.BatchNorm1d(num_neurons),
        nn.Dropout(0.1),
        # Nothing between the last linear layers: so it is in the official network.
        nn.Linear(num_neurons, num_neurons),
        nn.Linear(num_neurons, num_neurons),
        NormalHead(num_neurons, latent_dim),
    )


def make_decoder(num_neurons: int, latent_dim: int) -> nn.Sequential:
    """Return the network from latents ``(B, D)`` to matrices ``(B, 21, 3, 3)``."""
    return nn.Sequential(
        nn.Linear(latent_dim, num_neurons),
        nn.LeakyReLU(),
        nn.Dropout(0.1),
        nn.Linear(num_neurons, num_neurons),
        nn.LeakyReLU(),
        nn.Linear(num_neurons, JOINTS * 6),
        RotationHead(),
    )


class NormalHead(nn.Module):
    """Two linear layers that give the mean and the deviation of a latent."""

    def __init__(self, num_neurons: int, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Linear(num_neurons, latent_dim)
        self.logvar = nn.Linear(num_neurons, latent_dim)

    def forward(self, features: Tensor) -> Normal:
        """Map features ``(B, N)`` to a `Normal` over latents ``(B, D)``."""
        return to_normal(features, self.mu, self.logvar)


class RotationHead(nn.Module):
    """Six numbers a joint, ``(B, 126)``, to rotation matrices."""

    def forward(self, values: Tensor) -> Tensor:
        """Return matrices ``(B, 21, 3, 3)``."""
        return six_to_matrix(values.reshape(*values.shape[:-1], JOINTS, 6))


def to_normal(features: Tensor, mean: nn.Linear, deviation: nn.Linear) -> Normal:
    """
    Return the `Normal` that two linear heads make of *features*.

    The deviation is a softplus of its head, in spite of the official name, logvar.
    The heads run outside autocast: in half precision a softplus underflows to zero.
    The values are not validated, since that waits for the device at every call; a
    pose that holds NaN has NaN for its latent, and no other pose has.
    """
    with without_autocast(features.device):
        features = features.to(mean.weight.dtype)
        loc = at_least_float32(mean(features))
        scale = F.softplus(at_least_float32(deviation(features)))
    return Normal(loc, scale, validate_args=False)
