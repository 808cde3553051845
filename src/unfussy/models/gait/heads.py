"""
What makes part features of a feature map, and embeddings of part features.

A part is a horizontal strip of the map. n sequences, C channels, P parts, D entries
of a part's embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor, nn

from unfussy.errors import InputValueError

__all__ = ["PartLinear", "PartNecks", "bins_of", "pool_strips"]


def bins_of(parts: int, /) -> tuple[int, ...]:
    """
    Return into how many strips a map is cut, each time it is, for *parts* in all.

    Raises:
        InputValueError: If there is no such number of parts.

    Examples:
        >>> bins_of(16), bins_of(31)
        ((16,), (16, 8, 4, 2, 1))
    """
    if parts > 0 and parts & (parts - 1) == 0:
        return (parts,)
    if parts > 0 and parts & (parts + 1) == 0:
        return tuple(2**i for i in reversed(range(parts.bit_length())))
    raise InputValueError(
        f"parts are a power of two, or one less for strips of several sizes; "
        f"got {parts}"
    )


def pool_strips(maps: Tensor, bins: tuple[int, ...], /) -> Tensor:
    """
    Return mean plus maximum of each horizontal strip.

    Args:
        maps: ``(n, C, H, W)``.
        bins: Into how many strips to cut, each time.

    Returns:
        ``(n, C, P)``.

    Raises:
        InputValueError: If the map has no such strips.
    """
    if maps.shape[2] % max(bins):
        raise InputValueError(
            f"a feature map of {maps.shape[2]} rows has no {max(bins)} equal strips: "
            f"frames are {4 * max(bins)} pixels high, or a multiple of that"
        )
    return torch.cat([_pooled(maps, count) for count in bins], -1)


def _pooled(maps: Tensor, count: int) -> Tensor:
    strips = maps.reshape(*maps.shape[:2], count, -1)  # (n, C, count, pixels)
    pooled: Tensor = strips.mean(-1) + strips.amax(-1)
    return pooled


class PartLinear(nn.Module):
    """
    A linear map of each part of its own.

    Args:
        parts: How many, P.
        n_in: The channels of a part feature.
        n_out: The entries of a part's embedding.
    """

    def __init__(self, parts: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.fc_bin = nn.Parameter(torch.empty(parts, n_in, n_out))
        nn.init.xavier_uniform_(self.fc_bin)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(n, C, P)`` to ``(n, D, P)``."""
        return _by_part(features, self.fc_bin)


class PartNecks(nn.Module):
    """
    What training adds to embeddings: a norm, and a score of each known identity.

    Args:
        parts: How many, P.
        size: The entries of a part's embedding, D.
        class_num: How many identities the network was trained on.
    """

    def __init__(self, parts: int, size: int, class_num: int) -> None:
        super().__init__()
        self.fc_bin = nn.Parameter(torch.empty(parts, size, class_num))
        self.bn1d = nn.BatchNorm1d(size * parts)
        nn.init.xavier_uniform_(self.fc_bin)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return normalised embeddings and scores.

        Args:
            embeddings: ``(n, D, P)``.

        Returns:
            ``(n, D, P)``, of length one for each part, and ``(n, class_num, P)``.
        """
        normed = self.bn1d(embeddings.flatten(1)).reshape(embeddings.shape)
        unit = F.normalize(normed, dim=1)
        return unit, _by_part(unit, F.normalize(self.fc_bin, dim=1))


def _by_part(features: Tensor, weights: Tensor) -> Tensor:
    return (features.permute(2, 0, 1) @ weights).permute(1, 2, 0)
