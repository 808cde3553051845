"""Convolutions with the batch norm behind them folded into their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Final

from torch import Tensor

from unfussy.errors import CheckpointError

__all__ = ["Folded", "Weights"]

_EPS: Final = 1e-5


@dataclass(frozen=True)
class Folded:
    """
    A convolution that includes its norm, in double precision.

    Attributes:
        weight: ``(O, C, ...)``, the kernel last.
        bias: ``(O,)``.
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Weights:
    """
    Weights under official keys.

    Attributes:
        state: The tensors.
        prefix: What all names given here begin with in *state*.
    """

    state: Mapping[str, Tensor]
    prefix: str = ""

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.state

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.state[self.prefix + name].detach()
        except KeyError:
            raise CheckpointError(
                f"weights have no {self.prefix + name}: a fast form is made of the "
                f"state dict of a whole model, under official keys"
            ) from None

    def below(self, prefix: str) -> Weights:
        """Return the same weights, seen from *prefix*."""
        return Weights(self.state, self.prefix + prefix)

    def blocks(self) -> list[Weights]:
        """Return the weights of ``0.``, ``1.`` and so on, as many as there are."""
        firsts = {
            key.removeprefix(self.prefix).partition(".")[0]
            for key in self.state
            if key.startswith(self.prefix)
        }
        numbers = takewhile(firsts.__contains__, map(str, count()))
        return [self.below(f"{number}.") for number in numbers]

    def conv(self, conv: str, norm: str | None = None) -> Folded:
        """Return the convolution *conv* with the batch norm *norm* folded in."""
        weight = self[f"{conv}.weight"].double()
        if norm is None:
            return Folded(weight, weight.new_zeros(len(weight)))
        mean, variance = self[f"{norm}.running_mean"], self[f"{norm}.running_var"]
        scale = self[f"{norm}.weight"].double() / (variance.double() + _EPS).sqrt()
        bias = self[f"{norm}.bias"].double() - mean.double() * scale
        return Folded(weight * scale.view(-1, *[1] * (weight.ndim - 1)), bias)
