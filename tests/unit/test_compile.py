"""Compiled and exported calls follow the plan as eager ones do."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.compiling import Model, X, compiled
from tests.modules import EVERY_KIND, Merging, Nested, Normed, Plain, embedding
from unfussy import (
    auto_device,
    autocast_policy,
    configure,
    inference,
    options,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


class Counter:
    """A backend that counts how often it compiles."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", ["embed", "forward", "around", "infer", "__call__"])
def test_a_compiled_method_is_one_graph_and_gives_what_eager_gives(name, backend):
    model = Model()
    method = getattr(model, name)

    result = compiled(method, backend)(X)

    expected = method(X)
    assert result.dtype is expected.dtype
    assert not result.requires_grad
    assert_close(result, expected)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_follows_the_plan_of_its_forward(backend):
    model = Model()

    result = compiled(model, backend)(X)

    assert not result.requires_grad
    assert_close(result, model(X))


def test_a_model_compiled_in_place_follows_the_plan_of_its_forward():
    model = Model()
    expected = model(X)

    model.compile(backend="eager", fullgraph=True)

    result = model(X)
    assert not result.requires_grad
    assert_close(result, expected)


@pytest.mark.parametrize("fullgraph", [True, False])
def test_a_compiled_caller_reaches_the_plan_of_a_decorated_callee(fullgraph):
    model = Model()

    @torch.compile(backend="eager", fullgraph=fullgraph)
    def caller(x):
        return model.embed(x + 1) * 2

    result = caller(X)
    assert result.dtype is torch.bfloat16
    assert not result.requires_grad


def test_a_decorator_above_torch_compile_is_followed():
    class Inside(Plain):
        @inference
        @auto_device
        @torch.compile(backend="eager", fullgraph=True)
        def embed(self, x):
            return self.net(x)

    model = Inside()

    result = model.embed(X.double().numpy())

    assert not result.requires_grad
    assert_close(result, model.net(X).detach())


def test_a_decorator_below_torch_compile_is_followed():
    class Outside(Plain):
        @torch.compile(backend="eager", fullgraph=True)
        @inference
        @auto_device
        def embed(self, x):
            return self.net(x)

    model = Outside()

    result = model.embed(X)

    assert not result.requires_grad
    assert_close(result, model.net(X).detach())


def test_a_caller_compiled_above_a_decorated_and_compiled_function_works():
    class Inside(Plain):
        @inference
        @torch.compile(backend="eager")
        def embed(self, x):
            return self.net(x)

    model = Inside()

    result = compiled(lambda x: model.embed(x) + 1)(X)

    assert not result.requires_grad


def test_a_method_is_compiled_once_for_equal_calls():
    counter, model = Counter(), Model()
    method = torch.compile(model.embed, backend=counter)

    for _ in range(5):
        method(X)

    assert counter.graphs == 1


def test_only_a_change_of_training_or_of_autocast_compiles_again():
    counter, model = Counter(), Model()
    method = torch.compile(model.embed, backend=counter)
    method(X)

    with torch.no_grad():
        method(X)
    model.net.double()
    model.net.float()
    method(X)

    assert counter.graphs <= 2
    model.eval()
    method(X)
    model.train()
    method(X)
    assert counter.graphs <= 3


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("training", [True, False])
def test_training_flags_are_switched_and_put_back_under_compile(kind, training):
    model = embedding(kind, inference, auto_device)().train(training)
    model.embed(X)  # fills what is filled lazily
    flags = [part.training for part in model.modules()]

    result = compiled(model.embed)(X)

    assert_close(result, model.embed(X))
    assert [part.training for part in model.modules()] == flags


def test_a_merging_module_is_merged_and_parted_again_under_compile():
    model = embedding(Merging, inference)()
    weight = model.weight.detach().clone()
    model.switches.clear()

    compiled(model.embed)(X)

    assert model.switches == [False, True]
    assert not model.merged
    assert_close(model.weight.detach(), weight)


def test_a_child_in_training_mode_on_purpose_is_left_so_under_compile():
    model = embedding(Normed, inference)().eval()
    model.drop.train()

    torch.manual_seed(0)
    result = compiled(model.embed)(X.expand(4, 3) + 10)

    assert (result == 0).any()


def test_gradients_flow_around_a_compiled_call():
    model = Model()
    x = X.clone().requires_grad_()

    loss = (compiled(model.embed)(x) * x).sum()

    loss.backward()
    assert_close(x.grad, model.embed(x).float(), rtol=0.02, atol=0.02)


def test_a_compiled_inference_call_gives_tensors_for_training():
    model = Model()

    result = compiled(model.infer)(X)

    model.net(result).sum().backward()
    assert model.net.weight.grad is not None


def test_results_stay_inference_tensors_in_eager_graphs_where_that_is_asked_for():
    kind = embedding(Plain, inference(mode="inference", result="keep"))

    result = compiled(kind().embed)(X)

    assert result.is_inference()


def test_a_callers_autocast_is_respected_or_not_as_in_eager():
    for policy in (
        autocast_policy,
        autocast_policy("fp32"),
        autocast_policy("inherit"),
    ):
        model = embedding(Plain, policy)()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected = model.embed(X)
            result = compiled(model.embed)(X)

        assert result.dtype is expected.dtype
        assert_close(result, expected)


def test_options_around_a_compiled_call_reach_it():
    model = Model()
    method = compiled(model.embed, fullgraph=False)
    method(X)

    with options(precision="fp32"):
        result = method(X)

    assert result.dtype is torch.float32
    assert method(X).dtype is torch.bfloat16


def test_a_whole_graph_refuses_options_around_it():
    model = Model()

    with (
        options(precision="fp32"),
        pytest.raises(torch._dynamo.exc.Unsupported),
    ):
        compiled(model.embed)(X)


def test_a_configured_method_is_compiled_with_its_settings():
    model = Model()
    configured = configure(model.embed, precision="fp32")

    result = compiled(lambda x: configured(x))(X)

    assert result.dtype is torch.float32


@autocast_policy("bf16", keep_fp32="body.0")
@inference
def keeping(self, x):
    return self(x)


def test_submodules_kept_in_float32_leave_the_graph():
    model = Nested().eval()

    result = compiled(lambda x: keeping(model, x), fullgraph=False)(X)

    assert torch.equal(result, keeping(model, X))


class Holder:
    def __init__(self):
        self.inference_module = Normed()

    @inference
    @auto_device
    def embed(self, x):
        return self.inference_module(x)


def test_an_object_that_holds_a_module_is_followed_under_compile():
    holder = Holder()

    result = compiled(lambda x: holder.embed(x))(X.double())

    assert result.dtype is torch.float32
    assert not result.requires_grad
    assert holder.inference_module.drop.training
    assert_close(result, holder.embed(X))


def test_static_and_class_methods_are_followed_under_compile():
    class Tools(Plain):
        @staticmethod
        @inference
        def double(x):
            return x * 2

        @classmethod
        @inference
        def triple(cls, x):
            return x * 3

    x = X.clone().requires_grad_()

    assert not compiled(Tools.double)(x).requires_grad
    assert not compiled(Tools.triple)(x).requires_grad


def test_an_error_in_a_compiled_method_puts_the_flags_back():
    class Failing(Normed):
        @inference
        def embed(self, x):
            raise ValueError("no")

    model = Failing()

    with pytest.raises(ValueError, match="no"):
        compiled(model.embed, fullgraph=False)(X)

    assert all(part.training for part in model.modules())


def test_generators_leave_the_graph_and_keep_their_plan():
    class Streaming(Plain):
        @inference
        def stream(self, x):
            for row in x:
                yield self.net(row)

    model = Streaming()

    def caller(x):
        return [y * 2 for y in model.stream(x + 1)]

    result = compiled(caller, fullgraph=False)(X)

    assert len(result) == 4
    assert not any(y.requires_grad for y in result)
    torch.compiler.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="yields or awaits"):
        compiled(caller)(X)


# --- corners -----------------------------------------------------------------------


def test_the_module_may_be_given_by_keyword_under_compile():
    def embed(module, x):
        return module(x)

    planned, model = inference(auto_device(embed)), Normed()

    result = compiled(lambda x: planned(x=x, module=model))(X.double())

    assert result.dtype is torch.float32
    assert not result.requires_grad
    assert model.training


def test_a_place_of_its_own_is_asked_for_under_compile():
    class Placed(Plain):
        inference_device = torch.device("meta")

        @auto_device
        def embed(self, x):
            return x + 0

    model = Placed()

    assert compiled(model.embed)(X).is_meta


def test_an_object_of_which_nobody_knows_where_it_runs_is_refused_under_compile():
    class Nowhere:
        @auto_device
        def embed(self, x):
            return x

    with pytest.raises(TypeError, match="cannot tell where Nowhere runs"):
        compiled(Nowhere().embed, fullgraph=False)(X)


def test_decorated_calls_inside_decorated_ones_are_one_graph():
    class Outer(Model):
        @inference
        @auto_device
        @autocast_policy("fp32")
        def outer(self, x):
            return self.embed(x).float() + self.net(x)

    model = Outer()

    assert_close(compiled(model.outer)(X), model.outer(X))


def test_a_graph_break_in_a_method_keeps_its_plan():
    class Breaking(Normed):
        @inference
        @auto_device
        @autocast_policy("bf16")
        def embed(self, x):
            y = self.net(x)
            torch._dynamo.graph_break()
            return self.norm(y)

    for model in (Breaking(), Breaking().eval()):
        result = compiled(model.embed, fullgraph=False)(X)

        assert result.dtype is torch.float32
        assert not result.requires_grad
        assert_close(result, model.embed(X))


def test_inference_modes_hold_where_a_graph_breaks():
    class Breaking(Normed):
        @inference(mode="inference")
        def embed(self, x):
            y = self.net(x)
            torch._dynamo.graph_break()
            return self.norm(y), y.is_inference(), torch.is_grad_enabled()

    for model in (Breaking(), Breaking().eval()):
        result, _, grad = compiled(model.embed, fullgraph=False)(X)

        assert not result.is_inference()
        assert not grad
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_a_loop_over_a_compiled_method_in_training_is_as_without_it():
    model, target = Model(), torch.zeros(4, 3)
    method = compiled(model.embed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    for _ in range(3):
        before = method(X).float()
        optimizer.zero_grad()
        nn.functional.mse_loss(model.net(X), target).backward()
        optimizer.step()

    assert (model.embed(X).float() - target).norm() < (before - target).norm()
    assert_close(method(X), model.embed(X))


def test_batches_of_any_size_share_a_graph():
    counter, model = Counter(), Model()
    method = torch.compile(model.forward, backend=counter, dynamic=True)

    for n in (5, 7, 9, 11):
        assert_close(method(torch.ones(n, 3)), model(torch.ones(n, 3)))

    assert counter.graphs == 1
