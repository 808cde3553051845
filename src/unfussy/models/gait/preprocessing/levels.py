"""
What the numbers of masks mean: booleans, 0 and 1, 0 to 255, or a range that is said.

T frames, H height, W width. What neither the dtype nor the largest number tells has to
be said: a guess would give pictures that are 255 times too dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unfussy._arrays import to_array
from unfussy.errors import InputTypeError, InputValueError

__all__ = ["ValueRange", "array_of", "level_frames", "range_of", "to_levels"]

ValueRange: TypeAlias = tuple[float, float]
"""The numbers of background and of walker."""

_BITS: Final = (0.0, 1.0)
_BYTES: Final = (0.0, 255.0)
_SURE: Final = 128  # no mask is darker than that, and no label so large


def level_frames(
    frames: Any, value_range: ValueRange | None = None, /
) -> Iterator[NDArray[np.uint8]]:
    """
    Yield each of *frames* as 8-bit levels ``(H, W)``, 0 background, 255 walker.

    Args:
        frames: ``(T, H, W)``, or frames ``(H, W)`` of any sizes.
        value_range: The numbers of background and walker, where they are not known.

    Raises:
        InputTypeError: If they are no numbers.
        InputValueError: If they are no frames, or their range is not known.
    """
    if hasattr(frames, "__array__"):
        frames = list(_stacked(frames))
    if not isinstance(frames, (list, tuple)):
        yield from _streamed(frames, value_range)
        return
    planes = [_plane(frame, i) for i, frame in enumerate(frames)]
    known = _common_range(planes, value_range) or _BYTES
    for plane in planes:
        yield to_levels(plane, known)


def array_of(values: Any, what: str, /) -> NDArray[Any]:
    """
    Return *values* as a plain array of numbers.

    Raises:
        InputTypeError: If they are none.
    """
    array = to_array(values.detach()) if isinstance(values, Tensor) else values
    if isinstance(array, np.ma.MaskedArray):
        raise InputTypeError(f"{what} is a masked array: write x.filled(0)")
    array = np.asarray(array)
    if array.dtype.kind not in "buif":
        raise InputTypeError(f"{what} has to be numbers or booleans, got {array.dtype}")
    return array


def range_of(values: NDArray[Any], said: ValueRange | None, /) -> ValueRange | None:
    """
    Return the numbers of background and walker; None if all is background.

    Raises:
        InputValueError: If they are not known, or go against what was *said*.
    """
    return _common_range([values], said)


def _common_range(planes: list[NDArray[Any]], said: Any) -> ValueRange | None:
    filled = [plane for plane in planes if plane.size]
    least = min((plane.min() for plane in filled), default=0)
    most = max((plane.max() for plane in filled), default=0)
    if said is not None:
        return _checked(least, most, said)
    kinds = {plane.dtype.kind for plane in filled}
    if kinds == {"b"}:
        return _BITS
    if "f" in kinds:
        raise InputValueError(
            "floats do not tell what background and walker are: write "
            "value_range=(0, 1) or (0, 255)"
        )
    return _guessed(int(least), int(most))


def _guessed(least: int, most: int) -> ValueRange | None:
    if least < 0 or 1 < most < _SURE or most > _BYTES[1]:
        raise InputValueError(
            f"masks are booleans, 0 and 1, or 0 to 255, got {least} to {most}: labels "
            "are for normalize_parsing(); otherwise write value_range=(0, 255)"
        )
    return None if most == 0 else _BITS if most == 1 else _BYTES


def to_levels(values: NDArray[Any], value_range: ValueRange, /) -> NDArray[np.uint8]:
    """Return *values* as 0 to 255, rounded."""
    if value_range == _BYTES and values.dtype.kind in "bui":
        return values.astype(np.uint8, copy=False)
    if value_range == _BITS and values.dtype.kind in "bui":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = value_range
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)


def _checked(least: Any, most: Any, said: Any) -> ValueRange:
    match said:
        case (float() | int() as low, float() | int() as high) if low < high:
            pass
        case _:
            raise InputValueError(
                "value_range is the numbers of background and walker, such as (0, 1), "
                f"got {said!r}"
            )
    if not low <= least <= most <= high:
        raise InputValueError(
            f"frames hold {float(least):g} to {float(most):g}, which does not go with "
            f"value_range={said!r}"
        )
    return float(low), float(high)


def _stacked(frames: Any) -> NDArray[Any]:
    array = array_of(frames, "a sequence")
    if array.ndim != 3:  # noqa: PLR2004 - frames, rows, columns
        hint = "; write x[None] for one frame" if array.ndim == 2 else ""  # noqa: PLR2004
        raise InputValueError(
            f"a sequence of masks is shaped (T, H, W), got {array.shape}{hint}"
        )
    return array


def _streamed(
    frames: Any, value_range: ValueRange | None
) -> Iterator[NDArray[np.uint8]]:
    if isinstance(frames, (str, bytes, dict)) or not isinstance(frames, Iterable):
        raise InputTypeError(
            "a sequence is an array (T, H, W) or an iterable of frames (H, W), got "
            f"{type(frames).__name__}; read_frames() reads files"
        )
    known: ValueRange | None = None
    for i, frame in enumerate(frames):
        plane = _plane(frame, i)
        here = range_of(plane, value_range)
        if known and here and here != known:
            raise InputValueError(_mixed(i, here, known))
        known = known or here
        yield to_levels(plane, known or _BYTES)


def _plane(frame: Any, i: int) -> NDArray[Any]:
    plane = array_of(frame, f"frame {i}")
    if plane.ndim != 2 or not plane.size:  # noqa: PLR2004 - rows, columns
        raise InputValueError(f"frame {i} is shaped {plane.shape}, and not (H, W)")
    return plane


def _mixed(i: int, here: ValueRange, before: ValueRange) -> str:
    return (
        f"frame {i} goes from {here[0]:g} to {here[1]:g}, frames before it from "
        f"{before[0]:g} to {before[1]:g}: convert them alike, or write value_range"
    )
