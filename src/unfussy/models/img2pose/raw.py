"""
What the network found in one picture, before it is turned into faces.

K proposals. Boxes are ``(left, top, right, bottom)`` in pixels of the resized picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

__all__ = ["LOWEST_SCORE", "SHORTEST", "RawDetections"]

LOWEST_SCORE: Final = 0.05
"""The score that a face exceeds, whatever threshold is asked for."""
SHORTEST: Final = 1e-2
"""The least width and height of a proposal, in pixels."""


@dataclass(frozen=True)
class RawDetections:
    """
    The proposals of one picture that may be faces.

    Attributes:
        proposals: ``(K, 4)``, float32, pixels of the resized picture.
        scores: ``(K,)``, float32, the probability that each is a face.
        dofs: ``(K, 6)``, float32, the poses as the network tells them: relative to the
            proposal, and in units of the training set's spread.
    """

    proposals: Tensor
    scores: Tensor
    dofs: Tensor
