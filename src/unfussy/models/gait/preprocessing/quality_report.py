"""
What was found of the frames of a walk: a score of each kind, and what is too low.

T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.kept import DroppedFrame

__all__ = ["QualityLimits", "QualityReport"]

_FAULTS: Final = {
    "area": "area: it fills much more or less than the other frames",
    "aspect": "aspect: it is too narrow or too wide for a walker",
    "completeness": "completeness: it is cut off or has holes",
    "consistency": "consistency: it is unlike the frames beside it",
}


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """
    The least scores of a good frame, from 0, which keeps all, to 1.

    Attributes:
        area: Of the area, to that of other frames.
        aspect: Of the width for its height.
        completeness: Of what is neither cut off nor a hole.
        consistency: Of the overlap with the next frame or the one before.
    """

    area: float = 0.6
    aspect: float = 0.6
    completeness: float = 0.6
    consistency: float = 0.4

    def __post_init__(self) -> None:
        """Check the limits."""
        for field in fields(self):
            limit = getattr(self, field.name)
            if not 0 <= limit <= 1:
                raise InputValueError(
                    f"limits are from 0 to 1, got {field.name}={limit!r}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class QualityReport:
    """
    The scores of each frame, 0 to 1, and what they mean.

    Attributes:
        area: ``(T,)``; 1 is the median of the nine frames around, and for the walker's
            height that of the walk.
        aspect: ``(T,)``; 1 is a width between 0.2 and 0.9 of the height.
        completeness: ``(T,)``; 1 is neither cut off at the border nor has holes.
        consistency: ``(T,)``; 1 is the same outline as in a frame beside it.
        limits: The least scores of a good frame.
    """

    area: NDArray[np.float64]
    aspect: NDArray[np.float64]
    completeness: NDArray[np.float64]
    consistency: NDArray[np.float64]
    limits: QualityLimits

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.area)

    @property
    def poor(self) -> tuple[DroppedFrame, ...]:
        """The frames with a score below its limit, and what is wrong with them."""
        found = []
        for i in range(len(self)):
            faults = [self._fault(name, i) for name in _FAULTS if self._is_low(name, i)]
            if faults:
                found.append(DroppedFrame(i, "; ".join(faults)))
        return tuple(found)

    @property
    def kept(self) -> NDArray[np.int64]:
        """The places of all others."""
        poor = [frame.index for frame in self.poor]
        return np.setdiff1d(np.arange(len(self)), poor).astype(np.int64)

    def __str__(self) -> str:
        """Say how good the walk is, and which frames are poor."""
        poor = self.poor
        lines = [f"{len(self) - len(poor)} of {len(self)} frames are good"]
        for name in _FAULTS if len(self) else ():
            scores = getattr(self, name)
            lines.append(
                f"  {name:<13} least {scores.min():.2f}, median {np.median(scores):.2f}"
                f", limit {getattr(self.limits, name):.2f}"
            )
        return "\n".join([*lines, *map(str, poor)])

    def _is_low(self, name: str, i: int) -> bool:
        return bool(getattr(self, name)[i] < getattr(self.limits, name))

    def _fault(self, name: str, i: int) -> str:
        return f"{_FAULTS[name]} ({getattr(self, name)[i]:.2f})"
