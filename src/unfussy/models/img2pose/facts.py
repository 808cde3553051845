"""
What a detector knows beside its weights: the spread of poses, and the reference head.

The published numbers are those of py-feat 2.1.5 (MIT licence,
https://github.com/cosanlab/py-feat), to four decimals.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.img2pose.points import default_points, five_of, read_points

__all__ = ["POSE_MEAN", "POSE_STDDEV", "Facts"]

POSE_MEAN: Final = (-0.0238, 0.0275, -0.0144, 0.0664, 0.2380, 3.4813)
"""The mean pose in the training set of the released weights."""
POSE_STDDEV: Final = (0.2353, 0.5395, 0.1767, 0.1320, 0.1358, 0.3663)
"""The standard deviation of poses there."""

_NUMBERS: Final = 6


def _mean() -> NDArray[np.float32]:
    return np.array(POSE_MEAN, np.float32)


def _stddev() -> NDArray[np.float32]:
    return np.array(POSE_STDDEV, np.float32)


@dataclass(frozen=True, eq=False)
class Facts:
    """
    What a detector knows beside its weights.

    Attributes:
        pose_mean: ``(6,)``, float32.
        pose_stddev: ``(6,)``, float32.
        reference_points: ``(68, 3)``, float32.
        own_five: ``(5, 3)``, float32, those that faces are aligned by, if they are
            not made of *reference_points*.
    """

    pose_mean: NDArray[np.float32] = field(default_factory=_mean)
    pose_stddev: NDArray[np.float32] = field(default_factory=_stddev)
    reference_points: NDArray[np.float32] = field(default_factory=default_points)
    own_five: NDArray[np.float32] | None = None

    @property
    def alignment_points(self) -> NDArray[np.float32]:
        """Return the points that faces are aligned by, ``(5, 3)``."""
        return (
            five_of(self.reference_points) if self.own_five is None else self.own_five
        )

    def replaced(
        self,
        *,
        pose_mean: Any = None,
        pose_stddev: Any = None,
        reference_points: Any = None,
        alignment_points: Any = None,
    ) -> Facts:
        """
        Return these with what is given in place of what is known.

        Args:
            pose_mean: Six numbers.
            pose_stddev: Six numbers above 0.
            reference_points: ``(68, 3)``, or a ``.npy`` file of them.
            alignment_points: ``(5, 3)``, or a ``.npy`` file of them.

        Raises:
            FileNotFoundError: If there is no file at a path.
            InputTypeError: If something is no numbers.
            InputValueError: If there are more or fewer numbers, or a deviation is none.
        """
        given: dict[str, Any] = {}
        if pose_mean is not None:
            given["pose_mean"] = _six(pose_mean, "pose_mean")
        if pose_stddev is not None:
            given["pose_stddev"] = _above_zero(_six(pose_stddev, "pose_stddev"))
        if reference_points is not None:
            given["reference_points"] = read_points(reference_points)
        if alignment_points is not None:
            given["own_five"] = read_points(alignment_points, 5)
        return replace(self, **given)


def _above_zero(stddev: NDArray[np.float32]) -> NDArray[np.float32]:
    if not (stddev > 0).all():
        raise InputValueError(f"pose_stddev is six numbers above 0, got {stddev}")
    return stddev


def _six(numbers: Any, name: str) -> NDArray[np.float32]:
    if hasattr(numbers, "detach"):
        numbers = numbers.detach().cpu()
    try:
        array = np.array(numbers, np.float32)
    except (TypeError, ValueError) as error:
        kind = type(numbers).__name__
        raise InputTypeError(f"{name} is six numbers, got {kind}") from error
    if array.shape != (_NUMBERS,) or not np.isfinite(array).all():
        raise InputValueError(
            f"{name} is six finite numbers, got {array.tolist()!r:.80}"
        )
    return array
