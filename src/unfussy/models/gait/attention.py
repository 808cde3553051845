"""
How XGait lets silhouettes and parsing weigh each other.

F frames, C channels of a feature map, H and W its height and width (16, 11).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["LABELS", "GlobalGate", "PartGate", "labels_on"]

LABELS: Final = {
    "up": (1,),
    "middle": (2, 3, 4, 5, 6, 11),
    "down": (7, 8, 9, 10, 11),
}
"""Which labels of parsing are of which part of the body."""

_QUARTERS: Final = {"up": (0, 1), "middle": (1, 3), "down": (3, 4)}


class GlobalGate(nn.Module):
    """
    Both maps of a frame weighed by what they hold on average, channel by channel.

    Args:
        channels: Those of a map, C.
        reduction: By how much the hidden layer is narrower.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = _gate(channels, reduction)

    def forward(self, silhouettes: Tensor, parsing: Tensor) -> Tensor:
        """Fuse two maps ``(F, C, H, W)`` into one."""
        means = silhouettes.mean((2, 3)), parsing.mean((2, 3))
        return _weighed(self.fc(torch.cat(means, 1)), silhouettes, parsing)


class PartGate(nn.Module):
    """
    Both maps of a frame weighed by what one part of the body holds.

    Args:
        part: ``"up"``, ``"middle"`` or ``"down"``.
        channels: Those of a map, C.
        reduction: By how much the hidden layer is narrower.
    """

    def __init__(self, part: str, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.part = part
        self.gammas = nn.Parameter(torch.full((1,), 0.75))
        self.fc = _gate(channels, reduction)

    def forward(self, silhouettes: Tensor, parsing: Tensor, labels: Tensor) -> Tensor:
        """
        Fuse the rows of two maps that belong to the part.

        Args:
            silhouettes: ``(F, C, H, W)``.
            parsing: The same.
            labels: Those of parsing, ``(F, 1, H, W)``.

        Returns:
            ``(F, C, H / 4, W)``; of the middle ``(F, C, H / 2, W)``.
        """
        focused = parsing * self._focus(labels)
        # The top quarter for every part: so the official weights were trained.
        top = silhouettes[:, :, : silhouettes.shape[2] // 4]
        gate = self.fc(torch.cat((_described(top), _described(focused)), 1))
        return _weighed(gate, self._rows(silhouettes), self._rows(parsing))

    def _focus(self, labels: Tensor) -> Tensor:
        """Return gamma where the part is, and 1 - gamma elsewhere."""
        inside = torch.zeros_like(labels, dtype=torch.bool)
        for label in LABELS[self.part]:
            inside = inside | (labels == label)
        return torch.where(inside, self.gammas, 1 - self.gammas)

    def _rows(self, maps: Tensor) -> Tensor:
        quarter = maps.shape[2] // 4
        first, end = _QUARTERS[self.part]
        return maps[:, :, first * quarter : end * quarter]


def labels_on(parsing: Tensor, height: int, /) -> Tensor:
    """Sample labels ``(F, 1, H, W)`` where a map that is *height* high has pixels."""
    step = parsing.shape[2] // height
    return parsing[:, :, ::step, ::step]


def _gate(channels: int, reduction: int) -> nn.Sequential:
    hidden = channels // reduction
    return nn.Sequential(
        nn.Linear(2 * channels, hidden, bias=False),
        nn.ReLU(),
        nn.Linear(hidden, 2 * channels, bias=False),
        nn.Sigmoid(),
    )


def _described(maps: Tensor) -> Tensor:
    return maps.mean((2, 3)) + maps.amax((2, 3))


def _weighed(gate: Tensor, silhouettes: Tensor, parsing: Tensor) -> Tensor:
    of_silhouettes, of_parsing = gate[:, :, None, None].chunk(2, 1)
    return silhouettes * of_silhouettes + parsing * of_parsing
