"""
What becomes of decorated methods in TorchScript, which torch has deprecated.

Tracing runs them, so the numbers follow the plan. Scripting compiles the source behind
``__wrapped__`` and loses every decorator, torch's own included.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.modules import Normed, Plain
from unfussy import auto_device, autocast_policy, batched, inference

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

X = torch.linspace(-1, 1, 12).reshape(4, 3)


class Model(Normed):
    @autocast_policy
    @inference
    @auto_device
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize(
    "trace",
    [
        torch.jit.trace,
        lambda model, x: torch.jit.trace_module(model, {"forward": x}),
    ],
    ids=["trace", "trace_module"],
)
def test_a_traced_model_gives_what_the_plan_gives(trace):
    model = Model()

    traced = trace(model, X)

    assert_close(traced(X).detach(), model(X))
    assert model.drop.training


def test_a_batched_method_is_traced_whole():
    class Batched(Plain):
        @batched(size=3)
        @inference
        def forward(self, x, y):
            return self.net(x) + y

    class Single(Plain):
        @batched(size=3)
        @inference
        def forward(self, x):
            return self.net(x)

    several, one = Batched(), Single()

    assert_close(torch.jit.trace(several, (X[:2], X[:2]))(X, X), several(X, X))
    assert_close(torch.jit.trace(one, X[:2])(X).detach(), one(X))


@pytest.mark.parametrize(
    "decorator", [inference, torch.no_grad()], ids=["ours", "torch"]
)
def test_scripting_loses_decorators(decorator):
    class Scripted(Plain):
        @decorator
        def forward(self, x):
            return self.net(x)

    scripted = torch.jit.script(Scripted())

    assert scripted(X).requires_grad
