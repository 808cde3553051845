"""
Small modules with one peculiarity each, for all tests.

Each takes and returns ``(B, 3)``, and is pure: tests decorate what they need, most of
them with `embedding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

FEATURES = 3


class Plain(nn.Module):
    """One layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES)

    def forward(self, x):
        return self.net(x)


class Nested(nn.Module):
    """Layers at several depths, a child that is None among them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = None
        self.body = nn.Sequential(Plain(), nn.Sequential(nn.ReLU(), Plain()))

    def forward(self, x):
        return self.body(x)


class Normed(nn.Module):
    """Layers that behave otherwise in training, and remember what they saw there."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES)
        self.norm = nn.BatchNorm1d(FEATURES)
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(self.norm(self.net(x)))


class Frozen(Normed):
    """A norm that stays in eval mode while the rest is trained."""

    def train(self, mode=True):  # noqa: FBT002
        super().train(mode)
        self.norm.eval()
        return self


class Merging(nn.Module):
    """A low-rank update, which is merged into the weight in eval mode (LoRA)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(FEATURES, FEATURES))
        self.down = nn.Parameter(torch.randn(1, FEATURES))
        self.up = nn.Parameter(torch.randn(FEATURES, 1))
        self.drop = nn.Dropout()
        self.merged = False
        self.switches: list[bool] = []

    def train(self, mode=True):  # noqa: FBT002
        self.switches.append(mode)
        if mode is self.merged:
            sign = -1 if mode else 1
            self.weight.data += sign * self.up.data @ self.down.data
            self.merged = not mode
        return super().train(mode)

    def forward(self, x):
        weight = self.weight if self.merged else self.weight + self.up @ self.down
        return self.drop(x @ weight.T)


class Shared(nn.Module):
    """One child under two names, and again below another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Normed()
        self.second = self.first
        self.rest = nn.ModuleList([self.first, nn.Dropout()])

    def forward(self, x):
        return self.rest[1](self.second(self.first(x)))


class Buffered(nn.Module):
    """No parameters, only a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((FEATURES,), 2.0))
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(x) * self.scale


class Bare(nn.Module):
    """No tensors at all."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(x) * 2


class Caching(nn.Module):
    """A table that is filled by the first call and used by all later ones."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES)
        self.table: torch.Tensor | None = None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(1.0, FEATURES + 1)
        return self.net(x) * self.table.to(x)


EVERY_KIND: tuple[type[nn.Module], ...] = (
    Plain,
    Nested,
    Normed,
    Frozen,
    Merging,
    Shared,
    Buffered,
    Bare,
    Caching,
)


def embedding(kind: type[nn.Module], *decorators: Callable[[Any], Any]) -> Any:
    """Return a class like *kind* with a method ``embed``, decorated, of its call."""

    def embed(self, x):
        return self(x)

    embed.__qualname__ = f"{kind.__name__}.embed"
    for decorator in reversed(decorators):
        embed = decorator(embed)
    return type(kind.__name__, (kind,), {"embed": embed})
