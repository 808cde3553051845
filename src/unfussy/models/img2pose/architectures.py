"""How many layers of which width the network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from unfussy.errors import InputValueError

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """
    How many layers of which width the network has.

    Attributes:
        units: How many residual units each of the four stages has.
        bottleneck: Whether units are narrow inside, and four times as wide outside.
        stem: The channels of the first stage; each later stage has twice as many.
        channels: Those of every map of the pyramid.
        hidden: The width of the layers that judge a proposal.
    """

    units: tuple[int, int, int, int]
    bottleneck: bool = False
    stem: int = 64
    channels: int = 256
    hidden: int = 1024

    @property
    def depth(self) -> int:
        """The layers of its residual network, by which it is called."""
        return 2 + sum(self.units) * (3 if self.bottleneck else 2)

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of the four stages' maps."""
        expansion = 4 if self.bottleneck else 1
        return tuple(self.stem * expansion << stage for stage in range(4))


ARCHITECTURES: Final = {
    18: Architecture((2, 2, 2, 2)),
    50: Architecture((3, 4, 6, 3), bottleneck=True),
    101: Architecture((3, 4, 23, 3), bottleneck=True),
}
"""The official architectures, by their depth. The released weights are of depth 18."""


def architecture_of(depth: int | Architecture, /) -> Architecture:
    """
    Return the architecture of *depth*.

    Raises:
        InputValueError: If there is none.
    """
    if isinstance(depth, Architecture):
        return depth
    if depth not in ARCHITECTURES:
        known = ", ".join(map(str, ARCHITECTURES))
        raise InputValueError(f"depth is one of {known}, got {depth!r}")
    return ARCHITECTURES[depth]
