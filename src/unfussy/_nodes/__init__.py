"""
What counts as a container, and how one is rebuilt with other children.

A container type is described by a `Node`: its children under their keys, and how to
make a copy in which some children are replaced. Copies are made without calling
constructors, because those may want other arguments, validate, or compute; class,
attributes, slots and factories of the original stay. There is a file for each family
of containers; `node_of` asks them in turn.
"""

from unfussy._nodes.node import Node, name_or_number
from unfussy._nodes.registry import LEAVES, is_registered, node_of, teach

__all__ = ["LEAVES", "Node", "is_registered", "name_or_number", "node_of", "teach"]
