"""
Walks as people have them, made ready for a model: read, and cut where they are raw.

A walk is frames, or the place where they lie, or a mapping with several kinds of these.
Frames of a size that models take are ready; all others are cut round the walker, and
frames that cannot be are left out. T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from torch import Tensor

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.framing import check_size
from unfussy.models.gait.preprocessing.kept import KeptFrames
from unfussy.models.gait.preprocessing.levels import ValueRange
from unfussy.models.gait.preprocessing.reading import (
    ARRAYS,
    iter_frames,
    pictures_in,
    read_arrays,
    read_frames,
)
from unfussy.models.gait.preprocessing.sequences import (
    KeptSequence,
    normalize_sequence,
    select_frames,
)
from unfussy.models.gait.sequences import MARGINS, count_frames

__all__ = ["Cut", "Preparation", "Walk", "is_ready", "walk_cost"]

Walk: TypeAlias = Any
"""Frames, a path to them, or a mapping with one of these for each kind of frames."""
Cut: TypeAlias = Literal["auto", "always", "never"]

_SOURCES: Final = {"skeleton_maps": ("skeleton_maps", "keypoints")}
_UNKNOWN: Final = 64.0  # frames of a video that nobody has counted


@dataclass(frozen=True, slots=True)
class Preparation:
    """
    How walks are made ready.

    Attributes:
        cut: Which frames are cut round the walker: ``"auto"`` those that are not of a
            size that models take (64 x 64, 64 x 44, 128 x 128 and 128 x 88),
            ``"always"`` all, ``"never"`` none.
        size: The side of the squares.
        value_range: The numbers of background and walker in raw silhouettes, where
            they do not tell.

    Raises:
        InputValueError: If there is no such way or size.
    """

    cut: Cut = "auto"
    size: int = 64
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        if self.cut not in get_args(Cut):
            raise InputValueError(
                f"cut is 'auto', 'always' or 'never', got {self.cut!r}"
            )
        check_size(self.size)

    def takes(self, frames: Any, /) -> bool:
        """Tell whether *frames*, or one, are taken as they are."""
        return self.cut == "never" or (self.cut == "auto" and is_ready(frames))

    def prepare(self, walk: Walk, kinds: tuple[str, ...], /) -> Any:
        """
        Return a walk as `easy_embed` takes it.

        Args:
            walk: Frames, a path or a mapping.
            kinds: What the model wants of it.

        Raises:
            FileNotFoundError: If there is nothing at a path.
            InputTypeError: If frames are no numbers.
            InputValueError: If no frame is left, or the kinds differ in length.
        """
        opened = _opened(walk, kinds)
        if isinstance(opened, Mapping):
            read = {name: _read(opened[name], name) for name in _named(opened, kinds)}
            return self._cut(read)
        kind = kinds[0]
        frames = _read(opened, kind)
        if kinds != ("silhouettes",):
            return frames  # the model says what it wants instead
        return self._cut({kind: frames})[kind]

    def _cut(self, parts: dict[str, Any]) -> dict[str, Any]:
        raw = {
            name: part
            for name, part in parts.items()
            if name == "keypoints" or (name != "skeleton_maps" and not self.takes(part))
        }
        if not raw:
            return parts
        kept = normalize_sequence(raw, self.size, value_range=self._range_of(raw))
        if not len(kept):
            raise InputValueError(_nothing_left(kept))
        rest = {name: part for name, part in parts.items() if name not in raw}
        total = len(kept) + len(kept.dropped)
        return kept.parts | select_frames(rest, kept.kept, total)

    def _range_of(self, raw: Mapping[str, Any]) -> ValueRange | None:
        return self.value_range if "silhouettes" in raw else None


def is_ready(frames: Any, /) -> bool:
    """Tell whether frames, or one, have a size that models take."""
    shape = tuple(getattr(frames, "shape", ()))
    return shape[-2:] in MARGINS


def walk_cost(walk: Walk, /) -> float:
    """Return how many frames a walk has, as far as that is seen without reading it."""
    if isinstance(walk, Mapping):
        return max(map(walk_cost, walk.values()), default=1.0)
    if isinstance(walk, (str, PathLike)):
        return _cost_of_path(Path(walk))
    if isinstance(walk, (list, tuple)):
        return float(max(len(walk), 1))
    if isinstance(walk, KeptSequence):
        return float(max(len(walk), 1))
    return count_frames(walk)


def _cost_of_path(path: Path) -> float:
    if path.is_dir():
        return float(max(len(pictures_in(path)), 1))
    if path.suffix.lower() != ".npy" or not path.is_file():
        return _UNKNOWN
    try:
        return count_frames(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError):  # told where it is read
        return _UNKNOWN


def _opened(walk: Walk, kinds: tuple[str, ...]) -> Any:
    """Return a walk whose parts can be told: a mapping, frames, or their path."""
    if isinstance(walk, KeptSequence):
        return walk.parts
    if isinstance(walk, (str, PathLike)) and Path(walk).suffix.lower() in ARRAYS:
        arrays = read_arrays(Path(walk))
        if set(arrays) & {name for kind in kinds for name in _sources(kind)}:
            return arrays
    return walk


def _named(walk: Mapping[str, Any], kinds: tuple[str, ...]) -> list[str]:
    """Return under which names the kinds that a model wants are there."""
    found = (_first(walk, _sources(kind)) for kind in kinds)
    return [name for name in found if name is not None]


def _sources(kind: str) -> tuple[str, ...]:
    return _SOURCES.get(kind, (kind,))


def _first(walk: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if walk.get(name) is not None), None)


def _read(part: Any, name: str) -> Any:
    if isinstance(part, (str, PathLike)):
        return _read_path(Path(part), name)
    if isinstance(part, KeptFrames):
        return part.frames
    if isinstance(part, (list, tuple)):
        return _stacked(part)
    return part


def _read_path(path: Path, name: str) -> Any:
    if path.suffix.lower() in ARRAYS:
        arrays = read_arrays(path)
        return arrays[name] if name in arrays else read_frames(path)
    kind: Any = name if name == "parsing" else "silhouettes"
    return _stacked(iter_frames(path, kind=kind))


def _stacked(frames: Any) -> Any:
    """Return frames as one array, if they have one size."""
    arrays = [np.asarray(x.cpu() if isinstance(x, Tensor) else x) for x in frames]
    return np.stack(arrays) if len({x.shape for x in arrays}) == 1 else arrays


def _nothing_left(kept: KeptSequence) -> str:
    if not kept.dropped:
        return "a walk has no frames; it needs one"
    n = len(kept.dropped)
    return f"none of {n} frames can be used: the first is {kept.dropped[0]}"
