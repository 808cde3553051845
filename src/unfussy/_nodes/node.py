"""What must be known about a type of container."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Children", "Node", "Replace", "attribute", "name_or_number", "subscript"]

Children: TypeAlias = Callable[[Any], Iterable[tuple[Any, Any]]]
Replace: TypeAlias = Callable[[Any, dict[Any, Any]], Any]


def subscript(key: object) -> str:
    """Write the step to an item."""
    return f"[{key!r}]"


def attribute(key: object) -> str:
    """Write the step to an attribute."""
    return f".{key}"


def name_or_number(key: object) -> str:
    """Write the step to an attribute if *key* can be a name, or else to an item."""
    named = isinstance(key, str) and key.isidentifier()
    return attribute(key) if named else subscript(key)


@dataclass(frozen=True, slots=True)
class Node:
    """
    How to open one type of container.

    Attributes:
        children: The keys and children of a container, in order.
        replace: A copy of the container with the children under some keys replaced.
            It leaves the container alone.
        step: How Python reaches the child under a key.
        tensors_only: Whether the container can hold tensors and nothing else in
            their place, as distributions can.
    """

    children: Children
    replace: Replace
    step: Callable[[Any], str] = subscript
    tensors_only: bool = False
