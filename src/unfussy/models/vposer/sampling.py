"""
Random latents, and latents in between two others.

Random numbers come from a generator of the caller's or from a private one. NumPy's
and PyTorch's global generators are neither read nor advanced.
"""

from __future__ import annotations

import operator
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.vposer.shapes import Rows

__all__ = ["Kind", "Seed", "draw_normal", "interpolate"]

Seed: TypeAlias = (
    int | np.random.RandomState | np.random.Generator | torch.Generator | None
)
"""A seed as NumPy's ``RandomState`` takes it, a generator, or None for new numbers."""

Kind: TypeAlias = Literal["linear", "spherical"]

# Closer than this to one line, two directions have no plane to turn in.
_FLAT: Final = 1e-6


def draw_normal(
    count: int, size: int, seed: Seed, generator: torch.Generator | None = None
) -> Rows:
    """
    Return normal numbers ``(count, size)`` from *seed*, or else from *generator*.

    For a whole number as *seed* they are those of ``numpy.random.seed(seed)`` followed
    by ``numpy.random.normal``, in double precision.

    Raises:
        InputTypeError: If *seed* is neither a seed nor a generator.
        InputValueError: If *count* is negative, *seed* no seed, or both are given.
    """
    if seed is not None and generator is not None:
        raise InputValueError("give seed= or generator=, not both")
    shape, source = (_checked_count(count), size), seed
    if generator is not None:
        source = generator
    if isinstance(source, torch.Generator):
        return torch.randn(shape, generator=source, device=source.device)
    if not isinstance(source, (np.random.RandomState, np.random.Generator)):
        source = _seeded(source)
    return source.normal(0.0, 1.0, shape)


def _checked_count(count: Any) -> int:
    try:
        whole = operator.index(count)
    except TypeError as error:
        kind = type(count).__name__
        raise InputTypeError(f"how many is a whole number, got a {kind}") from error
    if whole < 0:
        raise InputValueError(f"how many is a whole number from 0, got {whole}")
    return whole


def _seeded(seed: int | None) -> np.random.RandomState:
    # The legacy generator, since the official samples are defined by it.
    try:
        return np.random.RandomState(seed)
    except ValueError as error:
        raise InputValueError(f"seed is from 0 to 2**32 - 1, got {seed!r}") from error
    except TypeError as error:
        raise InputTypeError(
            "seed is a whole number, a numpy RandomState or Generator, a "
            f"torch.Generator or None, got a {type(seed).__name__}"
        ) from error


def interpolate(start: Tensor, end: Tensor, steps: int, kind: Kind) -> Tensor:
    """
    Return *steps* latents from *start* to *end*, both included.

    Args:
        start: ``(..., D)``.
        end: ``(..., D)``.
        steps: How many; one is *start* alone.
        kind: ``"linear"``, or ``"spherical"`` along the arc between both: Shoemake,
            "Animating rotation with quaternion curves", 1985.

    Returns:
        ``(steps, ..., D)``.

    Raises:
        InputValueError: If there is no such kind, or no step.
    """
    if _checked_count(steps) < 1:
        raise InputValueError(f"steps is a whole number from 1, got {steps}")
    if kind not in ("linear", "spherical"):
        raise InputValueError(f"kind is 'linear' or 'spherical', got {kind!r}")
    shape = (start + end).shape
    start, end = start.expand(shape), end.expand(shape)
    weights = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    weights = weights.reshape(-1, *[1] * start.ndim)
    if kind == "linear":
        return torch.lerp(start, end, weights)
    return _spherical(start, end, weights)


def _spherical(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    first = torch.nn.functional.normalize(start, dim=-1)
    last = torch.nn.functional.normalize(end, dim=-1)
    # Not by arccos, which has no digits left for nearby directions.
    apart = (first - last).norm(dim=-1, keepdim=True)
    together = (first + last).norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(apart, together)
    sine = angle.sin()
    has_origin = (first.norm(dim=-1) * last.norm(dim=-1) < 1 / 2).unsqueeze(-1)
    is_flat = (sine < _FLAT) | has_origin
    sine = torch.where(is_flat, 1.0, sine)
    from_start = torch.where(is_flat, 1 - weights, ((1 - weights) * angle).sin() / sine)
    from_end = torch.where(is_flat, weights, (weights * angle).sin() / sine)
    return from_start * start + from_end * end
