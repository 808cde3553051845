"""Laws of the tuner: equal, faster, and no trace of it until it is applied."""

import contextlib
import random
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.candidates import (
    Awake,
    Broken,
    Different,
    Fixed,
    Halfway,
    Halting,
    Ignored,
    Relayout,
    Sleepy,
    Slow,
    Switch,
    Waiting,
    state_of,
    ticking,
)
from tests.modules import EVERY_KIND, FEATURES, embedding
from unfussy import auto_device, batched, inference, unfuss
from unfussy._optimizing import optimize, timing
from unfussy._optimizing.applying import Application
from unfussy._optimizing.deviation import deviation_of
from unfussy._optimizing.target import find_target
from unfussy.testing.strategies import trees

__all__ = ["ticking"]

pytestmark = pytest.mark.property

HARMLESS = (Awake, Relayout, Switch)
ANY = (*HARMLESS, Different, Fixed, Sleepy, Broken, Halfway, Ignored)
WAYS = ("module", "method", "batched", "proxy")
choices = st.lists(st.sampled_from(ANY), unique=True, max_size=4)


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    """Make as few rounds as can be, since here nobody asks how long they took."""
    monkeypatch.setattr(timing, "_LOOKS", {3})
    monkeypatch.setattr(timing, "_MAX_ROUNDS", 3)


class Pair(Slow):
    """Two results of one network, one of them whole numbers."""

    def forward(self, x):
        z = super().forward(x)
        return {"z": z, "n": (x > 0).sum(-1)}


modules = st.sampled_from((*EVERY_KIND, Slow, Waiting, Pair))


def drawn(kind, way, seed, *, training):
    """Return a module, and what of it is to be optimised."""
    torch.manual_seed(seed)
    if way == "proxy":
        model = kind().train(training)
        return model, unfuss(model)
    decorators = (batched(size=2), inference) if way == "batched" else (inference,)
    model = embedding(kind, auto_device, *decorators)()
    model.train(training)
    return model, model if way == "module" else model.embed


def generators():
    """Describe the state of every global random generator."""
    numpys = [x.tolist() for x in np.random.get_state()[1:2]]  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numpys


@contextlib.contextmanager
def quick():
    """Take every candidate that is right for faster than what was before."""
    always = mock.PropertyMock(return_value=True)
    with mock.patch.object(timing.Comparison, "gains", always):
        yield


@given(
    kind=modules,
    way=st.sampled_from(WAYS),
    chosen=choices,
    seed=st.integers(0, 9),
    training=st.booleans(),
    level=st.sampled_from(("conservative", "balanced", "aggressive")),
)
def test_optimised_is_plain_and_undone_is_as_before(
    kind, way, chosen, seed, training, level
):
    model, target = drawn(kind, way, seed, training=training)
    x = torch.randn(4, FEATURES)
    before, numbers = state_of(model), generators()

    with quick():
        report = optimize(target, x, level=level, candidates=chosen, budget=5)

    assert state_of(model) == before
    assert generators() == numbers
    model.eval()
    plain, before = target(x), state_of(model)
    fast = report.apply()
    assert deviation_of(fast(x), plain).value <= report.tolerance
    assert deviation_of(fast(x[:1]), target(x[:1])).value <= report.tolerance
    report.undo()
    assert state_of(model) == before
    assert deviation_of(target(x), plain).value == 0
    assert {Broken, Halfway, Ignored}.isdisjoint(x.name for x in report.kept)


@given(
    kind=modules,
    chosen=st.permutations(HARMLESS),
    at=st.integers(0, 3),
    bad=st.sampled_from((Broken, Halfway)),
)
def test_what_fails_half_way_is_put_back(kind, chosen, at, bad):
    model, target = drawn(kind, "method", 0, training=True)
    before = state_of(model)
    candidates = [each() for each in (*chosen[:at], bad, *chosen[at:])]
    found, args = find_target(target, torch.randn(2, FEATURES))

    with pytest.raises(RuntimeError):
        Application(found, args, candidates).apply()

    assert state_of(model) == before


@given(kind=modules, at=st.integers(0, 30), chosen=st.permutations(HARMLESS))
def test_an_interruption_leaves_no_trace(kind, at, chosen):
    model, target = drawn(kind, "module", 0, training=True)
    x = torch.randn(2, FEATURES)
    before, numbers = state_of(model), generators()

    with contextlib.suppress(KeyboardInterrupt), quick():
        optimize(target, x, candidates=[*chosen[:1], Halting(at), *chosen[1:]])

    assert state_of(model) == before
    assert generators() == numbers


@given(
    kind=modules,
    by=st.floats(1e-4, 10),
    others=st.permutations(HARMLESS),
    n=st.integers(0, 3),
)
def test_what_is_wrong_is_never_kept(kind, by, others, n):
    _, target = drawn(kind, "module", 0, training=False)
    wrong = Different()
    wrong.by = by
    x = torch.randn(4, FEATURES) + 0.1

    with quick():
        report = optimize(target, x, candidates=[*others[:n], wrong, *others[n:]])

    row = report.candidates[n]
    assert (row.name, row.verdict) == ("different", "rejected")


numbers = st.floats(-1e3, 1e3, width=32)
tensors = st.lists(numbers, min_size=1, max_size=5).map(torch.tensor)
results = trees(st.one_of(tensors, st.integers(), st.text(max_size=2), st.booleans()))


@given(tree=results)
def test_a_result_is_no_way_from_itself(tree):
    assert deviation_of(tree, tree).value == 0


@given(x=tensors, by=st.floats(1e-4, 1e3))
def test_scaling_a_result_is_as_far_as_the_scale(x, by):
    found = deviation_of([x.double() * (1 + by)], [x.double()])

    assert found.value == pytest.approx(by if x.any() else 0, rel=1e-6)


@given(
    tree=results,
    leaf=st.sampled_from((torch.zeros(2, 2), "other", 1j, None, [torch.zeros(1)])),
)
def test_another_form_is_infinitely_far(tree, leaf):
    assert deviation_of([tree, 1.0], [tree, leaf]).value == float("inf")
    assert deviation_of([tree], [tree, tree]).value == float("inf")
