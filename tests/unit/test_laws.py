"""The laws offered to users hold where they should and fail where they should."""

import functools
import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from tests.modules import Normed
from unfussy import auto_device, batched, inference, returns
from unfussy.testing import (
    assert_batched_equals_whole,
    assert_compiled_equals_eager,
    assert_copies_agree,
    assert_modes_restored,
    assert_no_trace,
    assert_orders_agree,
    leaves_no_trace,
)


class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)

    @inference
    def embed(self, x):
        return {"z": self(x), "name": "z"}

    def centred(self, x):
        return x - x.mean(0)

    def sized(self, x):
        return {"z": x, "names": [str(len(x))] * len(x)}

    def ragged(self, x):
        return [*x] if len(x) > 1 else {"x": x}


x = torch.rand(5, 3)


def test_a_call_that_leaves_no_trace_gives_its_result():
    net = Net()

    result = assert_no_trace(net, lambda: net.embed(x))

    torch.testing.assert_close(result["z"], net(x).detach())


def test_a_trace_is_named_also_when_the_call_fails():
    net = Net()

    def fail():
        net.eval()
        raise ZeroDivisionError

    with pytest.raises(AssertionError, match=r"the call changed the module\.training"):
        assert_no_trace(net, fail)


@torch.inference_mode()
def keep_what_inference_makes(net, *_):
    net.table = [x + 1]


TRACES = {
    "norm.training": lambda net, *_: net.norm.train(mode=False),
    "net.weight": lambda net, *_: net.net.weight.data.add_(1),
    "what net.bias is": lambda net, *_: net.net.requires_grad_(requires_grad=False),
    "net.bias": lambda net, *_: net.net.register_parameter("bias", None),
    "norm.running_mean": lambda net, *_: net.double(),
    "norm.num_batches_tracked": lambda net, *_: net.norm(torch.ones(2, 3)),
    "the gradient of net.weight": lambda net, *_: net(x).sum().backward(),
    "more.training": lambda net, *_: net.add_module("more", nn.ReLU()),
    "the hooks of net": lambda net, *_: net.net.register_forward_hook(print),
    ".table, which now holds": keep_what_inference_makes,
    "torch's random state": lambda *_: torch.rand(1),
    "NumPy's random state": lambda *_: np.random.rand(),  # noqa: NPY002
    "Python's random state": lambda *_: random.random(),
    "inputs[0]['y']": lambda _, inputs, __: inputs["y"].add_(1),
    "what inputs[0]['y'] is": lambda _, inputs, __: inputs.update(y=x.clone()),
    "what inputs[0]['z'] is": lambda _, inputs, __: inputs.update(z=0),
    "inputs[1]": lambda _, __, array: array.fill(1),
    "inputs[0]['t']": lambda _, inputs, __: inputs["t"].resize_(1),
}


@pytest.mark.parametrize("name", TRACES)
def test_every_trace_is_noticed(name):
    net, inputs, array = Normed(), {"y": x.clone(), "t": x.clone()}, np.zeros(2)

    with (
        torch.random.fork_rng(),
        pytest.raises(AssertionError, match=f"the call changed .*{re.escape(name)}"),
        leaves_no_trace(net, inputs, array),
    ):
        TRACES[name](net, inputs, array)


def test_modes_that_are_not_put_back_are_noticed():
    net = Normed()

    assert assert_modes_restored(net, lambda: torch.rand(1).shape) == (1,)
    with pytest.raises(AssertionError, match="the call changed drop.training"):
        assert_modes_restored(net, net.drop.eval)
    with torch.no_grad(), pytest.raises(AssertionError, match="grad mode"):
        assert_modes_restored(net, lambda: torch.set_grad_enabled(True))
    with torch.autocast("cpu"), pytest.raises(AssertionError, match="autocast on cpu"):
        assert_modes_restored(net, lambda: torch.set_autocast_enabled("cpu", False))  # noqa: FBT003


def test_inputs_that_hold_no_number_are_unchanged():
    with leaves_no_trace(Net(), torch.tensor([float("nan")])):
        pass


def test_copies_agree():
    assert_copies_agree(Normed().eval(), lambda net: net(x))


def test_copies_that_differ_are_found():
    class Forgetful(nn.Linear):
        def __deepcopy__(self, memo):
            return type(self)(3, 3)

    class ForgetfulPickle(nn.Linear):
        def __deepcopy__(self, memo):
            return self

        def __reduce__(self):
            return nn.Linear, (3, 3)

    with pytest.raises(AssertionError, match="of a deep copy: "):
        assert_copies_agree(Forgetful(3, 3), lambda net: net(x))
    with pytest.raises(AssertionError, match="of a pickled copy: "):
        assert_copies_agree(ForgetfulPickle(3, 3), lambda net: net(x))


def test_a_gradient_that_changes_is_a_trace():
    net = Net()
    net(x).sum().backward()

    with (
        pytest.raises(AssertionError, match="the gradient of weight"),
        leaves_no_trace(net),
    ):
        net.weight.grad += 1


def test_modules_without_values_can_be_checked():
    with leaves_no_trace(Net().to("meta")):
        pass


def test_orders_of_decorators_agree():
    assert_orders_agree(Net.centred, [inference, auto_device, batched], Net(), x)


def test_orders_that_change_the_plan_are_found():
    def returns_once(fn):
        return fn if hasattr(fn, "__unfussy__") else returns("numpy")(fn)

    with pytest.raises(
        AssertionError, match="the order of decorators changes the plan"
    ):
        assert_orders_agree(Net.centred, [returns_once, inference], Net(), x)


def test_orders_that_change_results_are_found():
    def add_one(fn):
        return functools.wraps(fn)(lambda *args: fn(*args) + 1)

    def double(fn):
        return functools.wraps(fn)(lambda *args: fn(*args) * 2)

    with pytest.raises(AssertionError, match="in another order of decorators: "):
        assert_orders_agree(lambda net, x: x, [add_one, double], Net(), x)


def test_a_pure_method_is_the_same_in_chunks():
    assert_batched_equals_whole(Net().embed, x)
    assert_batched_equals_whole(Net().embed, x, sizes=[4])


def test_items_that_see_each_other_are_found():
    with pytest.raises(AssertionError, match="in chunks of 1: "):
        assert_batched_equals_whole(Net().centred, x)


def test_values_and_forms_that_depend_on_the_chunk_are_found():
    with pytest.raises(
        AssertionError, match="in chunks of 2, the result holds '2', not"
    ):
        assert_batched_equals_whole(Net().sized, x, sizes=[2])
    with pytest.raises(AssertionError, match="in chunks of 3, the result is .* not"):
        assert_batched_equals_whole(lambda x: x if len(x) > 3 else [*x], x, sizes=[3])


def test_compiled_methods_agree():
    assert_compiled_equals_eager(Net().embed, x)


def test_arrays_are_compared_too():
    assert_orders_agree(lambda x: np.ones(3), [inference], x)


def test_a_decorator_that_the_compiler_does_not_see_is_found():
    def unseen(x):
        return x if torch.compiler.is_compiling() else x.to(torch.bfloat16)

    with pytest.raises(AssertionError, match="compiled, the result is .* not"):
        assert_compiled_equals_eager(unseen, x)
