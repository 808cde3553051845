"""
Sequences as people have them, made into frames as a network takes them.

What is divided by 255 is decided by what frames are and how they are stored, never by
their values; values that contradict it are refused. T frames, C channels, H and W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array
from unfussy.errors import InputTypeError, InputValueError

__all__ = [
    "CHANNELS",
    "MARGINS",
    "MOST_LABEL",
    "Sequences",
    "as_list",
    "count_frames",
    "to_frames",
]

Sequences: TypeAlias = Any
"""One sequence, a list of sequences, or an array or tensor of several."""

CHANNELS: Final = {"silhouettes": 1, "parsing": 1, "skeleton_maps": 2}
"""What a sequence may hold, and the channels of each."""

MOST_LABEL: Final = 11
MARGINS: Final = {(64, 64): 10, (64, 44): 0, (128, 128): 20, (128, 88): 0}
"""The columns at each side that no model sees, by height and width."""


def as_list(
    sequences: Sequences, kinds: tuple[str, ...], channels: int, /
) -> tuple[list[Any], bool]:
    """
    Return a list of sequences, and whether a single one was given.

    Args:
        sequences: One sequence, a list or a tuple of them, or an array or tensor with
            one dimension more than a sequence has.
        kinds: What a sequence of the model holds.
        channels: The channels of its frames.

    Raises:
        InputTypeError: If it is none of these.
    """
    if isinstance(sequences, Mapping):
        return [sequences], True
    if isinstance(sequences, (list, tuple)):
        return list(sequences), False
    if isinstance(sequences, (np.ndarray, Tensor)):
        single = 3 if channels == 1 else 4
        if sequences.ndim == single:
            return [sequences], True
        if sequences.ndim in {single + 1, 5}:
            return list(sequences), False
        raise InputValueError(_unknown_shape(tuple(sequences.shape), kinds, channels))
    kind = type(sequences).__name__
    raise InputTypeError(
        "sequences are an array or tensor, a mapping with "
        f"{_listed(kinds)}, or a list of such, got {kind}; unfussy.stream() takes any "
        "iterable of sequences"
    )


def count_frames(sequence: Any, /) -> float:
    """Return the length of a sequence in frames; of what is none, one."""
    if isinstance(sequence, Mapping):
        lengths = [count_frames(part) for part in sequence.values()]
        return max(lengths, default=1.0)
    shape: tuple[int, ...] = tuple(getattr(sequence, "shape", ()))
    return float(max(shape[0], 1)) if shape else 1.0


def to_frames(
    sequence: Any, kinds: tuple[str, ...], channels: int, /, dtype: torch.dtype
) -> Tensor:
    """
    Return a sequence as a network takes it, ``(T, C, H, W)``, on the device it is on.

    Args:
        sequence: An array, a tensor or a mapping.
        kinds: What the network takes, in the order of the channels.
        channels: How many channels these have.
        dtype: The precision of the network.

    Raises:
        InputTypeError: If a part is no array or tensor of real numbers.
        InputValueError: If a part is missing, or has other frames, sizes or values
            than it should.
    """
    parts = _parts(sequence, kinds, channels)
    counts = {name: len(part) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputValueError(f"all parts of a sequence have as many frames: {listed}")
    if not next(iter(counts.values())):
        raise InputValueError("a sequence has no frames; it needs one")
    frames = [
        _SCALED.get(name, _scaled)(_cut(part, name), name, dtype)
        for name, part in parts.items()
    ]
    if len({part.shape[-2:] for part in frames}) > 1:
        sizes = ", ".join(f"{name} {_size(x)}" for name, x in zip(parts, frames))
        raise InputValueError(f"all parts of a sequence have one size, got {sizes}")
    return frames[0] if len(frames) == 1 else torch.cat(frames, 1)


# --- parts ---------------------------------------------------------------------------


def _parts(sequence: Any, kinds: tuple[str, ...], channels: int) -> dict[str, Tensor]:
    """Return the parts of a sequence, each ``(T, C, H, W)``, in order."""
    if isinstance(sequence, Mapping):
        missing = [kind for kind in kinds if sequence.get(kind) is None]
        if missing:
            found = ", ".join(map(repr, sequence)) or "nothing"
            raise InputValueError(
                f"a sequence of this model holds {_listed(kinds)}; this one lacks "
                f"{missing[0]!r} and has {found}"
            )
        sizes = _sizes(kinds, channels)
        return {k: _planes(_tensor(sequence[k], k), n) for k, n in sizes.items()}
    if "parsing" in kinds and len(kinds) > 1:
        raise InputTypeError(
            f"a sequence of this model is a mapping with {_listed(kinds)}, got "
            f"{type(sequence).__name__}"
        )
    planes = _planes(_tensor(sequence, " and ".join(kinds)), channels)
    sizes = _sizes(kinds, channels)
    return dict(zip(sizes, torch.split(planes, list(sizes.values()), 1)))


def _sizes(kinds: tuple[str, ...], channels: int) -> dict[str, int]:
    if len(kinds) == 1:
        return {kinds[0]: channels}
    return {kind: CHANNELS[kind] for kind in kinds}


def _tensor(part: Any, name: str) -> Tensor:
    if isinstance(part, np.ndarray):
        part = from_array(part)
    if not isinstance(part, Tensor):
        kind = type(part).__name__
        hint = "; stack its frames" if isinstance(part, (list, tuple)) else ""
        raise InputTypeError(f"{name} are an array or a tensor, got {kind}{hint}")
    if part.is_complex():
        raise InputTypeError(f"{name} are real numbers, got {part.dtype}")
    return part


def _planes(part: Tensor, channels: int) -> Tensor:
    planes = part.unsqueeze(1) if part.ndim == 3 else part  # noqa: PLR2004 - (T, H, W)
    if planes.ndim != 4 or planes.shape[1] != channels:  # noqa: PLR2004
        form = "(T, H, W)" if channels == 1 else f"(T, {channels}, H, W)"
        raise InputValueError(f"a sequence is shaped {form}, got {tuple(part.shape)}")
    return planes


def _cut(part: Tensor, name: str) -> Tensor:
    """Return frames without the margins at their sides, which no network sees."""
    size = int(part.shape[2]), int(part.shape[3])
    if size not in MARGINS:
        raise InputValueError(
            f"{name} are 64 x 64 or 64 x 44 pixels, or twice that, got {_size(part)}; "
            "normalize_silhouettes() brings masks of any size there"
        )
    margin = MARGINS[size]
    return part[..., margin : size[1] - margin]


# --- values --------------------------------------------------------------------------


def _scaled(part: Tensor, name: str, dtype: torch.dtype) -> Tensor:
    """Return levels from 0 to 1."""
    exact = torch.promote_types(dtype, torch.float32)
    if part.dtype == torch.bool:
        return part.to(dtype)
    most = part.max().item()
    if part.is_floating_point():
        if most > 1:
            raise InputValueError(
                f"{name} in {part.dtype} are from 0 to 1, got {most:g}; convert levels "
                "up to 255 to uint8"
            )
        return part.to(dtype)
    if most == 1:
        raise InputValueError(
            f"{name} in {part.dtype} are from 0 to 255, got nothing above 1; convert "
            "masks of 0 and 1 to bool"
        )
    # Divided: a product with 1/255 is off by a digit in half of all levels.
    return part.to(exact).div(255).to(dtype)


def _labels(part: Tensor, name: str, dtype: torch.dtype) -> Tensor:
    """Return labels as they are."""
    if part.max().item() > MOST_LABEL or part.min().item() < 0:
        raise InputValueError(
            f"{name} holds labels from 0 to {MOST_LABEL}, got "
            f"{part.min().item():g} to {part.max().item():g}"
        )
    if part.is_floating_point() and not torch.equal(part, part.round()):
        raise InputValueError(f"{name} holds whole labels, got fractions of them")
    return part.to(dtype)


_SCALED: Final[Mapping[str, Callable[[Tensor, str, torch.dtype], Tensor]]] = {
    "parsing": _labels
}


# --- words ---------------------------------------------------------------------------


def _listed(kinds: tuple[str, ...]) -> str:
    return " and ".join(map(repr, kinds))


def _size(part: Tensor) -> str:
    return f"{part.shape[2]} x {part.shape[3]}"


def _unknown_shape(
    shape: tuple[int, ...], kinds: tuple[str, ...], channels: int
) -> str:
    one = "T, H, W" if channels == 1 else f"T, {channels}, H, W"
    hint = "; a sequence of one frame is frame[None]" if len(shape) == 2 else ""  # noqa: PLR2004
    return (
        f"one sequence of {' and '.join(kinds)} is shaped ({one}), and several "
        f"(n, {one}), got {tuple(shape)}{hint}"
    )
