"""Dictionaries and their subclasses, and every other mapping."""

from __future__ import annotations

from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Mapping
from typing import Any

from unfussy._nodes.copying import attributes_of, carrier, is_plain, make_replace
from unfussy._nodes.node import Node, attribute
from unfussy.errors import TreeError

__all__ = ["dict_node", "mapping_node"]

_Items = dict[Any, Any]
_PLAIN = (str, bytes, int, float, complex, type(None), type)


def dict_node(kind: type) -> Node | None:
    """Return how dictionaries of type *kind* are opened, or None for other types."""
    if not issubclass(kind, dict):
        return None
    # An ordered dictionary keeps its order aside: only its own methods know it.
    base: Any = OrderedDict if issubclass(kind, OrderedDict) else dict
    carry = carrier(kind)
    has_factory, has_dict = issubclass(kind, defaultdict), bool(kind.__dictoffset__)

    def replace(node: Any, new: _Items) -> Any:
        copied = carry(node, base.__new__(kind))
        if has_factory:
            copied.default_factory = node.default_factory
        for key, child in base.items(node):
            base.__setitem__(copied, key, new.get(key, child))
        if has_dict:
            _follow(node, copied, new)
        return copied

    # A subclass may show something else than it holds.
    shown: Any = kind.items
    return Node(_items if shown is base.items else base.items, replace)


def _items(node: Any) -> Any:
    return node.items()


def _follow(node: Any, copied: Any, new: _Items) -> None:
    """Where an attribute shows an item, as in a model's output record, keep it so."""
    attributes = node.__dict__
    for key, child in new.items():
        if key in attributes and attributes[key] is dict.__getitem__(node, key):
            copied.__dict__[key] = child


# --- mappings that are no dictionaries ---------------------------------------------


def mapping_node(kind: type) -> Node | None:
    """Return how mappings of type *kind* are opened, or None for other types."""
    if issubclass(kind, ChainMap):
        maps = make_replace(kind)
        return Node(lambda node: [("maps", node.maps)], maps, attribute)
    if issubclass(kind, UserDict):
        return Node(lambda node: node.data.items(), _replace_data)
    if issubclass(kind, Mapping):
        return Node(_items, _replace_items)
    return None


def _replace_data(node: Any, new: _Items) -> Any:
    data = _replace_any(node.data, new)
    return make_replace(type(node))(node, {"data": data})


def _replace_any(mapping: Any, new: _Items) -> Any:
    kind = type(mapping)
    node = dict_node(kind) or mapping_node(kind)
    assert node is not None  # noqa: S101 - by the callers
    return node.replace(mapping, new)


def _replace_items(node: Any, new: _Items) -> Any:
    before = dict(node.items())
    if _holds(node, before):
        for make in (_store, _construct):
            copied = make(node, before, new)
            if copied is not None and _holds(copied, before | new):
                return copied
    kind = type(node).__name__
    raise TreeError(
        f"a {kind} cannot be rebuilt with other values; teach it with "
        f"unfussy.register({kind}, children=..., rebuild=...)"
    )


def _store(node: Any, before: _Items, new: _Items) -> Any:
    """Copy a mapping with another content of the attributes that hold its items."""
    changed = {
        name: _replace_any(value, new)
        for name, value in attributes_of(node).items()
        if isinstance(value, Mapping) and _holds(value, before)
    }
    if not changed or not is_plain(type(node)):
        return None
    return make_replace(type(node))(node, changed)


def _construct(node: Any, before: _Items, new: _Items) -> Any:
    """Make another mapping of the same type, with the same plain attributes."""
    try:
        copied = type(node)(before | new)
    except Exception:  # noqa: BLE001 - a constructor of any kind may fail in any way
        return None
    if type(copied) is not type(node):
        return None
    for name, value in attributes_of(node).items():
        if isinstance(value, _PLAIN):
            object.__setattr__(copied, name, value)
    return copied


def _holds(mapping: Any, items: _Items) -> bool:
    """Tell whether *mapping* has the very same *items* in the same order."""
    try:
        held = [(key, mapping[key]) for key in mapping]
    except Exception:  # noqa: BLE001 - what was put together may fail in any way
        return False
    return [*map(_identity, held)] == [*map(_identity, items.items())]


def _identity(item: tuple[Any, Any]) -> tuple[Any, int]:
    return item[0], id(item[1])
