"""
Squares of walkers as the numbers that each model takes.

Silhouettes and skeleton maps lose columns at both sides and are divided by 255;
labels of body parts stay what they are. Which is which goes by its name, never by its
numbers. T frames; 64 by 64 becomes 64 by 44, and 128 by 128 becomes 128 by 88.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing.labels import to_labels
from unfussy.models.gait.preprocessing.levels import ValueRange, array_of, range_of
from unfussy.models.gait.sequences import MARGINS, MOST_LABEL

__all__ = ["Walk", "cut_sides", "to_model_input"]

Walk: TypeAlias = Any
"""An array of silhouettes, or a mapping with what the model takes."""

_PARTS: Final = {
    "DeepGaitV2": ("silhouettes",),
    "GaitBase": ("silhouettes",),
    "SkeletonGait": ("skeleton_maps",),
    "SkeletonGaitPP": ("skeleton_maps", "silhouettes"),
    "XGait": ("parsing", "silhouettes"),
}


def to_model_input(
    sequence: Walk, model: Any, /, *, value_range: ValueRange | None = None
) -> Tensor | tuple[Tensor, ...]:
    """
    Return a sequence as the network of *model* takes it.

    Frames that are squares already, such as those of GREW, are taken as they are.

    Args:
        sequence: Silhouettes ``(T, 64, 64)``; or a mapping with what the model takes of
            ``silhouettes``, ``parsing`` (labels 0 to 11) and ``skeleton_maps``
            ``(T, 2, 64, 64)``. Each may be 44 wide already, and 128 by 128 or 88.
        model: ``"DeepGaitV2"``, ``"GaitBase"``, ``"SkeletonGait"``,
            ``"SkeletonGaitPP"`` or ``"XGait"``, or a model or a class of that name.
        value_range: As in `normalize_silhouettes`. Whole numbers are from 0 to 255
            otherwise, booleans 0 and 1.

    Returns:
        Levels in float32, from 0 to 1, as ``(T, 64, 44)``; for skeleton maps
        ``(T, 2, 64, 44)``, with silhouettes ``(T, 3, 64, 44)``. For XGait it is a pair,
        labels first, which are not scaled.

    Raises:
        InputTypeError: If a part is missing or is no numbers.
        InputValueError: If sizes or values are others.

    Examples:
        >>> walk = np.full((30, 64, 64), 255, dtype=np.uint8)
        >>> to_model_input(walk, "GaitBase").shape
        torch.Size([30, 64, 44])
        >>> both = {"silhouettes": walk, "parsing": walk // 255}
        >>> [part.max().item() for part in to_model_input(both, "XGait")]
        [1.0, 1.0]
    """
    name = _name_of(model)
    given = {key: _given(sequence, key, name) for key in _PARTS[name]}
    made = [_made(key, values, value_range) for key, values in given.items()]
    _check_together(given, made)
    if name == "XGait":
        return tuple(made)
    if name == "SkeletonGaitPP":
        return torch.cat([made[0], made[1].unsqueeze(1)], dim=1)
    return made[0]


def cut_sides(frames: Any, /) -> Any:
    """
    Return *frames* without the columns that the models do not take.

    Ten at each side of 64 by 64, twenty of 128 by 128; 64 by 44 and 128 by 88 stay.

    Raises:
        InputValueError: If they have another size.

    Examples:
        >>> cut_sides(np.zeros((30, 64, 64))).shape
        (30, 64, 44)
    """
    height, width = frames.shape[-2:] if frames.ndim > 1 else (0, 0)
    if (height, width) not in MARGINS:
        raise InputValueError(
            "frames are 64 by 64, 64 by 44, 128 by 128 or 128 by 88, got "
            f"{tuple(frames.shape)}; normalize_silhouettes() cuts them out of raw "
            "masks: resizing is not the same"
        )
    side = MARGINS[height, width]
    return frames[..., side : width - side]


def _name_of(model: Any) -> str:
    kinds = model.__mro__ if isinstance(model, type) else type(model).__mro__
    names = [model] if isinstance(model, str) else [kind.__name__ for kind in kinds]
    found = next((name for name in names if name in _PARTS), None)
    if found is None:
        known = ", ".join(_PARTS)
        raise InputValueError(f"model is one of {known}, got {names[0]!r}")
    return found


def _given(sequence: Walk, key: str, name: str) -> Any:
    if not isinstance(sequence, Mapping):
        if _PARTS[name] == (key,):
            return sequence
        raise InputTypeError(
            f"{name} takes a mapping with {' and '.join(_PARTS[name])}, got "
            f"{type(sequence).__name__}"
        )
    if key not in sequence:
        there = ", ".join(map(repr, sequence)) or "nothing"
        raise InputTypeError(f"{name} takes {key!r}, and the sequence has {there}")
    return sequence[key]


def _made(key: str, values: Any, value_range: ValueRange | None) -> Tensor:
    if key == "parsing":
        labels = to_labels(values, most=MOST_LABEL)
        return torch.from_numpy(cut_sides(_of_shape(labels, key)).astype(np.float32))
    frames = cut_sides(_of_shape(array_of(values, key), key))
    return torch.from_numpy(_scaled(frames, value_range))


def _of_shape(array: NDArray[Any], key: str) -> NDArray[Any]:
    is_maps = key == "skeleton_maps"
    if array.ndim != 3 + is_maps or (is_maps and array.shape[1] != 2):  # noqa: PLR2004
        wanted = "(T, 2, H, W), limbs before joints" if is_maps else "(T, H, W)"
        raise InputValueError(f"{key} are shaped {wanted}, got {array.shape}")
    return array


def _scaled(frames: NDArray[Any], said: ValueRange | None) -> NDArray[np.float32]:
    if said is None and frames.dtype == np.uint8 and frames.max(initial=0) != 1:
        low, high = 0.0, 255.0
    else:
        low, high = range_of(frames, said) or (0.0, 255.0)
    # Divided, not multiplied by 1 / 255: that is off in the last digit.
    levels = frames.astype(np.float32)
    scaled: NDArray[np.float32] = (levels - np.float32(low)) / np.float32(high - low)
    return scaled


def _check_together(given: dict[str, Any], made: list[Tensor]) -> None:
    if len({(len(x), *x.shape[-2:]) for x in made}) > 1:
        shapes = " and ".join(f"{key} {tuple(x.shape)}" for key, x in given.items())
        raise InputValueError(
            f"frames of one sequence have to go together, got {shapes}"
        )
