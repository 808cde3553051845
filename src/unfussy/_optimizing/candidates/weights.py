"""
Weights made from those of a layer, and what tells that they are out of date.

C_out outputs, C_in inputs, of each group where there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["TRANSPOSED", "Made", "Weights", "folded", "is_usual", "mark_of"]

Weights: TypeAlias = tuple[Tensor, Tensor | None]
"""A layer's weight, and its bias if it has one."""
TRANSPOSED: Final[dict[type[nn.Module], Callable[..., Tensor]]] = {
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.ConvTranspose3d: F.conv_transpose3d,
}
_USUAL: Final = frozenset({nn.Parameter, Tensor})
_Mark: TypeAlias = tuple[int, int] | None


def is_usual(tensor: Tensor | None, /) -> bool:
    """Tell whether changes of *tensor* can be seen; None does not change."""
    return tensor is None or (type(tensor) in _USUAL and not tensor.is_inference())


def mark_of(tensor: Tensor | None, /) -> _Mark:
    """Return what differs once *tensor* is written to, or its ``data`` is replaced."""
    return None if tensor is None else (tensor._version, tensor.data_ptr())  # noqa: SLF001


@dataclass(slots=True, eq=False)
class Made:
    """
    Weights, and the tensors they are made from.

    Attributes:
        sources: The tensors themselves, so that no other takes the place of one.
        marks: Their marks.
        eps: The norm's number that goes into them.
        weights: What was made; None as long as nobody needed it.
        casts: The same in other precisions.
    """

    sources: tuple[Tensor | None, ...]
    marks: tuple[_Mark, ...]
    eps: float | None
    weights: Weights | None = None
    casts: dict[torch.dtype, Weights] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Iterable[Tensor | None], eps: float | None) -> Made:
        """Take note of *sources* as they are."""
        kept = tuple(sources)
        return cls(kept, tuple(map(mark_of, kept)), eps)

    def is_current(self, sources: Iterable[Tensor | None], eps: float | None) -> bool:
        """Tell whether *sources* are the same, and have not changed."""
        if eps != self.eps:
            return False
        for now, was, mark in zip(sources, self.sources, self.marks):
            if now is not was or mark_of(now) != mark:
                return False
        return True

    def cast(self, weights: Weights, dtype: torch.dtype) -> Weights:
        """Return *weights*, which were made, in *dtype*."""
        if dtype not in self.casts:
            weight, bias = weights
            low = None if bias is None else bias.to(dtype)
            self.casts[dtype] = weight.to(dtype), low
        return self.casts[dtype]


def folded(layer: Any, norm: Any, weight: Tensor, bias: Tensor | None) -> Weights:
    """
    Return the weights with which *layer* computes a batch norm in eval mode as well.

    Everything is computed in double precision and rounded once.

    Args:
        layer: The layer.
        norm: The norm of its results.
        weight: The layer's weight, ``(C_out, C_in, ...)``, or ``(C_in, C_out, ...)``
            if it is transposed.
        bias: Its bias, ``(C_out,)``.
    """
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (C_out,)
    offset = -norm.running_mean.double()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    if bias is not None:
        offset = offset + bias.double()
    shift = offset * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    wide = _scaled(layer, weight.double(), scale)
    return wide.to(weight.dtype), shift.to(weight.dtype)


def _scaled(layer: Any, weight: Tensor, scale: Tensor) -> Tensor:
    ones = (1,) * (weight.dim() - 2)
    if type(layer) not in TRANSPOSED:
        return weight * scale.view(-1, 1, *ones)
    n = layer.groups
    groups = weight.reshape(n, -1, *weight.shape[1:])  # (groups, C_in, C_out, ...)
    return (groups * scale.view(n, 1, -1, *ones)).flatten(0, 1)
