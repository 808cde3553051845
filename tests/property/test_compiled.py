"""Law 9: compiled, exported, copied, pickled or subclassed, results are the same."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.property.test_plan import decorators
from unfussy import auto_device, autocast_policy, batched, inference
from unfussy.testing import assert_compiled_equals_eager

pytestmark = pytest.mark.property

x = torch.linspace(-1, 1, 15).reshape(5, 3)


class Encoder(nn.Module):
    """Picklable, since it stands at the top of a module."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.drop = nn.Dropout()

    @batched(size=2)
    @autocast_policy("bf16")
    @inference(mode="inference")
    @auto_device
    def embed(self, x):
        return {"z": self.drop(self.net(x)), "x": x}

    @autocast_policy("bf16")
    @inference
    @auto_device
    def forward(self, x):
        return self.drop(self.net(x))


class Child(Encoder):
    def embed(self, x):
        return super().embed(x)


encodings = st.sampled_from([Encoder, Child])


@given(kind=encodings, training=st.booleans())
def test_copies_pickles_and_subclasses_give_the_same(kind, training):
    model = kind().train(training)
    expected = model.embed(x)["z"]

    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(again.embed(x)["z"], expected)
        assert again.training == training
    bound = pickle.loads(pickle.dumps(model.embed))  # noqa: S301
    assert torch.equal(bound(x)["z"], expected)


@given(kind=encodings, training=st.booleans())
def test_compiled_gives_the_same(kind, training):
    torch.compiler.reset()
    model = kind().train(training)

    assert_compiled_equals_eager(model.embed, x)
    assert_compiled_equals_eager(model, x)
    assert model.training == training


# Strict export reports flags that are switched and switched back.
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
@given(training=st.booleans(), strict=st.booleans())
def test_exported_gives_the_same(training, strict):
    model = Encoder().train(training)

    program = torch.export.export(model, (x,), strict=strict)

    exported = program.module()(x)
    torch.testing.assert_close(exported, model(x), atol=1e-2, rtol=1e-2)
    assert exported.dtype is torch.float32
    assert not exported.requires_grad


@given(decorators=decorators())
def test_any_plan_gives_the_same_compiled(decorators):
    torch.compiler.reset()

    def embed(module, x):
        return module(x) * 2

    for decorator in decorators:
        embed = decorator(embed)
    model = nn.Linear(3, 2)

    try:
        assert_compiled_equals_eager(lambda x: embed(model, x), x)
    except torch._dynamo.exc.Unsupported:
        # Arrays as results end a graph: without a whole graph it must still agree.
        compiled = torch.compile(lambda x: embed(model, x), backend="eager")(x)
        expected = embed(model, x)
        assert type(compiled) is type(expected)
        torch.testing.assert_close(compiled, expected)
