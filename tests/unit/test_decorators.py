"""Decorators: what they take, what they refuse, and what the plan says."""

import pytest
import torch
from torch import nn

from unfussy import (
    UnfussyError,
    auto_device,
    autocast_policy,
    batched,
    inference,
    returns,
)
from unfussy._compile import planned
from unfussy._plan import Plan
from unfussy.errors import PlanError


def plan_of(fn):
    return planned(fn).plan


def embed(self, x):
    """Embed."""
    return x


@pytest.mark.parametrize(
    "decorator", [auto_device, inference, autocast_policy, batched, returns]
)
def test_bare_and_called_decorators_agree(decorator):
    assert plan_of(decorator(embed)) == plan_of(decorator()(embed))
    assert decorator(embed).__doc__ == "Embed."


def test_leading_arguments_may_be_given_by_position():
    assert plan_of(batched(8)(embed)) == plan_of(batched(size=8)(embed))
    assert plan_of(returns("numpy")(embed)) == plan_of(returns(kind="numpy")(embed))
    by_name = autocast_policy(precision="bf16")(embed)
    assert plan_of(autocast_policy("bf16")(embed)) == plan_of(by_name)
    assert plan_of(autocast_policy(torch.bfloat16)(embed)) == plan_of(by_name)


def test_every_decorator_fills_one_entry():
    decorated = returns(batched(autocast_policy(inference(auto_device(embed)))))

    filled = plan_of(decorated)

    assert None not in (getattr(filled, name) for name in Plan.__slots__)


def test_the_same_setting_twice_is_one_setting():
    twice = inference(inference(embed))

    assert plan_of(twice) == plan_of(inference(embed))


def test_two_settings_of_one_entry_are_refused():
    with pytest.raises(
        PlanError, match=r"embed\(\) has two different settings of one decorator: Modes"
    ):
        inference(inference(mode="inference")(embed))


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: inference(mode="fast"), "mode is one of 'no_grad', 'inference', got"),
        (lambda: inference(eval="yes"), "eval is one of True, False, got 'yes'"),
        (lambda: inference(result="copy"), "result is one of 'normal', 'keep'"),
        (lambda: auto_device(float64="half"), "float64 is one of 'follow', 'keep'"),
        (lambda: auto_device(non_blocking="no"), "non_blocking is one of 'auto', True"),
        (lambda: auto_device(copy=3), "copy is one of True, False, got 3"),
        (lambda: auto_device(skip=[1]), r"skip names parameters, got \[1\]"),
        (lambda: autocast_policy(precision="fp8"), "precision is one of .* got 'fp8'"),
        (lambda: autocast_policy(precision=["bf16"]), r"precision .* got \['bf16'\]"),
        (
            lambda: autocast_policy(outputs="half"),
            "outputs is one of 'float32', 'keep'",
        ),
        (lambda: batched(size=0), "size is 'auto', 'all' or a whole .* from 1, got 0"),
        (lambda: batched(size=2.5), "size is 'auto', 'all' or a whole .* got 2.5"),
        (lambda: batched(size=True), "size is 'auto', 'all' or a whole number"),
        (lambda: batched(min_size=-1), "min_size is a whole number"),
        (lambda: batched(on_oom="retry"), "on_oom is one of 'split', 'raise'"),
        (lambda: batched(keep="disk"), "keep is one of 'device', 'cpu'"),
        (lambda: returns(kind="list"), "kind is one of 'tensor', 'numpy', 'mirror'"),
        (lambda: returns(device="cuda"), "device is one of 'keep', 'cpu', 'input'"),
    ],
)
def test_unknown_settings_are_refused_where_they_are_written(decorate, message):
    with pytest.raises(PlanError, match=message):
        decorate()


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (classmethod(embed), "put the decorator below @classmethod"),
        (staticmethod(embed), "put the decorator below @staticmethod"),
        (property(embed), "put the decorator below @property"),
        (nn.Linear, "this is a class; decorate its methods"),
        (nn.Linear(1, 1), r"this is a module; .* or use unfuss\(module\)"),
        (3, "decorators go on functions, got 3"),
    ],
    ids=["class", "static", "property", "type", "module", "number"],
)
def test_what_is_no_function_is_refused(thing, message):
    with pytest.raises(PlanError, match=message):
        inference()(thing)


def test_skipped_parameters_must_exist():
    with pytest.raises(PlanError, match=r"skip names 'y', .* of embed\(self, x\)"):
        auto_device(skip="y")(embed)


def test_plan_errors_are_type_errors():
    assert issubclass(PlanError, TypeError)
    assert issubclass(PlanError, UnfussyError)
