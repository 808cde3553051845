"""Law 1: every order of decorators gives the same plan and the same results."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.modules import EVERY_KIND
from unfussy import auto_device, autocast_policy, batched, inference, returns
from unfussy._compile import planned
from unfussy._plan import Plan
from unfussy.errors import PlanError
from unfussy.testing import assert_orders_agree

pytestmark = pytest.mark.property

SETTINGS = {
    "move": (auto_device, {"float64": st.sampled_from(["follow", "float32"])}),
    "modes": (
        inference,
        {
            "mode": st.sampled_from(["no_grad", "inference"]),
            "result": st.sampled_from(["normal", "keep"]),
        },
    ),
    "precision": (
        autocast_policy,
        {
            "precision": st.sampled_from(["auto", "fp32", "bf16", "inherit"]),
            "outputs": st.sampled_from(["float32", "keep"]),
        },
    ),
    "batch": (batched, {"size": st.one_of(st.just("auto"), st.integers(1, 4))}),
    "output": (returns, {"kind": st.sampled_from(["tensor", "numpy", "mirror"])}),
}


@st.composite
def decorators(draw, without=()):
    """Any of the five decorators, each with any settings."""
    known = [name for name in SETTINGS if name not in without]
    names = draw(st.lists(st.sampled_from(known), unique=True, max_size=4))
    return [
        decorator(**draw(st.fixed_dictionaries({}, optional=settings)))
        for decorator, settings in (SETTINGS[name] for name in names)
    ]


def embed(module, x):
    return {"z": module.eval()(x), "n": 3}


def embed_alone(module, x):
    return module.eval()(x)


@given(decorators=decorators(), kind=st.sampled_from(EVERY_KIND))
def test_every_order_gives_the_same_plan_and_results(decorators, kind):
    x = torch.linspace(-1, 1, 15).reshape(5, 3)

    assert_orders_agree(embed, decorators, kind().eval(), x)


@given(decorators=decorators())
def test_decorating_twice_the_same_is_decorating_once(decorators):
    once = embed
    for decorator in decorators:
        once = decorator(once)
    twice = once
    for decorator in decorators:
        twice = decorator(twice)

    if decorators:
        assert planned(twice).plan == planned(once).plan


@given(name=st.sampled_from([*SETTINGS]), data=st.data())
def test_two_settings_of_one_entry_are_refused_and_no_others(name, data):
    decorator, options = SETTINGS[name]
    strategy = st.fixed_dictionaries({}, optional=options)
    one = decorator(**data.draw(strategy))
    other = decorator(**data.draw(strategy))
    first, second = (planned(d(embed)).plan for d in (one, other))

    if first == second:
        assert planned(other(one(embed))).plan == first
    else:
        with pytest.raises(PlanError, match="two different settings"):
            other(one(embed))


@given(decorators=decorators())
def test_merging_with_nothing_changes_nothing(decorators):
    for decorator in decorators:
        plan = planned(decorator(embed)).plan

        assert plan.merge(Plan(), "embed()") == plan == Plan().merge(plan, "embed()")
        assert plan.fill(Plan()) == plan


@given(
    decorators=decorators(without=["modes", "output"]),
    kind=st.sampled_from(EVERY_KIND),
    fn=st.sampled_from([embed, embed_alone]),
    trains=st.booleans(),
)
def test_results_of_inference_mode_are_normal_tensors(decorators, kind, fn, trains):
    for decorator in [inference(mode="inference"), *decorators]:
        fn = decorator(fn)

    result = fn(kind().train(trains), torch.ones(5, 3))

    z = result["z"] if isinstance(result, dict) else result
    assert not z.is_inference()
