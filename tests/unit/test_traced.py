"""The form of a call that compilers follow, run by Python itself."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.modules import EVERY_KIND, Normed
from tests.records import Frozen, Pair, Record
from unfussy import (
    ImageLike,
    TensorLike,
    auto_device,
    autocast_policy,
    batched,
    inference,
    options,
    register,
    returns,
)
from unfussy._compile import planned
from unfussy._traced import LeaveGraph, make_traced
from unfussy._traced_tree import first_leaf, is_followed, visit_traced

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def traced(fn, general=None):
    """Return a decorated function in the form that compilers follow."""
    record = planned(fn)
    call = make_traced(record.raw, record.planner, general)
    return lambda *args, **kwargs: call(args, kwargs)


@pytest.fixture
def in_graph(monkeypatch):
    """Let the code believe that Dynamo traces it."""
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: True)


class Box:
    def __init__(self, x):
        self.x = x


register(Box, children=lambda b: {"x": b.x}, rebuild=lambda b, new: Box(new["x"]))

TREES = {
    "tensor": lambda x: x,
    "dict": lambda x: {"x": x, "note": "n", "rest": [x, (x, None)]},
    "ordered": lambda x: OrderedDict(x=x, n=3),
    "named": Pair,
    "record": Record,
    "frozen": Frozen,
    "deque": lambda x: deque([x, 3]),
    "registered": Box,
}


# --- calls -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", ["no_grad", "inference"])
def test_modules_are_called_as_in_eager_mode(kind, training, mode):
    @inference(mode=mode)
    @auto_device
    @autocast_policy("bf16")
    def embed(module, x):
        return module(x)

    module = kind().train(training)
    flags = [part.training for part in module.modules()]

    result = traced(embed)(module, X.double().numpy())

    assert_close(result, embed(module, X))
    assert not result.requires_grad
    assert [part.training for part in module.modules()] == flags


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        (autocast_policy, torch.float32),
        (autocast_policy("fp32", outputs="keep"), torch.float32),
        (autocast_policy("bf16", outputs="keep"), torch.bfloat16),
        (autocast_policy("inherit"), torch.bfloat16),
        (autocast_policy(outputs="keep"), torch.bfloat16),
    ],
    ids=["auto", "fp32", "bf16", "inherit", "keep"],
)
def test_a_callers_autocast_is_respected_or_not(policy, dtype):
    @policy
    def embed(module, x):
        return module(x)

    module = nn.Linear(3, 3)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert traced(embed)(module, X).dtype is dtype is embed(module, X).dtype


def test_results_of_inference_mode_are_kept_where_that_is_asked_for():
    @inference(mode="inference", result="keep", eval=False)
    def embed(module, x):
        return module(x), module.training

    result, training = traced(embed)(nn.Linear(3, 3), X)

    assert result.is_inference()
    assert training


def test_an_error_puts_the_flags_back():
    @inference
    def fail(module, x):
        raise KeyError

    module = Normed()

    with pytest.raises(KeyError):
        traced(fail)(module, X)
    assert all(part.training for part in module.modules())


def test_skipped_arguments_are_left_alone():
    @auto_device(skip=("y", "rest"))
    def through(module, x, y, *rest):
        return x, y, rest[0]

    x, y, rest = traced(through)(nn.Linear(3, 3), X.double(), X.double(), X.double())

    assert x.dtype is torch.float32
    assert y.dtype is rest.dtype is torch.float64


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
@pytest.mark.parametrize("kind", ["tensor", "numpy", "mirror"])
@pytest.mark.parametrize("device", ["keep", "cpu", "input"])
@pytest.mark.parametrize("array", [True, False])
def test_results_have_the_form_that_is_asked_for(make, kind, device, array):
    @returns(kind, device=device)
    @auto_device
    @autocast_policy("bf16")
    @batched(size=2, keep="cpu")
    @inference
    def embed(module, x):
        return make(module(x))

    module, x = nn.Linear(3, 3), X.numpy() if array else X

    result = first_leaf(traced(embed)(module, x))

    expected = first_leaf(embed(module, x))
    assert type(result) is type(expected)
    assert_close(result, expected)


def test_arrays_among_the_results_become_tensors():
    @returns(device="input")
    def made():
        return np.zeros(3)

    assert_close(traced(made)(), torch.zeros(3, dtype=torch.float64))


def test_methods_with_pictures_and_numbers_follow_what_is_a_tensor(in_graph):
    @auto_device
    def embed(module, x: TensorLike, pictures: ImageLike, n=1):
        return x, pictures

    x, pictures = traced(embed)(nn.Linear(3, 3), {"x": [X]}, pictures=X, n=3)

    assert x["x"][0] is X
    assert pictures is X


# --- leaving the graph -------------------------------------------------------------


def outside(args, kwargs):
    return "outside"


@pytest.mark.parametrize(
    "x",
    [[1.0, 2.0], {"x": [[1]]}, ([[1.0]],), deque([X])],
    ids=["numbers", "dict", "tuple", "deque"],
)
def test_inputs_that_have_to_be_read_leave_the_graph(in_graph, x):
    @auto_device
    def embed(module, x: TensorLike):
        return x

    assert traced(embed, outside)(nn.Linear(3, 3), x) == "outside"


def test_submodules_kept_in_float32_leave_the_graph(in_graph):
    @autocast_policy("bf16", keep_fp32="0")
    def embed(module, x):
        return x

    assert traced(embed, outside)(nn.Linear(3, 3), X) == "outside"


def test_options_leave_the_graph(in_graph):
    @inference
    def embed(module, x):
        return "inside"

    with options(precision="fp32"):
        assert traced(embed, outside)(nn.Linear(3, 3), X) == "outside"
    assert traced(embed, outside)(nn.Linear(3, 3), X) == "inside"


def test_results_of_other_containers_are_finished_outside_the_graph(in_graph):
    @returns("numpy")
    def embed(module, x):
        return deque([x])

    (result,) = traced(embed)(nn.Linear(3, 3), X)

    assert isinstance(result, np.ndarray)


def test_options_are_followed_by_export():
    @inference
    def embed(module, x):
        return "inside"

    with options(precision="fp32"):
        assert traced(embed, outside)(nn.Linear(3, 3), X) == "outside"


def test_generators_leave_the_graph(in_graph):
    @inference
    def stream(module, x):
        yield x

    with pytest.raises(LeaveGraph, match=r"stream\(\) yields or awaits"):
        stream(nn.Linear(3, 3), X)


# --- trees -------------------------------------------------------------------------


@pytest.mark.parametrize("name", TREES)
def test_trees_are_mapped(name):
    tree = TREES[name](X)

    result = visit_traced(tree, lambda leaf: leaf + 1)

    assert type(result) is type(tree)
    assert_close(first_leaf(result), X + 1)
    assert first_leaf(tree) is X
    assert is_followed(tree) is (name not in {"deque", "registered"})


def test_a_tree_without_tensors_has_no_first_leaf():
    assert first_leaf({"x": [1, None, "x"]}) is None
