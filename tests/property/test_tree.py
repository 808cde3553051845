"""Laws of trees: mapping is a functor, and it leaves its input alone."""

from collections.abc import Sized

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.snapshots import snapshot
from tests.strategies import Leaf, forests, leaves
from unfussy import auto_device, tree_leaves, tree_map, tree_paths
from unfussy._traced_tree import visit_traced
from unfussy._tree import node_for, visit

pytestmark = pytest.mark.property


NUMBERS = st.integers(1, 3).map(torch.ones) | st.integers(1, 3).map(np.ones)


class OnMeta(nn.Linear):
    """Gives its input back, moved."""

    def __init__(self):
        super().__init__(1, 1, device="meta")

    @auto_device
    def moved(self, x):
        return x


def increased(leaf):
    return Leaf(leaf.value + 1) if isinstance(leaf, Leaf) else leaf


def doubled(leaf):
    return Leaf(leaf.value * 2) if isinstance(leaf, Leaf) else leaf


def skeleton(tree):
    """Describe *tree* but for its leaves."""
    return snapshot(tree, lambda leaf: "leaf")


def values(tree):
    """Describe *tree* with the values of its leaves."""
    return snapshot(tree, lambda leaf: leaf.value)


def containers(tree):
    """Yield *tree* and what it holds, unless they are leaves."""
    if (node := node_for(type(tree))) is not None:
        yield tree
        for _, child in node.children(tree):
            yield from containers(child)


@given(tree=forests(leaves()))
def test_where_nothing_changes_the_same_object_comes_back(tree):
    assert tree_map(lambda leaf: leaf, tree) is tree


@given(tree=forests(leaves()))
def test_mapping_twice_is_mapping_the_composition(tree):
    twice = tree_map(doubled, tree_map(increased, tree))

    assert values(twice) == values(tree_map(lambda x: doubled(increased(x)), tree))


@given(tree=forests(leaves()))
def test_each_leaf_is_visited_once_and_in_order(tree):
    visited = []

    tree_map(visited.append, tree)

    assert [*map(id, visited)] == [*map(id, tree_leaves(tree))]


@given(tree=forests(leaves()))
def test_no_leaf_is_overlooked(tree):
    held = []

    snapshot(tree, held.append)

    assert {*map(id, held)} == {id(x) for x in tree_leaves(tree) if type(x) is Leaf}


@given(tree=forests(leaves()))
def test_no_leaf_is_left_behind(tree):
    old, new = [], []
    snapshot(tree, old.append)

    snapshot(tree_map(increased, tree), new.append)

    assert {*map(id, old)}.isdisjoint(map(id, new))


@given(tree=forests(leaves()))
def test_the_input_is_left_alone(tree):
    before = snapshot(tree)

    tree_map(increased, tree)

    assert snapshot(tree) == before


@given(tree=forests(leaves()))
def test_types_keys_order_and_attributes_are_kept(tree):
    mapped = tree_map(increased, tree)

    assert skeleton(mapped) == skeleton(tree)


@given(tree=forests(leaves()))
def test_every_leaf_is_replaced_where_it_stands(tree):
    mapped = dict(tree_paths(tree_map(lambda leaf: (leaf,), tree)))

    assert mapped == {f"{path}[0]": leaf for path, leaf in tree_paths(tree)}


@given(tree=forests(leaves()))
def test_what_holds_the_changed_leaf_is_copied_and_nothing_else(tree):
    originals = {id(container) for container in containers(tree)}
    for leaf in tree_leaves(tree):
        new = object()

        mapped = tree_map(lambda x, old=leaf, new=new: new if x is old else x, tree)

        for container in containers(mapped):
            changed = any(x is new for x in tree_leaves(container))
            assert changed == (id(container) not in originals)


@given(tree=forests(leaves()))
def test_a_path_leads_to_its_leaf(tree):
    for path, leaf in tree_paths(tree):
        assert eval(f"tree{path}") is leaf  # noqa: S307


@given(tree=forests(leaves()))
def test_an_error_names_the_path_of_its_leaf(tree):
    for i, (path, _) in enumerate(tree_paths(tree)):
        countdown = iter(range(i, -1, -1))  # zero at this leaf

        with pytest.raises(ZeroDivisionError) as caught:
            tree_map(lambda _, countdown=countdown: 1 / next(countdown), tree)

        notes = getattr(caught.value, "__notes__", [])
        assert notes == ([f"at tree{path}"] if path else [])


@given(tree=forests(leaves() | NUMBERS), everything=st.booleans())
def test_the_form_that_dynamo_follows_gives_the_same(tree, everything):
    def changed(leaf):
        return increased(leaf) if isinstance(leaf, Leaf) else repr(leaf)

    traced = visit_traced(tree, changed, everything)

    assert values(traced) == values(visit(tree, changed, everything))


@given(tree=forests(NUMBERS | leaves() | st.text(max_size=2)))
def test_a_decorated_method_moves_every_tensor_and_array_and_nothing_else(tree):
    moved = OnMeta().moved(tree)

    after = dict(tree_paths(moved))
    for path, leaf in tree_paths(tree):
        new = after.pop(path)
        if isinstance(leaf, (torch.Tensor, np.ndarray)):
            assert new.is_meta
            assert new.shape == leaf.shape
        else:
            assert new is leaf
    assert not after


@given(tree=forests(leaves()))
def test_a_decorated_method_gets_the_same_object_if_nothing_moves(tree):
    assert OnMeta().moved(tree) is tree


@given(tree=forests(st.sampled_from([torch.ones(1), torch.ones(2), np.ones(3)])))
def test_what_stands_in_two_places_stays_one_object_when_moved(tree):
    after = {}
    pairs = zip(tree_leaves(tree), tree_leaves(OnMeta().moved(tree)), strict=True)

    for old, new in pairs:
        assert after.setdefault(id(old), new) is new


@given(tree=forests(leaves()))
def test_what_is_generated_can_be_printed_and_counted(tree):
    assert repr(tree)
    for container in filter(lambda x: isinstance(x, Sized), containers(tree)):
        assert len(container) == len(list(container))
