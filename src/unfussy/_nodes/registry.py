"""Which types are containers: those of this package, and those that users teach."""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np
import torch

from unfussy._nodes.mappings import dict_node, mapping_node
from unfussy._nodes.node import Node
from unfussy._nodes.pytrees import pytree_node
from unfussy._nodes.records import record_node
from unfussy._nodes.sequences import sequence_node
from unfussy._nodes.torches import torch_node

__all__ = ["LEAVES", "is_registered", "node_of", "teach"]

LEAVES: Final = (torch.Tensor, np.ndarray)
_NEVER: Final = (*LEAVES, torch.Size, torch.nn.Module, type, Enum)
# What others registered comes after what is known better here.
_FAMILIES: Final = (
    torch_node,
    sequence_node,
    dict_node,
    pytree_node,
    mapping_node,
    record_node,
)
_REGISTERED: dict[type, Node] = {}


def teach(kind: type, node: Node) -> None:
    """Let *node* say how containers of type *kind* and its subclasses are opened."""
    _REGISTERED[kind] = node


def is_registered(kind: type) -> bool:
    """Tell whether *kind* or one of its bases was taught."""
    return any(base in _REGISTERED for base in kind.__mro__)


def node_of(kind: type) -> Node | None:
    """Return how containers of type *kind* are opened, or None for a leaf."""
    for base in kind.__mro__:
        if base in _REGISTERED:
            return _REGISTERED[base]
    if issubclass(kind, _NEVER):
        return None
    return next((node for find in _FAMILIES if (node := find(kind))), None)
