"""Law 3: a call leaves no trace, whatever happened before it and happens in it."""

import asyncio
import copy
import random
import threading
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from torch import nn

from tests.modules import EVERY_KIND, Caching, Merging
from unfussy import auto_device, autocast_policy, batched, configure, inference
from unfussy.testing import assert_no_trace

pytestmark = pytest.mark.property

X = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3).numpy()


class Halt(Exception):  # noqa: N818
    pass


def called(kind):
    """Return a class like *kind* that can be called in every way."""

    class Called(kind):
        @batched(size=2)
        @autocast_policy
        @inference
        @auto_device
        def embed(self, x, *, fails=False):
            result = self(x)
            if fails:
                raise Halt
            return result

        @inference
        @auto_device
        def steps(self, x):
            for row in x:
                yield self(row[None])

        @inference
        @auto_device
        async def later(self, x):
            await asyncio.sleep(0)
            return self(x)

    Called.__name__ = kind.__name__
    return Called


CLASSES = [called(kind) for kind in EVERY_KIND]


@st.composite
def options(draw, kind):
    """Options that leave no trace in a module like *kind*."""
    modes = ["no_grad"] if issubclass(kind, Caching) else ["no_grad", "inference"]
    choices = {
        "mode": st.sampled_from(modes),  # a table made in inference mode stays so
        "precision": st.sampled_from(["auto", "fp32", "bf16"]),
        "batch_size": st.sampled_from(["auto", 1, 3]),
        "out": st.sampled_from(["tensor", "numpy"]),
    }
    return draw(st.fixed_dictionaries({}, optional=choices))


def state_of_thread():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
    )


def randomness():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return torch.get_rng_state().tolist(), str(numpy_state), random.getstate()


def has_norm(module):
    return any(isinstance(part, nn.BatchNorm1d) for part in module.modules())


class Twins(RuleBasedStateMachine):
    """One model is called, its twin never is, and the two stay equal."""

    @initialize(kind=st.sampled_from(CLASSES))
    def begin(self, kind):
        torch.manual_seed(0)
        self.model = kind()
        self.twin = copy.deepcopy(self.model)
        self.half_way = []
        self.state = state_of_thread()

    # --- what happens to both ---

    def both(self, act):
        for model in (self.model, self.twin):
            with torch.random.fork_rng():
                torch.manual_seed(1)
                act(model)

    @rule(mode=st.booleans())
    def train_or_eval(self, mode):
        self.both(lambda model: model.train(mode))

    @rule(index=st.integers(0, 9), mode=st.booleans())
    def switch_a_child(self, index, mode):
        def act(model):
            # A norm in training mode on purpose counts batches on purpose.
            parts = [p for p in model.modules() if not mode or not has_norm(p)]
            if parts:
                parts[index % len(parts)].train(mode)

        self.both(act)

    @rule(index=st.integers(0, 9), requires_grad=st.booleans())
    def freeze(self, index, requires_grad):
        def act(model):
            parameters = [*model.parameters()]
            if parameters:
                parameters[index % len(parameters)].requires_grad_(requires_grad)

        self.both(act)

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]))
    def move(self, dtype):
        self.half_way.clear()  # their inputs have the old precision
        self.both(lambda model: model.to(dtype))

    @rule()
    def train_a_step(self):
        def act(model):
            dtype = next(model.parameters(), torch.empty(0)).dtype
            loss = model(torch.ones(4, 3, dtype=dtype)).sum()
            if loss.requires_grad:
                loss.backward()
                torch.optim.SGD(model.parameters(), lr=0.01).step()

        self.both(act)

    # --- what happens to one ---

    @contextmanager
    def unseen(self):
        """Check that randomness is left alone, if no child draws on purpose."""
        draws = not self.model.training and any(
            p.training for p in self.model.modules()
        )
        before = None if draws else randomness()
        yield
        assert draws or randomness() == before

    @rule(data=st.data(), fails=st.booleans())
    def call(self, data, fails):
        settings = data.draw(options(type(self.model)))
        with self.unseen(), suppress(Halt):
            configure(self.model.embed, **settings)(X, fails=fails)

    @rule()
    def call_in_threads(self):
        with self.unseen():
            threads = [
                threading.Thread(target=target, args=(X,))
                for target in (self.model.embed, self.model.embed)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    @rule(data=st.data())
    def go_half_way(self, data):
        settings = data.draw(options(type(self.model)))
        settings.pop("batch_size", None)
        steps = configure(self.model.steps, **settings)(X)
        with self.unseen():
            next(steps)
        self.half_way.append(steps)

    @precondition(lambda self: self.half_way)
    @rule(index=st.integers(0, 9), closes=st.booleans())
    def go_on_or_close(self, index, closes):
        steps = self.half_way[index % len(self.half_way)]
        with self.unseen():
            steps.close() if closes else next(steps, None)

    @rule()
    def run_tasks(self):
        async def tasks():
            await asyncio.gather(self.model.later(X), self.model.later(X))

        with self.unseen():
            asyncio.run(tasks())

    # --- what stays ---

    @invariant()
    def the_twin_is_equal(self):
        # Merging a low-rank update and parting it again rounds.
        near = {} if isinstance(self.model, Merging) else {"rtol": 0, "atol": 0}
        one, other = self.model, self.twin
        torch.testing.assert_close(
            dict(one.state_dict()), dict(other.state_dict()), **near
        )
        for a, b in zip(one.modules(), other.modules(), strict=True):
            assert a.training is b.training, type(a)
            assert vars(a).keys() == vars(b).keys()
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert a.requires_grad is b.requires_grad
            assert not a.is_inference()
            assert (a.grad is None) is (b.grad is None)

    @invariant()
    def the_thread_is_as_it_was(self):
        assert state_of_thread() == self.state


Twins.TestCase.settings = settings(stateful_step_count=15)
TestTwins = Twins.TestCase


@given(kind=st.sampled_from(CLASSES), data=st.data(), training=st.booleans())
def test_one_call_leaves_no_trace(kind, data, training):
    model = kind()
    settings = data.draw(options(kind))
    fails = data.draw(st.booleans())
    model.train(training)
    if isinstance(model, Merging):
        model.eval()  # merging rounds

    def call():
        with suppress(Halt):
            configure(model.embed, **settings)(X, fails=fails)

    assert_no_trace(model, call)
