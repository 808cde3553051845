"""Containers that others registered as pytree nodes, those of TensorDict included."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree

from unfussy._nodes.node import Node, attribute, subscript

__all__ = ["pytree_node"]


def pytree_node(kind: type) -> Node | None:
    """Return how containers of type *kind* are opened, or None if not registered."""
    nodes = _pytree.SUPPORTED_NODES
    tensordict = sys.modules.get("tensordict")
    if tensordict is not None and tensordict.is_tensor_collection(kind):
        # A subclass of TensorDict need not be registered.
        found = next((nodes[base] for base in kind.__mro__ if base in nodes), None)
        is_class = tensordict.is_tensorclass(kind)
        return found and _collection_node(found, is_class=is_class)
    return _node(nodes[kind]) if kind in nodes else None


def _node(registered: Any) -> Node:
    flatten = registered.flatten_with_keys_fn
    step: Callable[[Any], str] = str
    if flatten is None:
        flatten, step = _numbered(registered.flatten_fn), subscript

    def children(node: Any) -> list[tuple[Any, Any]]:
        return list(flatten(node)[0])

    def replace(node: Any, new: dict[Any, Any]) -> Any:
        pairs, context = flatten(node)
        filled = [new.get(key, child) for key, child in pairs]
        return registered.unflatten_fn(filled, context)

    return Node(children, replace, step)


def _numbered(flatten: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def flatten_with_numbers(node: Any) -> Any:
        children, context = flatten(node)
        return enumerate(children), context

    return flatten_with_numbers


# --- TensorDict and its relatives --------------------------------------------------


def _collection_node(registered: Any, *, is_class: bool) -> Node:
    node = _node(registered)

    def replace(collection: Any, new: dict[Any, Any]) -> Any:
        return _like(collection, node.replace(collection, new))

    step = _field if is_class else node.step
    return Node(node.children, replace, step, tensors_only=True)


def _field(key: Any) -> str:
    return attribute(key.key)


def _like(old: Any, new: Any) -> Any:
    """Give a rebuilt collection what its constructor lost: a device, and the lock."""
    if old.device is not None and new.device is None:
        leaves = new.values(include_nested=True, leaves_only=True)
        devices = {leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}
        if len(devices) == 1:
            new = new.to(devices.pop())
    return new.lock_() if old.is_locked else new
