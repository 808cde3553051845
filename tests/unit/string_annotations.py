"""Methods whose annotations are strings, as most modules write them today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional, Union

import torch
from torch import Tensor, nn

import unfussy as uf
from unfussy import ImageLike, TensorLike, auto_device

if TYPE_CHECKING:
    from somewhere import Option, Poses


class Declared(nn.Linear):
    @auto_device
    def alias(self, x: TensorLike):
        return x

    @auto_device
    def qualified(self, x: uf.TensorLike):
        return x

    @auto_device
    def tensor(self, x: torch.Tensor):
        return x

    @auto_device
    def optional(self, x: Optional[TensorLike] = None):  # noqa: UP045
        return x

    @auto_device
    def union(self, x: Union[str, Tensor]):  # noqa: UP007
        return x

    @auto_device
    def bar(self, x: TensorLike | str | None = None):
        return x

    @auto_device
    def annotated(self, x: Annotated[Tensor, "(B, 63), radians", 1]):
        return x

    @auto_device
    def parameter(self, x: nn.Parameter):
        return x

    @auto_device
    def legacy(self, x: torch.FloatTensor):
        return x

    @auto_device
    def quoted(self, x: Optional["TensorLike"]):  # noqa: UP037, UP045
        return x

    @auto_device
    def unknown_beside(self, x: Poses | torch.Tensor):
        return x

    @auto_device
    def unknown_around(self, x: Optional[Option | uf.TensorLike]):  # noqa: UP045
        return x

    @auto_device
    def rest(self, *x: TensorLike):
        return x[0]

    @auto_device
    def named(self, **x: TensorLike):
        return x["x"]


class Undeclared(nn.Linear):
    @auto_device
    def nothing(self, x):
        return x

    @auto_device
    def anything(self, x: Any):
        return x

    @auto_device
    def sizes(self, x: list[int]):
        return x

    @auto_device
    def several(self, x: list[Tensor]):
        return x

    @auto_device
    def unknown(self, x: Poses):
        return x

    @auto_device
    def unknown_several(self, x: list[Poses, Tensor]):
        return x

    @auto_device
    def nonsense(self, x: 1 + Poses):
        return x


class Pictures(nn.Linear):
    @auto_device
    def show(self, x: ImageLike):
        return x

    @auto_device
    def show_either(self, x: TensorLike | ImageLike | None):
        return x

    @auto_device
    def show_quoted(self, x: Optional[Option | ImageLike]):  # noqa: UP045
        return x
