"""Laws of results: one form for all, whatever their nesting, with their values kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.array_strategies import bits, low_tensors, shared, tensors
from unfussy import (
    auto_device,
    configure,
    inference,
    returns,
    tree_leaves,
    tree_map,
    tree_paths,
)
from unfussy._arrays import to_array
from unfussy._precision import to_float32
from unfussy.errors import NoDataError
from unfussy.testing.strategies import arrays, trees

pytestmark = pytest.mark.property


class Net(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.eval()

    @returns("mirror")
    @inference
    @auto_device(float64="keep")
    def mirror(self, x):
        return x

    @returns("numpy")
    def arrays(self, x):
        return x

    @returns("tensor", device="cpu")
    def tensors(self, x):
        return x


NET = Net()
LEAVES = tensors() | arrays() | st.sampled_from([None, "ab", np.array(["ab"])])


def first_is_array(tree):
    kinds = (np.ndarray, torch.Tensor)
    leaves = tree_leaves(tree)
    known = [x for x in leaves if isinstance(x, kinds) and not is_label(x)]
    return bool(known) and isinstance(known[0], np.ndarray)


def kinds_of(tree):
    plain = (np.ndarray, torch.Tensor)
    leaves = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, plain)]
    return {type(leaf) for leaf in leaves if not is_label(leaf)}


def is_label(leaf):
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind == "U"


@given(tree=trees(LEAVES))
def test_a_mirror_shows_the_kind_of_the_first_input_everywhere(tree):
    shown = NET.mirror([tree])  # a bare label is refused

    kind = np.ndarray if first_is_array(tree) else torch.Tensor
    assert kinds_of(shown) <= {kind}


@given(tree=trees(LEAVES))
def test_a_mirror_shows_the_values_that_were_given(tree):
    shown = NET.mirror([tree])  # a bare label is refused

    assert values(shown) == values(tree)


def values(tree):
    return [
        bits(to_array(leaf) if isinstance(leaf, torch.Tensor) else leaf)
        if isinstance(leaf, (torch.Tensor, np.ndarray))
        else leaf
        for leaf in tree_leaves(tree)
    ]


@given(tree=trees(LEAVES))
def test_arrays_of_results_are_those_of_their_tensors(tree):
    result = NET.arrays(tree)

    assert kinds_of(result) <= {np.ndarray} | kinds_of(tree) - {torch.Tensor}
    assert values(result) == values(tree)


@given(tree=trees(low_tensors()))
def test_low_precision_becomes_the_float32_of_the_same_value(tree):
    result = NET.arrays(tree)

    for array, tensor in zip(tree_leaves(result), tree_leaves(tree), strict=True):
        if isinstance(tensor, torch.Tensor):
            assert bits(array) == bits(tensor.to_dense().float().numpy())


@given(tree=trees(tensors() | st.just(torch.zeros(2, device="meta"))))
def test_errors_give_the_path_of_the_first_that_has_no_form(tree):
    bad = [path for path, x in tree_paths(tree) if getattr(x, "is_meta", False)]

    if not bad:
        NET.arrays(tree)
        return
    with pytest.raises(NoDataError) as caught:
        NET.arrays(tree)
    assert str(caught.value).startswith(f"Net.arrays(): result{bad[0]}: a meta tensor")


@given(tree=shared(low_tensors()))
def test_what_stands_in_several_places_is_cast_once(tree):
    raised = to_float32(tree)
    pairs = zip(tree_leaves(tree), tree_leaves(raised), strict=True)

    both = {(id(old), id(new)) for old, new in pairs}
    assert len(both) == len({old for old, _ in both})


@given(tree=trees(LEAVES))
def test_the_form_of_a_call_is_that_of_a_decorator(tree):
    asked = configure(NET.tensors, out="numpy")(tree)

    assert values(asked) == values(NET.arrays(tree))


@given(tree=trees(tensors() | st.integers()))
def test_a_result_that_has_its_form_already_is_the_same_object(tree):
    assert NET.tensors(tree) is tree


@given(tree=trees(tensors()))
def test_a_result_is_left_alone_while_it_is_converted(tree):
    before = list(tree_leaves(tree))

    NET.arrays(tree)

    assert all(a is b for a, b in zip(tree_leaves(tree), before, strict=True))


@given(tree=trees(tensors()), low=st.sampled_from([torch.float16, torch.bfloat16]))
def test_low_precision_comes_back_in_float32_and_nothing_else_changes(tree, low):
    def lower(x):
        is_single = isinstance(x, torch.Tensor) and x.dtype is torch.float32
        return x.to(low) if is_single else x

    lowered = tree_map(lower, tree)
    raised = list(tree_leaves(to_float32(lowered)))

    for new, old in zip(raised, tree_leaves(lowered), strict=True):
        if getattr(old, "dtype", None) in (torch.float16, torch.bfloat16):
            assert new.dtype == torch.float32
            assert torch.equal(new.nan_to_num(), old.float().nan_to_num())
        else:
            assert new is old
