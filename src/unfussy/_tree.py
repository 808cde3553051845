"""
The one recursive mapping: functions over nested containers of anything.

A *tree* is a container whose children are trees: a list, tuple, named tuple,
mapping, dataclass, record of attrs, namespace, deque, packed sequence, probability
distribution, or whatever was taught by `register`. Everything else is a *leaf*,
strings, sets and None included. What counts as a container is decided in `_nodes`.

Every decorator reaches arguments and results through this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch

from unfussy._nodes import Node, name_or_number, teach
from unfussy._traced_tree import visit_traced
from unfussy._visit import (
    Tree,
    forget,
    node_for,
    path_pieces,
    pop_path,
    step,
    visit,
)
from unfussy.errors import TreeError

__all__ = [
    "Tree",
    "node_for",
    "pop_path",
    "register",
    "step",
    "too_deep",
    "tree_leaves",
    "tree_map",
    "tree_paths",
    "visit",
]

T = TypeVar("T")


def tree_map(fn: Callable[[Any], Any], tree: Tree, /) -> Tree:
    """
    Replace every leaf ``x`` of *tree* by ``fn(x)``.

    The result has the container types, keys, order and extra attributes of *tree*,
    which is left alone. A container in which nothing changed is not copied: the
    result holds the very same object. Leaves are visited once for each place they
    stand in, in the order of `tree_leaves`.

    Args:
        fn: Called with one leaf at a time.
        tree: What to map over; a bare leaf is a tree too.

    Raises:
        Exception: Whatever *fn* raises, with a note saying at which leaf.
        TreeError: If a container holds itself, is nested deeper than Python can
            follow, or cannot be rebuilt.

    Examples:
        >>> tree_map(len, {"name": "ab", "parts": ["c", ("", "de")]})
        {'name': 2, 'parts': [1, (0, 2)]}
        >>> tree_map(int, {"parts": ["1", "two"]})
        Traceback (most recent call last):
        ValueError: invalid literal for int() with base 10: 'two'
        at tree['parts'][1]
    """
    if torch.compiler.is_dynamo_compiling():
        return visit_traced(tree, fn, True)  # noqa: FBT003 - positional, as below
    try:
        return visit(tree, fn, True)  # noqa: FBT003 - positional for speed
    except Exception as error:
        if isinstance(error, RecursionError) and _is_of_tree(error):
            raise too_deep(tree) from None
        if path := pop_path(error):
            error.add_note(f"at tree{path}")
        raise


def tree_leaves(tree: Tree, /) -> Iterator[Any]:
    """
    Yield the leaves of *tree* depth first, in the order they are written.

    Raises:
        TreeError: If a container holds itself.

    Examples:
        >>> list(tree_leaves({"b": [1, 2], "a": 3}))
        [1, 2, 3]
    """
    for _, leaf in _walk(tree):
        yield leaf


def tree_paths(tree: Tree, /) -> Iterator[tuple[str, Any]]:
    """
    Yield every leaf of *tree* with its path, written as Python would reach it.

    Raises:
        TreeError: If a container holds itself.

    Examples:
        >>> from types import SimpleNamespace
        >>> dict(tree_paths({"a": [1, SimpleNamespace(b=2)]}))
        {"['a'][0]": 1, "['a'][1].b": 2}
    """
    for levels, leaf in _walk(tree):
        yield _path(levels), leaf


def register(
    kind: type[T],
    /,
    *,
    children: Callable[[T], Mapping[Any, Any]],
    rebuild: Callable[[T, dict[Any, Any]], T],
) -> None:
    """
    Teach every function of unfussy that *kind* is a container.

    Subclasses of *kind* are containers too. Registering a type again replaces what
    was known about it, built-in containers included.

    Args:
        kind: The type.
        children: Gives the children of one container, under names or numbers that
            error messages can show.
        rebuild: Makes a container like the given one from all its new children.
            It must leave the given one alone.

    Examples:
        >>> class Box:
        ...     def __init__(self, item):
        ...         self.item = item
        >>> register(
        ...     Box,
        ...     children=lambda box: {"item": box.item},
        ...     rebuild=lambda box, new: Box(new["item"]),
        ... )
        >>> from unfussy import tree_map
        >>> tree_map(lambda x: x + 1, Box(1)).item
        2
    """
    node = Node(
        children=lambda tree: children(tree).items(),
        replace=lambda tree, new: rebuild(tree, {**children(tree), **new}),
        step=name_or_number,
    )
    teach(kind, node)
    forget()


# --- walking -----------------------------------------------------------------------


@dataclass(slots=True)
class _Level:
    """A container on the way down, and the child under *key* that is looked at."""

    container: Any
    node: Node | None
    children: Iterator[tuple[Any, Any]]
    key: Any = None


_Levels: TypeAlias = dict[int, _Level]


def _walk(tree: Tree, *, twice: bool = True) -> Iterator[tuple[_Levels, Any]]:
    """
    Yield the leaves of *tree*, each with the levels above it, which go on changing.

    Without recursion, so that no tree is too deep. Unless *twice*, a container that
    stands in two places is opened in the first one only.
    """
    levels: _Levels = {0: _Level(None, None, iter([(None, tree)]))}
    opened: dict[int, Any] = {}
    while levels:
        level = next(reversed(levels.values()))
        for level.key, child in level.children:  # noqa: B020 - another one
            if (node := node_for(type(child))) is None:
                yield levels, child
            elif id(child) in levels:
                path, kind = _path(levels), type(child).__name__
                raise TreeError(f"the {kind} at tree{path} holds itself")
            elif twice or id(child) not in opened:
                opened[id(child)] = child
                levels[id(child)] = _Level(child, node, iter(node.children(child)))
                break
        else:
            levels.popitem()


def _path(levels: _Levels) -> str:
    return "".join(step(x.node, x.key) for x in levels.values() if x.node is not None)


def too_deep(tree: Tree, /) -> TreeError:
    """Return the error for a tree that exhausted the recursion limit."""
    try:
        for _ in _walk(tree, twice=False):
            pass
    except TreeError as error:
        return error
    return TreeError(
        "the tree is nested deeper than Python's recursion limit allows, here "
        f"{sys.getrecursionlimit()}; flatten it, or raise the limit with "
        "sys.setrecursionlimit()"
    )


def _is_of_tree(error: RecursionError) -> bool:
    """Tell whether the way down the tree, and not *fn*, took most of the frames."""
    trace, frames = error.__traceback__, 0
    while trace is not None:
        trace, frames = trace.tb_next, frames + 1
    return len(path_pieces(error)) > frames / 3  # a level takes one frame, or two
