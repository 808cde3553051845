"""Lists, tuples, named tuples, deques and their subclasses."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Iterable
from typing import Any

from unfussy._nodes.copying import carrier
from unfussy._nodes.node import Children, Node, attribute

__all__ = ["sequence_node"]


def sequence_node(kind: type) -> Node | None:
    """Return how sequences of type *kind* are opened, or None for other types."""
    if issubclass(kind, tuple):
        return _tuple_node(kind)
    if issubclass(kind, list):
        return _list_node(kind)
    if issubclass(kind, deque):
        return _deque_node(kind)
    if issubclass(kind, UserList):
        return _user_list_node(kind)
    return None


def _numbered(kind: Any, base: Any) -> Children:
    """Number the items that a sequence holds, whatever its subclass shows of them."""
    if kind.__iter__ is base.__iter__:
        return enumerate
    return lambda node: enumerate(base.__iter__(node))


def _filled(items: Iterable[Any], new: dict[int, Any]) -> list[Any]:
    filled = list(items)
    for i, child in new.items():
        filled[i] = child
    return filled


def _tuple_node(kind: Any) -> Node:
    if hasattr(kind, "n_sequence_fields"):  # torch.return_types, time.struct_time
        return Node(enumerate, _replace_struct)
    if hasattr(kind, "_fields"):
        return _named_node(kind)
    carry = carrier(kind)

    def replace(node: Any, new: dict[int, Any]) -> Any:
        items = tuple.__iter__(node)
        return carry(node, tuple.__new__(kind, _filled(items, new)))

    return Node(_numbered(kind, tuple), replace)


def _replace_struct(node: Any, new: dict[int, Any]) -> Any:
    # Some hold more than they show: the constructor takes both.
    make, (_, hidden) = node.__reduce__()
    return make(_filled(node, new), hidden)


def _named_node(kind: Any) -> Node:
    carry, fields = carrier(kind), kind._fields
    index = {name: i for i, name in enumerate(fields)}

    def replace(node: Any, new: dict[str, Any]) -> Any:
        items = list(tuple.__iter__(node))
        for name, child in new.items():
            items[index[name]] = child
        return carry(node, tuple.__new__(kind, items))

    if kind.__iter__ is tuple.__iter__:
        return Node(lambda node: zip(fields, node), replace, attribute)
    return Node(lambda node: zip(fields, tuple.__iter__(node)), replace, attribute)


def _list_node(kind: Any) -> Node:
    carry = carrier(kind)

    def replace(node: Any, new: dict[int, Any]) -> Any:
        copied = carry(node, list.__new__(kind))
        list.extend(copied, _filled(list.__iter__(node), new))
        return copied

    return Node(_numbered(kind, list), replace)


def _deque_node(kind: Any) -> Node:
    carry = carrier(kind)

    def replace(node: Any, new: dict[int, Any]) -> Any:
        copied = carry(node, deque.__new__(kind))
        # Not the constructor of a subclass, which may want other arguments.
        deque.__init__(copied, _filled(deque.__iter__(node), new), node.maxlen)
        return copied

    return Node(_numbered(kind, deque), replace)


def _user_list_node(kind: Any) -> Node:
    carry = carrier(kind)

    def replace(node: Any, new: dict[int, Any]) -> Any:
        copied = carry(node, object.__new__(kind))
        copied.__dict__["data"] = _filled(node.data, new)
        return copied

    return Node(lambda node: enumerate(node.data), replace)
