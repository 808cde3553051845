"""
The shapes in which people have poses and latents, told apart and checked.

B batch, D size of a latent. A pose is 21 joints of three numbers: 63.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from unfussy._arrays import from_array, from_numbers, is_numbers
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._autocast import is_autocast

__all__ = [
    "JOINTS",
    "POSE",
    "Rows",
    "check_latents",
    "check_poses",
    "latent_rows",
    "pose_rows",
]

JOINTS: Final = 21
POSE: Final = 3 * JOINTS

Rows: TypeAlias = Tensor | np.ndarray[Any, Any]

_PURE: Final = ((POSE,), (JOINTS, 3), (1, POSE), (1, JOINTS, 3))
_WHOLE: Final = {
    66: "a body with the pelvis first",
    69: "an SMPL body: the 21 joints, then two hands",
    72: "an SMPL pose with the pelvis first",
    156: "an SMPL-H pose, as AMASS has them, with the pelvis first",
    165: "an SMPL-X pose with the pelvis first",
}


# --- pure methods ------------------------------------------------------------------


def check_poses(poses: Tensor, dtype: torch.dtype, /) -> None:
    """
    Check what ``encode`` of a model of precision *dtype* was given.

    Raises:
        InputTypeError: If *poses* is no tensor of that precision.
        InputValueError: If its shape is not one of poses.
    """
    _check_tensor(poses, dtype, "encode()", "poses")
    if tuple(poses.shape[1:]) not in _PURE:
        raise InputValueError(
            f"encode() takes poses shaped (B, 63) or (B, 21, 3), {_got(poses.shape)}"
            f"{_pose_hint(tuple(poses.shape)) or '; easy_encode() takes more'}"
        )


def check_latents(latents: Tensor, size: int, dtype: torch.dtype, /) -> None:
    """
    Check what ``decode`` of a model of precision *dtype* was given.

    Raises:
        InputTypeError: If *latents* is no tensor of that precision.
        InputValueError: If it is not shaped ``(B, size)``.
    """
    _check_tensor(latents, dtype, "decode()", "latents")
    if latents.ndim != 2 or latents.shape[1] != size:  # noqa: PLR2004 - (B, D)
        raise InputValueError(
            f"decode() takes latents shaped (B, {size}), {_got(latents.shape)}; "
            f"easy_decode() takes any shape that ends in {size}"
        )


def _check_tensor(value: Any, dtype: torch.dtype, method: str, what: str) -> None:
    if not isinstance(value, Tensor):
        raise InputTypeError(
            f"{method} takes a tensor of {what}, got {type(value).__name__}; "
            f"easy_{method} takes arrays and lists as well"
        )
    # Autocast lets precisions mix.
    if value.dtype != dtype and not is_autocast(value.device.type):
        raise InputTypeError(
            f"{method} takes {what} in the model's {dtype}, got {value.dtype}; "
            f"convert them with .to(), or let easy_{method} do it"
        )


# --- easy methods ------------------------------------------------------------------


def pose_rows(poses: Any, /, method: str) -> tuple[Rows, tuple[int, ...]]:
    """
    Return *poses* as rows ``(B, 63)`` and the leading dimensions they had.

    Raises:
        InputTypeError: If *poses* is no tensor, array or list of such.
        InputValueError: If its shape is not one of poses.
    """
    dense = _dense(poses, POSE, method)
    shape = tuple(dense.shape)
    if shape[-1:] == (POSE,):
        lead = shape[:-1]
    elif shape[-2:] == (JOINTS, 3):
        lead = shape[:-2]
    else:
        raise InputValueError(
            f"{method} takes poses shaped (63,), (21, 3), (..., 63) or (..., 21, 3), "
            f"{_got(shape)}{_pose_hint(shape)}"
        )
    return dense.reshape(math.prod(lead), POSE), lead


def latent_rows(
    latents: Any, size: int, /, method: str
) -> tuple[Rows, tuple[int, ...]]:
    """
    Return *latents* as rows ``(B, D)`` and the leading dimensions they had.

    Raises:
        InputTypeError: If *latents* is no tensor, array or list of such.
        InputValueError: If its last dimension is not *size*.
    """
    dense = _dense(latents, size, method)
    shape = tuple(dense.shape)
    if shape[-1:] != (size,):
        is_pose = shape[-1:] == (POSE,) or shape[-2:] == (JOINTS, 3)
        hint = "; these look like poses: easy_encode() makes latents of them"
        raise InputValueError(
            f"{method} takes latents shaped ({size},) or (..., {size}), "
            f"{_got(shape)}{hint if is_pose else ''}"
        )
    lead = shape[:-1]
    return dense.reshape(math.prod(lead), size), lead


def _dense(value: Any, width: int, method: str) -> Rows:
    try:
        dense = _joined(value, width)
    except (InputTypeError, InputValueError) as error:
        raise type(error)(f"{method} cannot take this input: {error}") from error
    if "complex" in str(dense.dtype):
        raise InputTypeError(f"{method} takes real numbers, got {dense.dtype}")
    return dense


def _joined(value: Any, width: int) -> Rows:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        plain = value.dtype.kind in "iuf" and not isinstance(value, np.ma.MaskedArray)
        return value if plain else from_array(value)
    if not isinstance(value, (list, tuple)):
        kind = type(value).__name__
        raise InputTypeError(f"{kind} is no tensor, array or list{_hint(value)}")
    if not value:
        return np.empty((0, width), np.float32)
    if is_numbers(value):
        return from_numbers(value)
    return _stacked([_joined(item, width) for item in value])


def _stacked(parts: Sequence[Rows]) -> Rows:
    shapes = list(dict.fromkeys(tuple(part.shape) for part in parts))
    if len(shapes) > 1:
        raise InputValueError(
            f"the items of a list must have one shape, got {shapes[0]} and "
            f"{shapes[1]}; concatenate them, or pass them one by one"
        )
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts):
        return np.stack(arrays)
    return torch.stack([p if isinstance(p, Tensor) else from_array(p) for p in parts])


# --- words -------------------------------------------------------------------------


def _got(shape: Sequence[int]) -> str:
    return f"got {tuple(shape)}"


def _hint(value: object) -> str:
    if isinstance(value, Distribution):
        return "; pass its .mean"
    if isinstance(value, Mapping) and "pose_body" in value:
        return "; pass its ['pose_body']"
    return ""


def _pose_hint(shape: tuple[int, ...]) -> str:
    """Return which part of a larger pose to pass, if *shape* is one; else nothing."""
    if shape[-2:] == (JOINTS, 9) or shape[-3:] == (JOINTS, 3, 3):
        return "; for rotation matrices there is matrix_to_axis_angle()"
    *_, joints, last = (0, 0, *shape)
    is_jointed = last == 3  # noqa: PLR2004
    width = 3 * joints if is_jointed else last
    if width not in _WHOLE:
        return ""
    first = 0 if width == 69 else 1  # noqa: PLR2004
    part = (
        f"x[..., {first}:{first + JOINTS}, :]"
        if is_jointed
        else f"x[..., {3 * first}:{3 * (first + JOINTS)}]"
    )
    return f": {_WHOLE[width]}; pass {part}"
