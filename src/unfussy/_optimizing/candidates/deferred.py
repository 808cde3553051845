"""
A layer's result that waits for who asks: its batch norm, or anybody else.

What the example shows about who uses a result need not hold for every input. A result
that waits is right in each case, and costs a microsecond.
"""

# ruff: noqa: SLF001 - what changes a tensor is counted in private
from __future__ import annotations

from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from unfussy._visit import visit
from unfussy.errors import PlanError

__all__ = ["Absorbed", "Deferred", "Source"]

_NOTHING: Final = torch.empty(0)


class Source(Protocol):
    """
    What a deferred result comes from.

    Attributes:
        layer: The layer.
        norm: The batch norm that it can compute as well.
    """

    layer: nn.Module
    norm: nn.Module | None

    def compute(self, x: Tensor, /) -> Tensor:
        """Return the layer's result with the norm applied."""
        ...


class Deferred(Tensor):
    """
    A layer's result that nobody has asked for yet.

    Its norm asks for the two results in one. For everybody else it is what the layer
    alone gives, computed when it is first used.
    """

    source: Source
    x: Tensor
    version: int | None
    value: Tensor | None

    @classmethod
    def of(cls, source: Source, x: Tensor, /) -> Deferred:
        """Return the result of *source* for *x*."""
        made: Deferred = Tensor._make_subclass(cls, _NOTHING)
        made.source, made.x, made.value = source, x, None
        made.version = None if x.is_inference() else x._version
        return made

    def plain(self) -> Tensor:
        """Return the layer's own result."""
        if self.value is not None:
            return self.value
        self._check()
        layer = self.source.layer
        value: Tensor = type(layer).forward(layer, self.x)
        self.value = value
        return value

    def normed(self) -> Tensor:
        """Return the layer's result with the norm applied."""
        self._check()
        return self.source.compute(self.x)

    def _check(self) -> None:
        if self.version is not None and self.x._version != self.version:
            kind = type(self.source.layer).__name__
            raise PlanError(
                f"fold_norms cannot be used here: the input of a {kind} was changed in "
                "place before the result was used; undo it"
            )

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call *func* with what the layers give."""
        args, kwargs = visit(args, _asked), visit(kwargs or {}, _asked)
        return func(*args, **kwargs)


def _asked(leaf: Any) -> Any:
    return leaf.plain() if type(leaf) is Deferred else leaf


class Absorbed:
    """
    The forward of a batch norm that a layer computes as well.

    Args:
        norm: The batch norm.
    """

    def __init__(self, norm: nn.Module) -> None:
        self.norm = norm

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Normalise the input, which the layer does if it was waiting for that."""
        norm = self.norm
        if args and type(args[0]) is Deferred:
            x, *rest = args
            is_mine = x.source.norm is norm and x.value is None
            if is_mine and not norm.training and not rest and not kwargs:
                return x.normed()
            args = x.plain(), *rest
        return type(norm).forward(norm, *args, **kwargs)
