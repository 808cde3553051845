"""Gradients are off for one call, by either mode, and results can be used after it."""

from __future__ import annotations

import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.modules import Caching, Plain, embedding
from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    inference,
    options,
    returns,
)
from unfussy._modes import NoGrad, grad_context

X = torch.linspace(-1, 1, 12).reshape(4, 3)
NORMAL = inference(mode="inference")
KEEP = inference(mode="inference", result="keep")

every_mode = pytest.mark.parametrize(
    "decorator", [inference, NORMAL, KEEP], ids=["no_grad", "normal", "keep"]
)
both_modes = pytest.mark.parametrize(
    "decorator", [inference, NORMAL], ids=["no_grad", "normal"]
)


def modes():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


BEFORE = (True, False, False)


@pytest.fixture(autouse=True)
def _modes_are_as_before():
    yield
    assert modes() == BEFORE


@pytest.mark.parametrize(
    ("decorator", "inside"),
    [
        (inference, (False, False, False)),
        (NORMAL, (False, True, False)),
        (KEEP, (False, True, False)),
        (auto_device, BEFORE),
        (autocast_policy("bf16"), (True, False, True)),
    ],
    ids=["no_grad", "normal", "keep", "none", "autocast"],
)
def test_a_call_runs_in_its_mode_and_puts_the_old_one_back(decorator, inside):
    @decorator
    def look(module, x):
        return modes()

    for module in (nn.Linear(3, 3), nn.Linear(3, 3).eval()):
        assert look(module, X) == inside
        assert look(module, x=X) == inside


@every_mode
def test_an_error_puts_the_old_mode_back(decorator):
    @decorator
    def fail(module, x):
        raise KeyError("no")

    for module in (nn.Linear(3, 3), nn.Linear(3, 3).eval()):
        with pytest.raises(KeyError):
            fail(module, X)
        assert modes() == BEFORE


@both_modes
@pytest.mark.parametrize("training", [True, False])
def test_results_can_be_trained_on(decorator, training):
    module = embedding(Plain, decorator)().train(training)

    y = module.embed(X)

    y.add_(1)
    y.requires_grad_()
    (module.net(y) * y).sum().backward()
    assert y.grad is not None
    assert nn.Parameter(y.detach()).requires_grad


def test_results_are_kept_as_they_are_where_that_is_asked_for():
    y = embedding(Plain, KEEP)().embed(X)

    assert y.is_inference()


def test_nested_results_are_made_normal_and_stay_shared():
    pair = namedtuple("pair", "a b")  # noqa: PYI024

    @NORMAL
    def embed(module, x):
        y = module(x)
        return {"y": y, "again": [y, pair(y, x)], "n": 3, "normal": module.weight}

    module = nn.Linear(3, 3)

    result = embed(module, X)

    assert not result["y"].is_inference()
    assert result["again"][0] is result["y"]
    assert result["again"][1].a is result["y"]
    assert result["again"][1].b is X
    assert result["normal"] is module.weight


@every_mode
def test_a_callers_own_inference_mode_decides(decorator):
    module = embedding(Plain, decorator)()

    with torch.inference_mode():
        y = module.embed(X)
        assert modes() == (False, True, False)

    assert y.is_inference()


@both_modes
def test_a_callers_own_no_grad_stays(decorator):
    module = embedding(Plain, decorator)()

    with torch.no_grad():
        y = module.embed(X)
        assert modes() == (False, False, False)

    assert not y.is_inference()


def test_what_a_module_caches_can_be_used_in_training():
    module = embedding(Caching, inference)()

    module.embed(X)

    module(X).sum().backward()
    assert module.net.weight.grad is not None


def test_batched_results_of_inference_mode_are_normal_for_one_chunk_and_for_two():
    module = embedding(Plain, batched(size=3), NORMAL)()

    assert not module.embed(X).is_inference()
    assert not module.embed(X[:2]).is_inference()


def test_batched_results_of_inference_mode_are_kept_for_one_chunk_and_for_two():
    module = embedding(Plain, batched(size=3), KEEP)()

    assert module.embed(X).is_inference()
    assert module.embed(X[:2]).is_inference()


def test_autocast_casts_a_weight_once_for_all_chunks():
    seen = []

    @batched(size=1)
    @NORMAL
    @autocast_policy("bf16")
    def embed(module, x):
        seen.append(modes())
        return module(x)

    embed(nn.Linear(3, 3), X)

    assert seen == [(False, False, True)] * 4


@every_mode
def test_inputs_are_never_inference_tensors(decorator):
    @decorator
    @auto_device
    def embed(module, x, *rest):
        return x.is_inference()

    module = nn.Linear(3, 3).eval()

    assert not embed(module, X)
    assert not embed(module, X.double().numpy())
    assert not embed(module, X.double().numpy(), 3)
    assert not batched(size=2)(embed)(module, X.double().numpy())


def test_results_in_inference_mode_become_arrays():
    module = embedding(Plain, NORMAL, returns("numpy"))()

    assert_close(module.embed(X), module.net(X).detach().numpy())


def test_sparse_and_view_results_are_made_normal():
    @NORMAL
    def embed(module, x):
        y = module(x)
        return y.to_sparse(), y[::2].T, y.new_empty(0)

    for y in embed(nn.Linear(3, 3), X):
        assert not y.is_inference()


def test_a_distribution_made_in_inference_mode_is_made_normal():
    @NORMAL
    def embed(module, x):
        return torch.distributions.Normal(module(x), 1.0)

    module = nn.Linear(3, 3)

    module(embed(module, X).mean).sum().backward()


def test_the_cheap_no_grad_is_put_back_by_hand():
    with NoGrad():
        with NoGrad():
            pass
        assert not torch.is_grad_enabled()

    assert torch.is_grad_enabled()


def test_a_mode_that_holds_is_not_entered_again():
    with torch.no_grad():
        assert grad_context("no_grad") is None
        assert grad_context("inference") is not None
    with torch.inference_mode():
        assert grad_context("inference") is None
        assert grad_context("no_grad") is None


# --- threads -----------------------------------------------------------------------


def test_a_thread_does_not_see_the_callers_modes():
    module = embedding(Plain, inference, autocast_policy("bf16"))()

    def work():
        before = modes()
        module.embed(X)
        return before, modes()

    with (
        torch.no_grad(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        ThreadPoolExecutor(1) as pool,
    ):
        assert pool.submit(work).result() == (BEFORE, BEFORE)


def test_one_module_serves_many_threads_with_different_options():
    module = embedding(
        Plain, inference, autocast_policy("fp32", outputs="keep"), auto_device
    )()
    barrier = threading.Barrier(6)
    wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}

    def work(i):
        precision = ("fp32", "bf16")[i % 2]
        barrier.wait()
        for _ in range(100):
            with options(precision=precision, mode=("no_grad", "inference")[i // 3]):
                y = module.embed(X)
            if y.dtype is not wanted[precision] or y.requires_grad or modes() != BEFORE:
                return False
        return module.embed(X).dtype is torch.float32

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))


@pytest.mark.parametrize("mode", ["no_grad", "inference"])
def test_a_thread_that_trains_keeps_its_gradients(mode):
    module = embedding(Plain, inference(mode=mode))().eval()
    stop = threading.Event()

    def infer():
        while not stop.is_set():
            module.embed(X)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(infer)
        for _ in range(50):
            module.net(X).sum().backward()
        stop.set()

    assert module.net.weight.grad is not None


# --- what is called ----------------------------------------------------------------


def test_objects_that_are_no_modules_have_their_modes_switched_too():
    class Tool:
        @inference
        def double(self, x):
            return x * 2

        @staticmethod
        @inference
        def triple(x, y):
            return x * 3 + y

        @classmethod
        @inference
        def quadruple(cls, x):
            return x * 4

    x = X.clone().requires_grad_()

    assert not Tool().double(x).requires_grad
    assert not Tool.triple(x, x).requires_grad
    assert not Tool.quadruple(x).requires_grad


def test_an_object_that_holds_a_module_has_it_put_into_eval_mode():
    class Tool:
        def __init__(self):
            self.inference_module = nn.Dropout()

        @inference
        def apply(self, x):
            return self.inference_module(x)

    tool = Tool()

    assert torch.equal(tool.apply(X), X)
    assert tool.inference_module.training


def test_eval_mode_can_be_left_to_the_caller():
    module = embedding(nn.Dropout, inference(eval=False))(p=1.0)

    assert torch.equal(module.embed(X), torch.zeros_like(X))


def test_kept_submodules_stay_in_float32_where_the_caller_set_autocast():
    @autocast_policy("inherit", keep_fp32="0", outputs="keep")
    def embed(module, x):
        return module(x)

    module = nn.Sequential(nn.Linear(3, 3))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert embed(module, X).dtype is torch.float32
    assert embed(module, X).dtype is torch.float32


def test_kept_submodules_of_a_model_in_low_precision_are_left_alone():
    @autocast_policy("auto", keep_fp32="0", outputs="keep")
    def embed(module, x):
        return module(x)

    module = nn.Sequential(nn.Linear(3, 3)).bfloat16()

    assert embed(module, X.bfloat16()).dtype is torch.bfloat16
