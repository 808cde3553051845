"""
Seeds, and the private random numbers that each gives.

One generator a sample, on the CPU unless told otherwise: first the latent is drawn
from it, then the words of the caption. No global random state is read or advanced.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError

__all__ = ["LARGEST", "checked_seed", "start"]

LARGEST: Final = 2**32 - 1
"""The largest seed; the smallest is 0."""


def checked_seed(seed: Any, /) -> int:
    """
    Return *seed* as a whole number from 0 to 2**32 - 1.

    Args:
        seed: Any whole number: also of NumPy, also as a float, as a slider gives it.

    Raises:
        InputTypeError: If it is no number.
        InputValueError: If it is not whole, or out of range.

    Examples:
        >>> checked_seed(42.0)
        42
    """
    value = seed.item() if _is_single(seed) else seed
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not is_number:
        raise InputTypeError(f"a seed is a whole number, got {seed!r}")
    if not float(value).is_integer():
        raise InputValueError(f"a seed is a whole number, got {seed!r}")
    whole = int(value)
    if not 0 <= whole <= LARGEST:
        raise InputValueError(f"a seed is from 0 to {LARGEST} (2**32 - 1), got {whole}")
    return whole


def start(
    seed: int, size: int, device: torch.device | str = "cpu", /
) -> tuple[Tensor, torch.Generator]:
    """Return the latent ``(size,)`` of *seed*, and the generator as that left it."""
    generator = torch.Generator(device).manual_seed(seed)
    latent = torch.randn(
        1, size, generator=generator, device=device, dtype=torch.float32
    )
    return latent[0], generator


def _is_single(seed: Any) -> bool:
    return isinstance(seed, (np.ndarray, np.generic, Tensor)) and seed.ndim == 0
