"""
Weights filled from their keys: the same numbers for the same keys, always.

Each tensor is drawn on its own, by a generator seeded with the CRC-32 of its key, in
double precision, and then cast. Two implementations of a network that agree in keys
and shapes therefore get the same weights, in whatever order they make their layers.
"""

from __future__ import annotations

import math
import zlib

import torch


def filled(state_dict, gain=1.0):
    """Return tensors for the keys, shapes and dtypes of *state_dict*."""
    return {
        key: _values(key, tuple(like.shape), gain).to(like.dtype)
        if like.is_floating_point()
        else torch.zeros_like(like)  # counters
        for key, like in state_dict.items()
    }


def _values(key, shape, gain):
    name = key.split(".")[-1]
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    draw = {"generator": generator, "dtype": torch.float64}
    if name == "running_var":
        return torch.rand(shape, **draw) * 0.2 + 1.0
    normal = torch.randn(shape, **draw)
    if name == "weight" and len(shape) == 1:
        return normal * 0.1 + 1.0
    if name != "running_mean" and len(shape) > 1:
        return normal * (gain / math.sqrt(math.prod(shape[1:])))
    return normal * 0.1
