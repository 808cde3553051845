"""
Several kinds of frames of one walk, of which the same frames are kept.

A walk is a mapping with ``silhouettes``, ``parsing`` and ``skeleton_maps`` or
``keypoints``, frame for frame. T frames, n that were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing.kept import DroppedFrame, KeptFrames
from unfussy.models.gait.preprocessing.levels import ValueRange
from unfussy.models.gait.preprocessing.silhouettes import (
    normalize_parsing,
    normalize_silhouettes,
)
from unfussy.models.gait.preprocessing.skeletons import skeleton_maps

__all__ = ["KeptSequence", "normalize_sequence", "select_frames"]

_MAKERS: Final[dict[str, tuple[str, Callable[[Any, int], KeptFrames]]]] = {
    "parsing": ("parsing", normalize_parsing),
    "keypoints": ("skeleton_maps", skeleton_maps),
}


@dataclass(frozen=True, slots=True, eq=False)
class KeptSequence:
    """
    The frames of a walk that can be used in all its parts.

    Attributes:
        parts: What was made of them, each ``(n, ...)``, as the models take it.
        kept: ``(n,)``, their places in what was passed.
        dropped: All others, and the part they failed in.
    """

    parts: dict[str, NDArray[Any]]
    kept: NDArray[np.int64]
    dropped: tuple[DroppedFrame, ...]

    def __len__(self) -> int:
        """Return how many frames were kept."""
        return len(self.kept)

    def __str__(self) -> str:
        """Say how many were kept, and why the others were not."""
        n = len(self) + len(self.dropped)
        return "\n".join([f"{len(self)} of {n} frames kept", *map(str, self.dropped)])


def normalize_sequence(
    sequence: Mapping[str, Any],
    /,
    size: int = 64,
    *,
    value_range: ValueRange | None = None,
) -> KeptSequence:
    """
    Cut squares out of all parts of a walk, and keep the frames that all of them have.

    Args:
        sequence: Any of ``silhouettes``, ``parsing`` and ``keypoints``, each as
            `normalize_silhouettes`, `normalize_parsing` and `skeleton_maps` take it.
        size: The side of the squares.
        value_range: Of the silhouettes, as in `normalize_silhouettes`.

    Returns:
        ``silhouettes``, ``parsing`` and ``skeleton_maps``, with which frames were
        dropped and why.

    Raises:
        InputTypeError: If a part is of another name or is no numbers.
        InputValueError: If the parts differ in length or are shaped otherwise.

    Examples:
        >>> masks = np.zeros((3, 480, 640), dtype=bool)
        >>> masks[1:, 100:400, 250:350] = True
        >>> walk = normalize_sequence({"silhouettes": masks, "parsing": masks * 1})
        >>> walk.kept.tolist(), sorted(walk.parts)
        ([1, 2], ['parsing', 'silhouettes'])
    """
    made: dict[str, KeptFrames] = {}
    for name, values in sequence.items():
        if name == "silhouettes":
            made[name] = normalize_silhouettes(values, size, value_range=value_range)
        elif name in _MAKERS:
            key, make = _MAKERS[name]
            made[key] = make(values, size)
        else:
            raise InputTypeError(_unknown(name))
    return _in_common(made)


def select_frames(
    sequence: Mapping[str, Any], kept: NDArray[np.int64], /, n_frames: int
) -> dict[str, NDArray[Any]]:
    """
    Return the frames *kept* of all parts of *sequence*.

    Raises:
        InputValueError: If a part has not *n_frames* frames.
    """
    parts = {name: np.asarray(values) for name, values in sequence.items()}
    lengths = {name: len(part) for name, part in parts.items()}
    if set(lengths.values()) - {n_frames}:
        raise InputValueError(_unequal(lengths))
    return {name: part[kept] for name, part in parts.items()}


def _in_common(made: dict[str, KeptFrames]) -> KeptSequence:
    lengths = {name: len(part) + len(part.dropped) for name, part in made.items()}
    if len(set(lengths.values())) != 1:
        raise InputValueError(_unequal(lengths))
    reasons: dict[int, str] = {}
    for name, part in made.items():
        for frame in part.dropped:
            reasons.setdefault(frame.index, f"{name}: {frame.reason}")
    kept = np.setdiff1d(np.arange(max(lengths.values())), list(reasons))
    parts = {name: part.frames[np.isin(part.kept, kept)] for name, part in made.items()}
    dropped = tuple(DroppedFrame(i, reasons[i]) for i in sorted(reasons))
    return KeptSequence(parts, kept.astype(np.int64), dropped)


def _unequal(lengths: Mapping[str, int]) -> str:
    said = ", ".join(f"{name} {n}" for name, n in lengths.items())
    return f"all parts of a walk have as many frames, got {said or 'no part'}"


def _unknown(name: Any) -> str:
    hint = "; it is ready for the model" if name == "skeleton_maps" else ""
    return f"a raw walk has silhouettes, parsing and keypoints, got {name!r}{hint}"
