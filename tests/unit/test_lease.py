"""Eval mode lasts for one call, and every submodule gets its own flag back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from torch import nn

from tests.modules import EVERY_KIND, Frozen, Merging, Nested, Normed, Shared, embedding
from unfussy import _lease, inference
from unfussy._lease import LEASES, EvalLease, needs_lease

X = torch.linspace(-1, 1, 12).reshape(4, 3)


def flags(module):
    return [part.training for part in module.modules()]


@pytest.fixture(autouse=True)
def _nobody_holds_anything():
    yield
    assert LEASES.held == []
    assert LEASES.calm is not None


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_submodule_is_in_eval_mode_and_gets_its_flag_back(kind):
    module = kind()
    *_, last = module.modules()
    last.training = not last.training
    before = flags(module)

    with EvalLease(module):
        during = flags(module)

    assert during == [False] * len(before)
    assert flags(module) == before


def test_a_module_in_eval_mode_needs_no_lease():
    assert not needs_lease(Normed().eval())
    assert needs_lease(Normed())


def test_a_child_in_training_mode_on_purpose_is_left_alone():
    module = embedding(Normed, inference)().eval()
    module.drop.train()
    module.drop.register_forward_pre_hook(lambda part, _: seen.append(part.training))
    seen = []

    module.embed(X)

    assert seen == [True]
    assert flags(module) == [False, False, False, True]


def test_a_lease_on_a_module_in_eval_mode_prolongs_what_others_hold_and_no_more():
    module = Normed()
    module.norm.eval()
    inner = nn.Sequential(module.norm, module.drop, nn.Dropout())
    inner.training = False

    with ExitStack() as stack:
        stack.enter_context(EvalLease(module))
        with EvalLease(inner):
            assert flags(inner) == [False, False, False, True]
            stack.close()
            assert not module.drop.training

    assert flags(module) == [True, True, False, True]


def test_an_overridden_train_is_called_once_each_way():
    module = nn.Sequential(Merging(), nn.Sequential(Merging()))
    weight = module[0].weight.detach().clone()

    with EvalLease(module):
        assert module[0].merged
        assert module[1][0].merged

    for part in (module[0], module[1][0]):
        assert part.switches == [False, True]
    torch.testing.assert_close(module[0].weight.detach(), weight)


def test_a_parents_train_that_reaches_its_children_is_not_called_again_on_them():
    class Parent(nn.Sequential):
        def train(self, mode=True):  # noqa: FBT002
            calls.append(mode)
            return super().train(mode)

    calls = []
    module = Parent(Merging(), nn.Dropout())

    with EvalLease(module):
        pass

    assert calls == [False, True]
    assert module[0].switches == [False, True]


def test_a_child_that_was_merged_before_is_merged_again():
    class Parent(nn.Sequential):
        def train(self, mode=True):  # noqa: FBT002
            return super().train(mode)

    module = Parent(Merging(), nn.Dropout())
    module[0].eval()

    with EvalLease(module):
        pass

    assert module[0].merged
    assert flags(module) == [True, False, False, True]


def test_flags_are_exact_although_an_overridden_train_flips_them():
    module = Frozen()
    module.norm.train()
    module.net.eval()
    before = flags(module)

    with EvalLease(module):
        assert flags(module) == [False] * 4

    assert flags(module) == before


def test_a_train_replaced_on_the_instance_is_called():
    module = nn.Sequential(nn.Dropout())
    calls = []

    def train(mode=True):  # noqa: FBT002
        calls.append(mode)
        return nn.Module.train(module[0], mode)

    module[0].train = train

    with EvalLease(module):
        assert not module[0].training

    assert calls == [False, True]
    assert module[0].training


@pytest.mark.parametrize("failing", [False, True])
def test_an_error_in_an_overridden_train_leaves_every_flag_as_it_was(failing):
    class Failing(nn.Dropout):
        def train(self, mode=True):  # noqa: FBT002
            super().train(mode)
            if mode is failing:
                raise RuntimeError("cannot")
            return self

    merging = Merging()
    module = nn.Sequential(Failing(), merging, Normed())
    module[2].norm.eval()
    before = flags(module)

    with pytest.raises(RuntimeError, match="cannot"), EvalLease(module):
        pass

    assert flags(module) == before
    assert not merging.merged


def test_every_error_of_an_overridden_train_is_told():
    class Failing(nn.Dropout):
        def train(self, mode=True):  # noqa: FBT002
            super().train(mode)
            if mode:
                raise RuntimeError(f"cannot {self.p}")
            return self

    module = nn.Sequential(Failing(0.1), Failing(0.2))

    with pytest.raises(RuntimeError, match="cannot 0.2") as caught, EvalLease(module):
        pass

    assert "cannot 0.1" in str(caught.value.__context__)
    assert flags(module) == [True] * 3


def test_an_overridden_train_may_call_a_decorated_method():
    class Asking(Normed):
        @inference
        def embed(self, x):
            return self(x)

        def train(self, mode=True):  # noqa: FBT002
            super().train(mode)
            if not mode:
                results.append(self.embed(X))
            return self

    results = []
    module = Asking()

    result = module.embed(X)

    torch.testing.assert_close(results, [result])
    assert flags(module) == [True] * 4


def test_script_modules_are_switched():
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(nn.Sequential(nn.Dropout()))
    module = nn.Sequential(scripted, nn.Dropout())

    with EvalLease(module):
        assert not scripted.training
        assert torch.equal(module(X), X)

    assert scripted.training
    assert module.training


# --- overlapping -------------------------------------------------------------------


def overlapping(first, second):
    """Enter both, and leave the first one first."""
    a, b = EvalLease(first), EvalLease(second)
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    yield
    b.__exit__(None, None, None)
    yield


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_last_to_leave_restores_what_the_first_found(kind):
    module = kind()
    before = flags(module)
    steps = overlapping(module, module)

    next(steps)
    during = flags(module)
    next(steps)

    assert not any(during)
    assert flags(module) == before


def test_a_parent_that_leaves_first_leaves_the_child_in_eval_mode():
    module = Nested()
    steps = overlapping(module, module.body[0])

    next(steps)
    assert module.training
    assert flags(module.body[0]) == [False, False]
    next(steps)

    assert all(flags(module))


def test_a_child_that_leaves_first_leaves_all_in_eval_mode():
    module = Nested()
    steps = overlapping(module.body[0], module)

    next(steps)
    assert not any(flags(module))
    next(steps)

    assert all(flags(module))


def test_a_parent_that_reaches_its_child_waits_until_the_child_is_left():
    class Parent(nn.Sequential):
        def train(self, mode=True):  # noqa: FBT002
            calls.append(mode)
            return super().train(mode)

    calls = []
    module = Parent(Merging(), nn.Dropout())
    steps = overlapping(module, module[0])

    next(steps)
    assert calls == [False]
    assert module[0].merged
    assert not any(flags(module))
    next(steps)

    assert calls == [False, True]
    assert all(flags(module))
    assert not module[0].merged


def test_waiting_parents_of_one_child_are_all_restored():
    class Parent(nn.Sequential):
        def train(self, mode=True):  # noqa: FBT002
            calls.append(id(self))
            return super().train(mode)

    calls = []
    child = Normed()
    first, second = Parent(child), Parent(child, nn.Dropout())
    leases = [EvalLease(part) for part in (first, second, child)]

    for lease in leases:
        lease.__enter__()
    for lease in leases:
        assert not any(flags(first) + flags(second))
        lease.__exit__(None, None, None)

    assert all(flags(first) + flags(second))
    assert sorted(calls) == sorted([id(first), id(second)] * 2)


def test_a_call_inside_another_one_is_covered_by_its_lease():
    module = Nested()

    with EvalLease(module):
        assert not needs_lease(module)
        assert not needs_lease(module.body[0])
        assert needs_lease(Normed())
        with ThreadPoolExecutor() as pool:
            assert pool.submit(needs_lease, module).result()


def test_a_lease_that_comes_and_goes_while_the_flag_is_read_is_noticed(monkeypatch):
    class Watched(nn.Dropout):
        def __getattribute__(self, name):
            if name == "training":
                visits.pop()()
            return super().__getattribute__(name)

    def visit():
        with EvalLease(other):
            pass

    other, module = Normed(), nn.Dropout().eval()
    visits = [lambda: None, visit]
    module.__class__ = Watched
    looked = []
    monkeypatch.setattr(_lease, "get_ident", lambda: looked.append(1))

    assert not needs_lease(module)
    assert looked == [1, 1]  # by the visitor, and again under the lock


@pytest.mark.parametrize("kind", [Normed, Frozen, Merging, Shared])
def test_six_threads_on_a_parent_and_its_child_see_eval_mode_only(kind):
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = embedding(kind, inference)()
            self.drop = nn.Dropout()

        @inference
        def embed(self, x):
            return self.drop(self.child.embed(x))

    owner = Owner()
    expected = owner.child.embed(X)
    state = {name: value.clone() for name, value in owner.state_dict().items()}
    before = flags(owner)
    barrier = threading.Barrier(6)

    def work(i):
        embed = (owner.embed, owner.child.embed)[i % 2]
        barrier.wait()
        return all(torch.allclose(embed(X), expected) for _ in range(200))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))

    assert flags(owner) == before
    torch.testing.assert_close(dict(owner.state_dict()), state)


def test_a_lazily_added_child_is_not_touched():
    class Growing(Normed):
        @inference
        def embed(self, x):
            self.late = nn.Dropout()
            return self(x)

    module = Growing()

    module.embed(X)

    assert all(flags(module))


def test_batch_statistics_never_move():
    module = embedding(Normed, inference)()
    before = {name: value.clone() for name, value in module.state_dict().items()}

    for _ in range(3):
        module.embed(X * 100)

    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
