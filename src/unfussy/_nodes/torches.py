"""Containers of PyTorch: packed sequences and probability distributions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import torch
from torch.distributions import Distribution, ExpTransform, Transform
from torch.distributions.utils import lazy_property
from torch.nn.utils.rnn import PackedSequence

from unfussy._nodes.copying import make_replace
from unfussy._nodes.node import Children, Node, attribute

__all__ = ["torch_node"]

_PARTS: Final = (torch.Tensor, Distribution, Transform)
_INVERSE: Final = type(ExpTransform().inv)
_NO_INVERSE: Final = {"_inv": None}
_NO_CACHE: Final = {"_cached_x_y": (None, None)}


def torch_node(kind: type) -> Node | None:
    """Return how PyTorch's containers of type *kind* are opened, or None for others."""
    if issubclass(kind, PackedSequence):
        return Node(_packed_children, _replace_packed, attribute, tensors_only=True)
    if issubclass(kind, Transform):
        return _transform_node(kind)
    if issubclass(kind, Distribution):
        computed = _computed(kind)
        replace = make_replace(kind, computed)
        return Node(_parts(computed), replace, attribute, tensors_only=True)
    return None


def _packed_children(packed: Any) -> list[tuple[str, Any]]:
    # Batch sizes never leave the CPU.
    named = zip(packed._fields, packed)
    return [(k, x) for k, x in named if k != "batch_sizes" and x is not None]


def _replace_packed(packed: Any, new: dict[str, Any]) -> Any:
    return tuple.__new__(type(packed), {**packed._asdict(), **new}.values())


def _parts(without: Collection[str]) -> Children:
    def children(node: Any) -> list[tuple[str, Any]]:
        held = vars(node).items()
        return [(k, x) for k, x in held if _is_part(x) and k not in without]

    return children


def _is_part(value: Any) -> bool:
    if type(value) in {list, tuple}:
        return any(isinstance(item, _PARTS) for item in value)
    return isinstance(value, _PARTS)


def _computed(kind: type) -> frozenset[str]:
    """
    Return the names of private attributes that a distribution computes when asked.

    A copy computes them again, as precisely; public ones may be its parameters.
    """
    return frozenset(
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, lazy_property) and name.startswith("_")
    )


def _transform_node(kind: type) -> Node:
    # A transform and its inverse hold each other; only the inverse is taken to.
    forgotten = _NO_CACHE if issubclass(kind, _INVERSE) else _NO_CACHE | _NO_INVERSE
    replace_parts = make_replace(kind)

    def replace(transform: Any, new: dict[str, Any]) -> Any:
        fresh = {k: v for k, v in forgotten.items() if k in vars(transform)}
        return replace_parts(transform, fresh | new)

    return Node(_parts(forgotten), replace, attribute, tensors_only=True)
