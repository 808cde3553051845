"""What the laws are tried on: trees of every container, and maps of the plane."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from torch.utils import _pytree

from unfussy import register
from unfussy.testing._trees import containers
from unfussy.testing._trees import trees as built_in_trees

__all__ = ["Leaf", "forests", "leaves", "similarities", "trees"]


class Leaf:
    """A leaf that is equal to nothing but itself."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Leaf({self.value!r})"


def leaves():
    """Generate leaves that can be told apart."""
    return st.integers(0, 9).map(Leaf)


def trees(leaves, **options):
    """Generate trees of built-in containers, of attrs, and of what is registered."""
    return built_in_trees(leaves, more=_MORE, **options)


def forests(leaves):
    """Generate trees, the same tree twice, and one container of every kind there is."""
    kinds = [*containers(leaves), *(make(leaves) for make in _MORE)]
    twice = trees(leaves, max_leaves=4).map(lambda tree: [tree, tree])
    return trees(leaves) | twice | st.tuples(*kinds).map(list)


# --- containers of other packages --------------------------------------------------


@attrs.define(eq=False)
class Defined:
    first: Any
    second: Any


@attrs.frozen(slots=False, eq=False)
class FrozenDefined:
    first: Any
    second: Any


class Namespace(dict):
    """A dictionary whose items are its attributes."""

    def __init__(self, items=()):
        super().__init__(items)
        self.__dict__ = self


class Tally(Counter):
    """A counter, which adds where others would replace."""


class Box:
    """A container that is registered here."""

    def __init__(self, item, label="a box"):
        self.item, self.label = item, label

    def __repr__(self):
        return f"Box({self.item!r})"


class Bag:
    """A container that is registered with PyTorch."""

    def __init__(self, items):
        self.items = items

    def __repr__(self):
        return f"Bag({self.items!r})"

    def __getitem__(self, i):
        return self.items[i]


@dataclass(eq=False)
class Model(dict):
    """A dictionary whose items are also its fields, as Transformers' results are."""

    logits: Any
    hidden: Any

    def __post_init__(self):
        self.update(vars(self))


register(
    Box,
    children=lambda box: {"item": box.item},
    rebuild=lambda box, new: Box(new["item"], box.label),
)
_pytree.register_pytree_node(
    Bag, lambda bag: (bag.items, len(bag.items)), lambda items, _: Bag(list(items))
)

_KEYS = st.sampled_from(["a", "b", "c"])
_MORE = (
    lambda children: _pairs(children).map(lambda pair: Defined(*pair)),
    lambda children: _pairs(children).map(lambda pair: FrozenDefined(*pair)),
    lambda children: _pairs(children).map(lambda pair: Model(*pair)),
    lambda children: st.dictionaries(_KEYS, children, max_size=2).map(Namespace),
    lambda children: st.dictionaries(_KEYS, children, max_size=2).map(_tally),
    lambda children: st.tuples(children).map(lambda item: Box(*item, label="mine")),
    lambda children: st.lists(children, max_size=3).map(Bag),
)


def _pairs(children):
    return st.tuples(children, children)


def _tally(items):
    tally = Tally()
    for key, child in items.items():  # not `update`, which counts
        tally[key] = child
    return tally


@st.composite
def similarities(draw):
    """A rotation, a scale and a shift of the plane, (2, 3)."""
    angle = draw(st.floats(-math.pi, math.pi))
    scale = draw(st.floats(0.05, 20))
    shift = draw(st.tuples(*[st.floats(-500, 500)] * 2))
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[a, -b, shift[0]], [b, a, shift[1]]], dtype=torch.float64)
