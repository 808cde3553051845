"""
The fast core of every mapping: what stands in a tree, replaced.

What is known about a type is looked up in two tables, which grow with the types that
are met. Dynamo must not see them: a program that had looked into them would be
compiled anew with every new type. For it there is `_traced_tree`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from unfussy._nodes import LEAVES, Node, is_registered, node_of

__all__ = [
    "Tree",
    "forget",
    "node_for",
    "path_pieces",
    "pop_path",
    "step",
    "visit",
]

T = TypeVar("T")
Tree: TypeAlias = Any
"""A leaf or a container of trees; typing can say it no closer."""

_Fn: TypeAlias = Callable[[Any], Any]
_Visitor: TypeAlias = Callable[[Any, _Fn, bool], Any]

_NOWHERE: Final = object()


def visit(tree: Tree, fn: _Fn, everything: bool = False) -> Tree:  # noqa: FBT001, FBT002
    """
    Replace the tensors and arrays in *tree*, or *everything* that is a leaf.

    The fast core of `tree_map`: an exception leaves with its path still attached, for
    `pop_path`. A *fn* with an attribute ``held`` is replaced by it inside containers
    that can hold nothing but tensors.

    Raises:
        RecursionError: If *tree* holds itself or is too deep: `too_deep` says which.
        TreeError: If a container cannot be rebuilt.
    """
    kind = type(tree)
    return (_VISITORS.get(kind) or _learn(kind))(tree, fn, everything)


def _visit_leaf(leaf: Any, fn: _Fn, everything: bool) -> Any:  # noqa: ARG001, FBT001
    try:
        return fn(leaf)
    except Exception as error:
        pop_path(error)  # of a tree that *fn* was busy with
        raise


def _visit_atom(leaf: Any, fn: _Fn, everything: bool) -> Any:  # noqa: FBT001
    return _visit_leaf(leaf, fn, everything) if everything else leaf


def _visit_dict(tree: Any, fn: _Fn, everything: bool) -> Any:  # noqa: FBT001
    out, key, get = tree, None, _VISITORS.get
    try:
        for key, child in tree.items():
            kind = type(child)
            new = (get(kind) or _learn(kind))(child, fn, everything)
            if new is not child:
                if out is tree:
                    out = tree.copy()
                out[key] = new
    except Exception as error:
        path_pieces(error).append(f"[{key!r}]")
        raise
    return out


def _visit_list(tree: Any, fn: _Fn, everything: bool) -> Any:  # noqa: FBT001
    out, i, get = tree, 0, _VISITORS.get
    try:
        for child in tree:
            kind = type(child)
            new = (get(kind) or _learn(kind))(child, fn, everything)
            if new is not child:
                if out is tree:
                    out = list(tree)
                out[i] = new
            i += 1
    except Exception as error:
        path_pieces(error).append(f"[{i}]")
        raise
    return out


def _visit_tuple(tree: Any, fn: _Fn, everything: bool) -> Any:  # noqa: FBT001
    out = _visit_list(tree, fn, everything)
    return out if out is tree else tuple(out)


def _visitor_of(node: Node) -> _Visitor:
    children, replace = node.children, node.replace

    def visit_node(tree: Any, fn: _Fn, everything: bool) -> Any:  # noqa: FBT001
        if node.tensors_only and not everything:
            fn = getattr(fn, "held", fn)
        new, key, get = {}, _NOWHERE, _VISITORS.get
        try:
            for key, child in children(tree):
                kind = type(child)
                changed = (get(kind) or _learn(kind))(child, fn, everything)
                if changed is not child:
                    new[key] = changed
        except Exception as error:
            if key is not _NOWHERE:
                path_pieces(error).append(node.step(key))
            raise
        return replace(tree, new) if new else tree

    return visit_node


# --- what is known about types -----------------------------------------------------

# A program that makes types without end must not make the tables grow without end.
_MOST_TYPES: Final = 4096
_BUILT_IN: Final[dict[type, _Visitor]] = {
    dict: _visit_dict,
    list: _visit_list,
    tuple: _visit_tuple,
}
_NODES: dict[type, Node | None] = {}
_VISITORS: dict[type, _Visitor] = {}


def node_for(kind: type) -> Node | None:
    """Return how containers of type *kind* are opened, or None for a leaf."""
    nodes = _NODES
    try:
        return nodes[kind]
    except KeyError:
        return _remember(nodes, kind, node_of(kind))


def _learn(kind: type) -> _Visitor:
    visitors = _VISITORS
    node = node_for(kind)
    return _remember(visitors, kind, _visitor(kind, node))


def _visitor(kind: type, node: Node | None) -> _Visitor:
    if node is None:
        return _visit_leaf if issubclass(kind, LEAVES) else _visit_atom
    if kind in _BUILT_IN and not is_registered(kind):
        return _BUILT_IN[kind]
    return _visitor_of(node)


def _remember(table: dict[type, T], kind: type, known: T) -> T:
    if len(table) >= _MOST_TYPES:
        table.clear()
    table[kind] = known
    return known


def forget() -> None:
    """Forget all types, because something else is a container now."""
    global _NODES, _VISITORS  # noqa: PLW0603 - a table in use may yet be written to
    _NODES = {}
    _VISITORS = {}


# --- paths -------------------------------------------------------------------------


def step(node: Node, key: object) -> str:
    """Write one step into a container: ``.name`` or ``['key']``."""
    return node.step(key)


def path_pieces(error: BaseException) -> list[str]:
    """Return the steps that *error* has come up, from the last to the first."""
    pieces: list[str] = error.__dict__.setdefault("_unfussy_path", [])
    return pieces


def pop_path(error: BaseException) -> str:
    """Take the path off *error*: where in the tree it was raised."""
    return "".join(reversed(error.__dict__.pop("_unfussy_path", [])))
