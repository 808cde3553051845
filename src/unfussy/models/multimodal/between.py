"""Latents on the way from one to another."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = ["Way", "between"]

Way: TypeAlias = Literal["spherical", "linear"]

_FLAT: Final = 1e-6  # nearer to one line than this, there is no arc


def between(a: Tensor, b: Tensor, steps: int, way: Way = "spherical", /) -> Tensor:
    """
    Return *steps* latents from *a* to *b*, both of them included.

    Args:
        a: The first, ``(L,)``.
        b: The last, ``(L,)``.
        steps: How many, two or more.
        way: ``"spherical"`` keeps to lengths that random latents have; ``"linear"``
            is the straight line, whose middle is nearer to zero.

    Raises:
        InputValueError: If there are fewer than two, or there is no such way.
    """
    if steps < 2:  # noqa: PLR2004
        raise InputValueError(f"steps is 2 or more, as both ends count, got {steps}")
    if way not in ("spherical", "linear"):
        raise InputValueError(f"way is 'spherical' or 'linear', got {way!r}")
    t = torch.linspace(0, 1, steps, device=a.device)[:, None]
    weights = (1 - t, t) if way == "linear" else _on_arc(a, b, t)
    path = weights[0] * a + weights[1] * b
    path[0], path[-1] = a, b
    return path


def _on_arc(a: Tensor, b: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of both ends, after Shoemake, 1985, for their directions."""
    cosine = torch.nn.functional.cosine_similarity(a, b, 0).clamp(-1, 1)
    angle = cosine.double().acos().to(a.dtype)
    if angle.sin() < _FLAT:
        return 1 - t, t
    return ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
