"""Other people's modules: `unfuss` and `patch`."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import explain, inference, patch, unfuss
from unfussy.errors import PlanError


class Theirs(nn.Module):
    """A module that nobody may edit."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
        self.name = "theirs"

    def forward(self, x, scale: float = 1.0):
        return self.net(x) * scale

    def encode(self, x):
        return {"z": self._inner(x), "training": self.training}

    def _inner(self, x):
        assert type(self).__name__ in {"Theirs", "Child"}
        return self(x)

    @inference(mode="inference", result="keep")
    def decorated(self, x):
        return self(x)

    @staticmethod
    def helper(x):
        return x

    @classmethod
    def make(cls):
        return cls()

    @property
    def width(self):
        return 2

    def walk(self, x):
        yield from x

    def train(self, mode=True):  # noqa: FBT002
        return super().train(mode)


@pytest.fixture
def model():
    return Theirs()


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(5, 3))


def test_a_call_of_the_proxy_is_planned(model, x):
    y = unfuss(model)(x)

    weight, bias = model.net[0].weight, model.net[0].bias
    expected = torch.tensor(x, dtype=torch.float32) @ weight.T + bias
    torch.testing.assert_close(y, expected.detach())
    assert model.training
    assert not y.requires_grad


def test_public_methods_are_planned_and_what_they_call_is_not(model, x):
    result = unfuss(model, out="numpy", batch_size=2).encode(x)

    assert type(result["z"]) is np.ndarray
    assert result["training"] is False


def test_a_planned_method_keeps_its_own_settings(model, x):
    assert unfuss(model).decorated(x).is_inference()


def test_generators_are_planned(model):
    rows = list(unfuss(model).walk(np.ones((2, 3))))

    assert [type(row) for row in rows] == [torch.Tensor, torch.Tensor]


def test_the_proxy_stands_for_the_model(model):
    proxy = unfuss(model)

    assert isinstance(proxy, Theirs)
    assert isinstance(proxy, nn.Module)
    assert proxy.name == "theirs"
    assert proxy.width == 2
    assert proxy.helper(3) == 3
    assert isinstance(proxy.make(), Theirs)
    assert [*proxy.state_dict()] == [*model.state_dict()]
    assert [*proxy.parameters()] == [*model.parameters()]
    assert proxy.eval() is model
    assert not model.training
    proxy.name = "ours"
    assert model.name == "ours"
    assert nn.Sequential(proxy)(torch.ones(1, 3)).shape == (1, 2)


def test_only_named_methods_are_planned(model, x):
    proxy = unfuss(model, methods="encode")

    assert type(proxy.encode(x)["z"]) is torch.Tensor
    assert proxy(torch.ones(1, 3)).requires_grad
    assert unfuss(model, methods=["forward"])(x).shape == (5, 2)
    assert unfuss(model, methods=["forward"]).forward(x).shape == (5, 2)


def test_hooks_of_the_model_fire(model, x):
    fired = []
    model.register_forward_hook(lambda *_: fired.append(1))

    unfuss(model)(x)

    assert fired == [1]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_proxies_copy(model, x, again):
    proxy = unfuss(model, out="numpy")

    copied = again(proxy)

    assert copied.__wrapped__ is not model
    np.testing.assert_array_equal(copied(x), proxy(x))


def test_proxies_pickle(model, x):
    proxy = unfuss(model, out="numpy")

    again = pickle.loads(pickle.dumps(proxy))  # noqa: S301

    np.testing.assert_array_equal(again(x), proxy(x))


def test_proxied_methods_can_be_explained(model, x):
    assert explain(unfuss(model).encode, x).modes.startswith("eval mode for 4 of 4")
    assert explain(unfuss(model, batch_size=2).__call__, x).batch.startswith("5 items")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unfuss(3), r"unfuss\(\) takes a torch.nn.Module, got int"),
        (lambda: unfuss(unfuss(Theirs())), "is behind a proxy already"),
        (lambda: unfuss(Theirs(), methods="fly"), "Theirs has no method 'fly'"),
        (lambda: unfuss(Theirs(), size=2), "there is no option 'size'"),
        (lambda: patch(Theirs, "fly").__enter__(), "no method 'fly' to patch"),
        (lambda: patch(Theirs, "make").__enter__(), "no method 'make' to patch"),
    ],
)
def test_wrong_use_is_refused(make, message):
    with pytest.raises(PlanError, match=message):
        make()


def test_a_patched_class_is_planned_inside_the_block_only(model, x):
    original = Theirs.forward

    with patch(Theirs, out="numpy"):
        assert type(model(x)) is np.ndarray
        assert type(Theirs()(x)) is np.ndarray

    assert Theirs.forward is original


def test_patching_an_inherited_method_leaves_the_parent_alone(x):
    class Child(Theirs):
        pass

    with patch(Child, "encode"):
        assert Child().encode(x)["training"] is False
        assert "encode" in vars(Child)

    assert "encode" not in vars(Child)


def test_a_patch_ends_with_an_error():
    original = Theirs.encode

    with pytest.raises(ZeroDivisionError), patch(Theirs, "encode"):
        raise ZeroDivisionError

    assert Theirs.encode is original
