"""Objects with named fields: dataclasses, classes of attrs, namespaces."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

from unfussy._nodes.copying import is_plain, make_replace
from unfussy._nodes.node import Node, attribute

__all__ = ["record_node"]

_UNSET = object()


def record_node(kind: type) -> Node | None:
    """Return how records of type *kind* are opened, or None for other types."""
    if issubclass(kind, SimpleNamespace):
        replace = make_replace(kind)
        return Node(lambda node: vars(node).items(), replace, attribute)
    names = _field_names(kind)
    # A record that is also a number or an exception holds more than its fields.
    if names is None or not is_plain(kind):
        return None

    def children(node: Any) -> list[tuple[str, Any]]:
        pairs = [(name, getattr(node, name, _UNSET)) for name in names]
        return [pair for pair in pairs if pair[1] is not _UNSET]

    return Node(children, make_replace(kind), attribute)


def _field_names(kind: Any) -> list[str] | None:
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    return None
