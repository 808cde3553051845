"""Exported programs follow the plan, and proxies follow theirs when compiled."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.compiling import Model, X, compiled
from tests.modules import Nested, Normed, Plain
from unfussy import (
    auto_device,
    autocast_policy,
    inference,
    options,
    unfuss,
)


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


# --- export ------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_model_keeps_autocast_and_has_no_gradients(strict):
    model = Model().eval()

    program = torch.export.export(model, (X,), strict=strict)

    result = program.module()(X)
    assert not result.requires_grad
    assert_close(result, model(X), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
@pytest.mark.parametrize("strict", [True, False])
def test_a_model_in_training_is_exported_in_eval_mode(strict):
    class Forward(Normed):
        @inference
        @auto_device
        def forward(self, x):
            return super().forward(x)

    model = Forward()

    program = torch.export.export(model, (X,), strict=strict)

    assert model.drop.training
    assert_close(program.module()(X), model(X))


def test_options_reach_what_is_exported_without_strictness():
    model = Model().eval()

    with options(precision="fp32"):
        program = torch.export.export(model, (X,), strict=False)

    assert_close(program.module()(X), model.net(X).detach())


def test_keep_fp32_cannot_be_exported():
    class Keeping(Nested):
        @autocast_policy("bf16", keep_fp32="body.0")
        def forward(self, x):
            return super().forward(x)

    with pytest.raises(TypeError, match="keep_fp32 cannot be exported"):
        torch.export.export(Keeping(), (X,), strict=False)


def test_generators_cannot_be_exported():
    class Streaming(Plain):
        @inference
        def stream(self, x):
            yield self.net(x)

        def forward(self, x):
            return list(self.stream(x))

    with pytest.raises(TypeError, match="yields or awaits and cannot be exported"):
        torch.export.export(Streaming(), (X,), strict=False)


# --- the proxy ---------------------------------------------------------------------


def test_a_compiled_proxy_follows_its_plan():
    proxy = unfuss(Normed(), precision="bf16")

    result = compiled(proxy, fullgraph=False)(X.double())

    assert result.dtype is torch.float32
    assert not result.requires_grad
    assert_close(result, proxy(X.double()))


def test_a_proxy_reached_from_compiled_code_follows_its_plan():
    proxy = unfuss(Normed())

    result = compiled(lambda x: proxy(x + 1), fullgraph=False)(X)

    assert not result.requires_grad
    assert_close(result, proxy(X + 1))


def test_a_method_of_a_proxy_is_compiled_with_its_plan():
    proxy = unfuss(Normed())

    result = compiled(proxy.forward)(X)

    assert not result.requires_grad
    assert_close(result, proxy.forward(X))
