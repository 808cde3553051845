"""Decorated methods are plain functions to Python and to the rest of PyTorch."""

from __future__ import annotations

import abc
import asyncio
import copy
import inspect
import itertools
import operator
import pickle
import pydoc
import typing
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.testing import assert_close

from tests.modules import Normed, Plain
from unfussy import auto_device, autocast_policy, batched, inference, returns
from unfussy._compile import planned

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def all_four(fn):
    return batched(size=2)(autocast_policy(inference(auto_device(fn))))


class Model(Normed):
    """Known to pickle by its name."""

    @all_four
    def embed(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        """Embed *x*."""
        return self(x) * scale

    @inference
    def forward(self, x):
        return super().forward(x)

    @classmethod
    @all_four
    def named(cls, x):
        return cls.__name__, x

    @staticmethod
    @all_four
    def double(x):
        return x * 2

    @property
    @inference
    def mean(self):
        return self.net.weight.mean()


# --- Python ------------------------------------------------------------------------


def test_a_decorated_method_is_a_plain_function():
    assert inspect.isfunction(Model.embed)
    assert inspect.ismethod(Model().embed)


def test_what_is_known_of_a_function_is_known_of_the_decorated_one():
    raw = planned(Model.embed).raw

    assert inspect.signature(Model.embed) == inspect.signature(raw)
    assert str(inspect.signature(Model().embed)).startswith("(x: ")
    for name in ("__doc__", "__name__", "__qualname__", "__module__"):
        assert getattr(Model.embed, name) == getattr(raw, name)
    assert (
        inspect.getsource(Model.embed).splitlines()[1].strip().startswith("def embed")
    )
    assert typing.get_type_hints(Model.embed)["return"] is torch.Tensor
    assert "Embed *x*." in pydoc.render_doc(Model.embed)
    assert inspect.unwrap(Model.embed) is raw


def test_a_mock_takes_the_signature():
    double = mock.create_autospec(Model)

    double.embed(X, scale=2.0)

    with pytest.raises(TypeError, match="unexpected keyword"):
        double.embed(X, size=2)


def test_attributes_of_a_function_are_kept():
    def embed(self, x):
        return x

    embed.mark = "mine"

    assert inference(embed).mark == "mine"


def test_marks_of_dynamo_are_not_copied():
    def embed(self, x):
        return x

    embed._torchdynamo_disable = True
    embed._torchdynamo_orig_callable = embed

    assert not hasattr(inference(embed), "_torchdynamo_disable")
    assert not hasattr(inference(embed), "_torchdynamo_orig_callable")


def test_models_bound_and_unbound_methods_can_be_pickled():
    model = Model()

    unbound, bound, copied = pickle.loads(  # noqa: S301
        pickle.dumps((Model.embed, model.embed, model))
    )

    assert unbound is Model.embed
    assert_close(bound(X), model.embed(X))
    assert_close(copied.embed(X), model.embed(X))


def test_a_bound_method_reaches_another_process():
    model = Model()

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        result = pool.submit(model.embed, X.numpy()).result()

    assert_close(result, model.embed(X))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_models_and_bound_methods_can_be_copied(duplicate):
    model = Model()

    assert_close(duplicate(model).embed(X), model.embed(X))
    assert_close(duplicate(model.embed)(X), model.embed(X))


def test_a_deep_copy_of_a_bound_method_has_a_model_of_its_own():
    model = Model()

    bound = copy.deepcopy(model.embed)

    assert bound.__self__ is not model
    assert bound.__func__ is Model.embed


def test_bound_methods_are_equal_and_can_be_referred_to_weakly():
    model = Model()

    reference = weakref.WeakMethod(model.embed)

    assert reference() == model.embed
    assert hash(model.embed) == hash(model.embed)
    assert model.embed != Model().embed


def test_models_can_be_saved_whole(tmp_path):
    model = Model()

    torch.save(model, tmp_path / "model.pt")

    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert_close(loaded.embed(X), model.embed(X))


# --- classes -----------------------------------------------------------------------


def test_super_reaches_a_decorated_method_from_a_decorated_one_and_from_a_plain_one():
    class Decorated(Model):
        @inference
        def embed(self, x):
            return super().embed(x) + 1

    class Undecorated(Model):
        def embed(self, x):
            return super().embed(x, scale=2.0)

    decorated, undecorated = Decorated(), Undecorated()

    assert_close(decorated.embed(X), Model.embed(decorated, X) + 1)
    assert_close(undecorated.embed(X), Model.embed(undecorated, X) * 2)


def test_a_plain_override_has_no_plan_and_a_decorated_one_its_own():
    class Override(Model):
        def embed(self, x):
            return self.net(x)

    class Decorated(Override):
        @inference
        def embed(self, x):
            return super().embed(x)

    assert planned(Override.embed) is None
    assert Override().embed(X).requires_grad
    assert not Decorated().embed(X).requires_grad
    assert planned(Decorated.embed).plan.batch is None


@pytest.mark.parametrize(
    "abstract",
    [
        lambda fn: abc.abstractmethod(inference(fn)),
        lambda fn: inference(abc.abstractmethod(fn)),
    ],
    ids=["above", "below"],
)
def test_abstract_methods_stay_abstract_in_both_orders(abstract):
    class Base(abc.ABC):  # noqa: B024
        @abstract
        def embed(self, x):
            return x

    class Derived(Base):
        @inference
        def embed(self, x):
            return super().embed(x)

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Derived().embed(X) is X


def test_class_and_static_methods_and_properties_above_ours_work():
    model = Model()

    assert Model.named(X)[0] == model.named(X)[0] == "Model"
    assert_close(Model.double(X), X * 2)
    assert_close(model.double(X), X * 2)
    assert not model.mean.requires_grad


@pytest.mark.parametrize("above", [classmethod, staticmethod, property])
def test_class_and_static_methods_and_properties_below_ours_are_refused(above):
    with pytest.raises(TypeError, match=f"below @{above.__name__}"):
        inference(above(lambda self: None))


def test_a_decorated_function_can_be_put_on_a_class_or_on_an_instance():
    model = Plain()
    model.embed = inference(lambda x: model(x))
    late = type("Late", (Plain,), {"embed": inference(lambda self, x: self(x))})

    assert not model.embed(X).requires_grad
    assert not late().embed(X).requires_grad


def test_every_order_of_decorators_on_a_forward_is_one_wrapper():
    decorators = [inference, auto_device, autocast_policy, batched(size=2)]

    for order in itertools.permutations(decorators):

        def forward(self, x):
            return self.net(x)

        raw = forward
        for decorator in order:
            forward = decorator(forward)
        assert forward.__wrapped__ is raw


# --- torch -------------------------------------------------------------------------


def test_functional_call_reaches_the_given_parameters():
    model = Model().eval()
    state = {name: value * 2 for name, value in model.state_dict().items()}

    result = functional_call(model, state, X)

    expected = Model()
    expected.load_state_dict(state)
    assert_close(result, expected.embed(X))


def test_a_decorated_forward_can_be_mapped_over_a_batch():
    model = Model().eval()

    result = vmap(lambda x: model(x[None])[0])(X)

    assert_close(result, model(X))


def test_inputs_are_converted_under_vmap():
    @auto_device
    def through(module, x):
        return module(x)

    model = nn.Linear(3, 3)

    assert_close(vmap(lambda x: through(model, x))(X.double()), model(X))


def test_gradients_through_inference_are_zero_as_torch_has_it():
    @inference
    def embed(module, x):
        return module(x).sum()

    model = nn.Linear(3, 3)

    assert torch.equal(grad(lambda x: embed(model, x))(X), torch.zeros_like(X))


def test_gradients_flow_through_a_method_without_inference():
    @auto_device
    @autocast_policy("bf16")
    def embed(module, x):
        return module(x)

    model = nn.Linear(3, 3)
    x = X.clone().requires_grad_()

    embed(model, x).sum().backward()

    assert x.grad is not None
    assert model.weight.grad is not None


def test_data_parallel_runs_a_decorated_forward():
    model = Model()

    result = nn.DataParallel(model)(X)

    assert_close(result, model(X))


def test_a_replica_that_keeps_its_tensors_aside_is_found_where_it_lives():
    @auto_device
    def through(module, x):
        return x

    replica = nn.Linear(3, 3)._replicate_for_data_parallel()
    replica._former_parameters = {"weight": torch.zeros(3, dtype=torch.float64)}

    assert through(replica, X.double()).dtype is torch.float64


def test_hooks_see_the_decorated_forward():
    model, seen = Model(), []
    model.register_forward_pre_hook(
        lambda part, args: seen.append(torch.is_grad_enabled())
    )
    model.register_forward_hook(lambda part, args, y: seen.append(y.requires_grad))

    model(X)

    assert seen == [True, False]


def test_a_symbolic_trace_follows_a_decorated_forward():
    class Batched(Plain):
        @all_four
        def forward(self, x):
            return self.net(x)

    model = Batched()

    for module in (model, Model().eval()):
        traced = torch.fx.symbolic_trace(module)
        assert_close(traced(X).detach(), module(X))


def test_lazy_modules_are_made_at_the_first_call():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.LazyLinear(3)

        @inference
        def embed(self, x):
            return self.net(x)

    model = Lazy()

    model.embed(X)

    model.net(X).sum().backward()
    assert model.net.weight.grad is not None


def test_tensor_subclasses_keep_their_class():
    class Named(torch.Tensor):
        pass

    @inference
    @auto_device
    def through(module, x):
        return x

    result = through(nn.Linear(3, 3), X.double().as_subclass(Named))

    assert type(result) is Named
    assert result.dtype is torch.float32


def test_attributes_can_be_reached_through_the_instance():
    assert operator.attrgetter("embed.__wrapped__")(Model()) is planned(Model.embed).raw


def test_a_decorated_coroutine_method_of_a_mock_is_awaited():
    class Awaiting(Plain):
        @inference
        async def embed(self, x):
            return x

    double = mock.create_autospec(Awaiting)
    double.embed.return_value = 3

    assert asyncio.run(double.embed(X)) == 3


def test_results_of_any_form_come_from_every_kind_of_method():
    class Formed(Plain):
        @classmethod
        @returns("numpy")
        def made(cls, x):
            return x

    assert_close(Formed.made(X), X.numpy())
