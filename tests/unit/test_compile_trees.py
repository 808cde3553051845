"""Inputs and results of any nesting are followed into compiled programs."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.modules import Plain, embedding
from tests.records import Frozen, Pair, Record
from unfussy import (
    TensorLike,
    auto_device,
    autocast_policy,
    inference,
    returns,
)

X = torch.linspace(-1, 1, 12).reshape(4, 3)


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


def compiled(fn, *, fullgraph=True):
    return torch.compile(fn, backend="eager", fullgraph=fullgraph)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_follow_the_module_under_compile(dtype):
    model = embedding(Plain, inference, auto_device)().double()
    array = X.numpy().astype(dtype)

    def embed(x):
        return model.embed(x).double()

    if dtype is np.float64:
        assert_close(compiled(embed)(array), embed(array))
    single = embedding(Plain, inference, auto_device)()
    if dtype is not np.int64:
        result = compiled(single.embed)(array)
        assert result.dtype is torch.float32
        assert_close(result, single.embed(array))


def leaf(tree):
    return tree.x if hasattr(tree, "x") else tree["x"]


TREES = {
    "dict": lambda x: {"x": x, "note": "n", "rest": [x, (x, None)]},
    "ordered": lambda x: OrderedDict(x=x, n=3),
    "named": lambda x: Pair(x),
    "record": lambda x: Record(x),
    "frozen": lambda x: Frozen(x),
}


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_nested_inputs_and_results_are_followed_into_the_graph(make):
    class Treeish(Plain):
        @inference
        @auto_device
        @autocast_policy("bf16")
        def embed(self, tree):
            return make(self.net(leaf(tree)))

    model = Treeish()

    result = compiled(model.embed)(make(X.double()))

    assert type(result) is type(make(X))
    assert leaf(result).dtype is torch.float32
    assert_close(leaf(result), leaf(model.embed(make(X.double()))))


def test_other_containers_leave_the_graph_and_are_mapped_all_the_same():
    class Treeish(Plain):
        @inference
        @auto_device
        def embed(self, tree):
            return self.net(tree[0])

    model = Treeish()

    result = compiled(model.embed, fullgraph=False)(deque([X.double()]))

    assert_close(result, model.net(X).detach())


def test_lists_of_numbers_leave_the_graph_and_are_read_all_the_same():
    class Numbers(Plain):
        @inference
        @auto_device
        def embed(self, x: TensorLike):
            return self.net(x)

    model = Numbers()

    result = compiled(model.embed, fullgraph=False)(X.tolist())

    assert_close(result, model.net(X).detach())
    assert_close(compiled(model.embed)(X), result)


@pytest.mark.parametrize("kind", ["numpy", "mirror", "tensor"])
@pytest.mark.parametrize("given", [X, X.numpy()], ids=["tensor", "array"])
def test_results_have_the_form_that_is_asked_for_under_compile(kind, given):
    class Formed(Plain):
        @inference
        @auto_device
        @returns(kind, device="input")
        @autocast_policy("bf16", outputs="keep")
        def embed(self, x):
            return {"y": self.net(x)}

    model = Formed()

    result = compiled(model.embed, fullgraph=False)(given)

    expected = model.embed(given)
    assert type(result["y"]) is type(expected["y"])
    assert result["y"].dtype == expected["y"].dtype
    assert_close(result, expected)


def test_skipped_arguments_are_left_alone_under_compile():
    class Skipping(Plain):
        @auto_device(skip="y")
        def embed(self, x, *, y):
            return self.net(x).detach(), y

    model = Skipping()

    _, kept = compiled(model.embed)(X.double(), y=X.double())

    assert kept.dtype is torch.float64


def test_copies_are_made_under_compile():
    class Writing(Plain):
        @auto_device(copy=True)
        def embed(self, x):
            return x.add_(1)

    x = X.clone()

    compiled(Writing().embed)(x)

    assert_close(x, X)


class Config:
    scale = 2


def test_other_objects_among_the_arguments_stay_in_the_graph():
    class Scaled(Plain):
        @inference
        @auto_device
        def embed(self, x, config, device, *rest, scale=None, **others):
            return self.net(x) * config.scale * others["more"]

    model, config = Scaled(), Config()

    result = compiled(
        lambda x: model.embed(x, config, torch.device("cpu"), None, more=2, scale=1.0)
    )(X)

    assert_close(result, model.net(X).detach() * 4)


def test_distributions_among_the_results_are_raised_outside_the_graph():
    class Drawing(Plain):
        @inference
        @autocast_policy("bf16")
        def embed(self, x):
            mean = self.net(x)
            return torch.distributions.Normal(mean, mean.abs() + 1, validate_args=False)

    model = Drawing()

    result = compiled(model.embed, fullgraph=False)(X)

    assert result.mean.dtype is torch.float32
    assert_close(result.mean, model.embed(X).mean)


@pytest.mark.parametrize(
    ("setting", "dtype"), [("keep", torch.float64), ("float32", torch.float32)]
)
def test_double_precision_is_kept_or_cast_under_compile(setting, dtype):
    @auto_device(float64=setting)
    def through(module, x):
        return x

    double = nn.Linear(3, 3).double()

    assert compiled(lambda x: through(double, x))(X.double()).dtype is dtype


def test_arrays_for_a_module_without_tensors_take_the_default_precision():
    @auto_device
    def through(module, x, y):
        return x + 0, y + 0

    array, tensor = compiled(lambda x, y: through(nn.ReLU(), x, y))(
        X.double().numpy(), X.double()
    )

    assert array.dtype is torch.float32
    assert tensor.dtype is torch.float64
