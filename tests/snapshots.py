"""What an object looks like, as `pickle` tells it: apart from how unfussy copies."""

from __future__ import annotations

from types import MappingProxyType

from tests.strategies import Leaf

__all__ = ["snapshot"]

_VALUES = (str, bytes, int, float, type(None), type, set, frozenset)


def snapshot(tree, leaf=id):
    """
    Describe *tree*: types, constructor arguments, attributes, and items in order.

    Args:
        tree: Anything.
        leaf: What is said of a leaf; which one it is, unless told otherwise.
    """
    if isinstance(tree, Leaf):
        return leaf(tree)
    if isinstance(tree, _VALUES) or callable(tree):
        return tree
    if isinstance(tree, MappingProxyType):
        return "proxy", snapshot(dict(tree), leaf)
    if type(tree) is tuple:
        return tuple(snapshot(x, leaf) for x in tree)
    _, arguments, *rest = tree.__reduce_ex__(2)
    state, items, pairs = (*rest, None, None, None)[:3]
    if getattr(tree, "__dict__", None) is tree:
        state = "its own attributes"
    state = sorted(state.items()) if type(state) is dict else state
    return [
        type(tree),
        snapshot(tuple(arguments), leaf),
        snapshot(tuple(state) if isinstance(state, list) else state, leaf),
        [snapshot(x, leaf) for x in items or ()],
        [(key, snapshot(x, leaf)) for key, x in pairs or ()],
    ]
