"""
Mapping the commonest trees in a form that torch.compile follows into a graph.

How a type is opened is asked once, while the graph is made. The commonest containers
are opened here, in code that Dynamo traces; `is_followed` tells of others.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch.utils import _pytree

from unfussy._nodes import LEAVES, is_registered
from unfussy._visit import node_for, visit

__all__ = ["first_leaf", "is_followed", "visit_traced"]

_Kind: TypeAlias = Literal["atom", "leaf", "items", "values", "fields", "other"]


def visit_traced(
    tree: Any,
    fn: Callable[[Any], Any],
    everything: bool = False,  # noqa: FBT001, FBT002 - as `visit` takes it
) -> Any:
    """
    Replace the tensors and arrays in *tree*, or *everything* that is a leaf.

    Containers that Dynamo cannot trace are opened outside the compiled program.
    """
    kind = type(tree)
    match _kind_of(kind):
        case "leaf":
            return fn(tree)
        case "atom":
            return fn(tree) if everything else tree
        case "items":
            pairs = tree.items()
            return kind([(key, visit_traced(x, fn, everything)) for key, x in pairs])
        case "values":
            values = [visit_traced(x, fn, everything) for x in tree]
            return kind._make(values) if hasattr(kind, "_make") else kind(values)
        case "fields":
            return _visit_fields(tree, fn, everything)
    disable: Any = torch.compiler.disable
    return disable(visit)(tree, fn, everything)


def is_followed(tree: Any) -> bool:
    """Tell whether Dynamo can trace `visit_traced` for *tree*."""
    kind = _kind_of(type(tree))
    if kind == "items":
        return all(map(is_followed, tree.values()))
    if kind == "values":
        return all(map(is_followed, tree))
    if kind == "fields":
        return all(is_followed(getattr(tree, name)) for name in _names(tree))
    return kind != "other"


def _visit_fields(tree: Any, fn: Callable[[Any], Any], everything: bool) -> Any:  # noqa: FBT001
    kind = type(tree)
    new = object.__new__(kind) if hasattr(kind, "__slots__") else copy.copy(tree)
    for name in _names(tree):
        value = visit_traced(getattr(tree, name), fn, everything)
        object.__setattr__(new, name, value)  # frozen or not
    return new


def _names(tree: Any) -> list[str]:
    # A field may never have been set.
    names = [field.name for field in dataclasses.fields(tree)]
    return [name for name in names if hasattr(tree, name)]


def _kind_of(kind: type) -> _Kind:
    if issubclass(kind, LEAVES):
        return "leaf"
    if node_for(kind) is None:
        return "atom"
    if is_registered(kind):
        return "other"
    if kind in (dict, OrderedDict):
        return "items"
    if kind in (list, tuple) or _is_named_tuple(kind):
        return "values"
    return "fields" if _is_simple_record(kind) else "other"


def _is_named_tuple(kind: type) -> bool:
    # Subclasses may have attributes; or, as packed sequences have, what never moves.
    return kind.__bases__ == (tuple,) and hasattr(kind, "_fields")


def _is_simple_record(kind: type) -> bool:
    """Tell whether the fields of *kind* are all that it holds, and are its own."""
    *bases, _ = kind.__mro__
    members = [vars(base) for base in bases]
    if kind in _pytree.SUPPORTED_NODES or not all(map(dataclasses.is_dataclass, bases)):
        return False
    if any(isinstance(x, cached_property) for each in members for x in each.values()):
        return False
    return len(bases) == 1 or not any("__slots__" in each for each in members)


# What `torch.compiler.assume_constant_result` does, without importing Dynamo.
_kind_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


def first_leaf(tree: Any) -> Any:
    """Return the first tensor or array in *tree*, or None."""
    found: list[Any] = []

    def note(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    visit_traced(tree, note)
    return found[0] if found else None
