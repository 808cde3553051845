"""
Frames as a network takes them: a tensor of its precision, dense or on one axis.

n sequences, s frames of each, F frames of all, C channels, H and W.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._autocast import is_autocast
from unfussy.models.gait.packed import Run, Runs, runs_of

__all__ = ["check_tensor", "pack"]

_PACKED = 4  # (F, C, H, W)


def pack(
    x: Any, lengths: Iterable[int] | None, /, channels: int, dtype: torch.dtype
) -> tuple[Tensor, Runs]:
    """
    Return frames on one axis, ``(F, C, H, W)``, and how they belong to sequences.

    Args:
        x: ``(n, s, H, W)`` or ``(n, s, C, H, W)``; with *lengths* ``(F, H, W)`` or
            ``(F, C, H, W)``.
        lengths: How many frames each sequence has.
        channels: Those that the network takes.
        dtype: The precision of the network.

    Raises:
        InputTypeError: If *x* is no tensor of that precision.
        InputValueError: If its shape is another, or the lengths do not fit.
    """
    check_tensor(x, dtype)
    full = _PACKED if lengths is not None else _PACKED + 1
    if x.ndim not in {full - 1, full}:
        raise _misshapen(x, channels, packed=lengths is not None)
    given = x if x.ndim == full else x.unsqueeze(full - 3)
    if given.shape[-3] != channels:
        raise _misshapen(x, channels, packed=lengths is not None)
    _check_cut(given)
    if lengths is not None:
        return given, runs_of(lengths, given.shape[0])
    if not given.shape[1]:
        raise InputValueError("a sequence has no frames; it needs one")
    return given.flatten(0, 1), (Run(given.shape[0], given.shape[1]),)


def check_tensor(x: Any, /, dtype: torch.dtype) -> None:
    """
    Check that *x* is a tensor of the network's precision.

    Raises:
        InputTypeError: If it is not.
    """
    if not isinstance(x, Tensor):
        raise InputTypeError(
            f"the network takes a tensor, got {type(x).__name__}; easy_embed() takes "
            "arrays and lists of any lengths"
        )
    # Autocast lets precisions mix.
    if x.dtype != dtype and not is_autocast(x.device.type):
        raise InputTypeError(
            f"the network takes frames in its own {dtype}, got {x.dtype}; "
            "easy_embed() scales and converts them"
        )


def _check_cut(x: Tensor) -> None:
    height, width = x.shape[-2:]
    if height == width:
        raise InputValueError(
            f"the network takes frames without their margins, 64 x 44 or 128 x 88, "
            f"got {height} x {width}; easy_embed() cuts them"
        )


def _misshapen(x: Tensor, channels: int, *, packed: bool) -> InputValueError:
    lead = "F" if packed else "n, s"
    forms = [f"({lead}, {channels}, H, W)"]
    if channels == 1:
        forms.insert(0, f"({lead}, H, W)")
    beside = "with lengths" if packed else "without lengths"
    return InputValueError(
        f"the network takes {' or '.join(forms)} {beside}, got {tuple(x.shape)}; "
        "easy_embed() takes more"
    )
