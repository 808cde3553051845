"""Where float32 is the least there is, whatever autocast was asked for."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32", "without_autocast"]


def at_least_float32(x: Tensor) -> Tensor:
    """Return *x* in float32 if it is of half precision, else *x*."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which no operation on *x*'s device is cast."""
    return torch.autocast(x.device.type, enabled=False)
