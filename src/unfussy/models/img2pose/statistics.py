"""The statistics of poses, in NumPy files beside the weights they belong to."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import CheckpointError

__all__ = ["statistics_beside", "write_statistics"]

_NAMES: Final = ("pose_mean", "pose_stddev")
_NUMBERS: Final = 6


def statistics_beside(
    checkpoint: str | PathLike[str], /
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """
    Return mean and standard deviation, each ``(6,)``, if they are beside *checkpoint*.

    Args:
        checkpoint: A file or the folder that it is in. The release calls the others
            ``WIDER_train_pose_mean_v1.npy`` and ``WIDER_train_pose_stddev_v1.npy``; any
            names with ``pose_mean`` and ``pose_stddev`` in them will do.

    Raises:
        CheckpointError: If one is there without the other, or there are several, or a
            file holds no six numbers.
    """
    place = Path(checkpoint)
    folder = place if place.is_dir() else place.parent
    files = [sorted(folder.glob(f"*{name}*.npy")) for name in _NAMES]
    if not any(files):
        return None
    if any(len(each) != 1 for each in files):
        found = ", ".join(file.name for each in files for file in each)
        raise CheckpointError(
            f"{folder} does not hold one mean and one standard deviation of poses but "
            f"{found}: pass pose_mean and pose_stddev"
        )
    mean, stddev = (_read(each[0]) for each in files)
    return mean, stddev


def write_statistics(
    checkpoint: str | PathLike[str], /, pose_mean: Any, pose_stddev: Any
) -> None:
    """Write both beside *checkpoint*, a file or a folder, to be found there again."""
    place = Path(checkpoint)
    folder = place if place.is_dir() else place.parent
    for name, numbers in zip(_NAMES, (pose_mean, pose_stddev)):
        np.save(folder / f"{name}.npy", np.asarray(numbers, np.float32))


def _read(file: Path) -> NDArray[np.float32]:
    try:
        numbers = np.asarray(np.load(file, allow_pickle=False), np.float32)
    except Exception as error:
        raise CheckpointError(f"{file} holds no array of numbers") from error
    if numbers.shape != (_NUMBERS,) or not np.isfinite(numbers).all():
        raise CheckpointError(
            f"{file} holds statistics of poses, six finite numbers, but is shaped "
            f"{numbers.shape}"
        )
    return numbers
