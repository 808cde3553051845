"""The short path of a call and the general one follow the same plan."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.modules import EVERY_KIND
from tests.property.test_plan import decorators
from unfussy import auto_device, autocast_policy, batched, inference
from unfussy._compile import planned
from unfussy._ready import COLD, make_ready
from unfussy.testing import fake_device

pytestmark = pytest.mark.property

X = torch.linspace(-1, 1, 15).reshape(5, 3)

inputs = st.sampled_from(
    [
        X,
        X[:0],
        X[:1],
        X.double(),
        X.T.contiguous().T,
        X.numpy(),
        X.double().numpy(),
        X.numpy()[::-1],
        X.double().numpy().astype(">f4"),
        X.to(torch.int64),
        X.to(torch.complex128),
        X.to_sparse(),
        torch.tensor(1.0),
        np.float32(1),
        {"x": X.numpy(), "n": 3},
        [X, X.double()],
        (X.numpy(),),
        None,
        "text",
    ]
)


def describe(module, x):
    """Return what came, and what surrounds the call."""
    state = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        module.training,
    )
    return {"x": x, "state": [state] * 5}


def outcome(call, *args):
    try:
        return repr(call(*args))
    except Exception as error:  # noqa: BLE001 - both paths raise the same
        return f"{type(error).__name__}: {error}"


@given(
    decorators=decorators(),
    kind=st.sampled_from(EVERY_KIND),
    x=inputs,
    training=st.booleans(),
    around=st.booleans(),
)
def test_both_paths_give_the_same(decorators, kind, x, training, around):
    call = describe
    for decorator in decorators:
        call = decorator(call)
    module = kind().train(training)
    record = planned(call)

    def general(module, x):
        return record.planner.run((module, x), {}) if record else describe(module, x)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
        short = outcome(call, module, x)

        assert short == outcome(general, module, x)
        assert short == outcome(lambda module, x: call(module, x=x), module, x)


@pytest.mark.parametrize("cuts", [True, False])
def test_inputs_for_an_accelerator_are_moved_by_the_path_that_can_run_out_of_memory(
    cuts,
):
    call = auto_device(batched(size=9)(describe)) if cuts else auto_device(describe)
    record = planned(call)
    ready = make_ready(record.plan, record.planner.reader)

    with fake_device() as device:
        module = device.place(nn.Linear(3, 3))
        result = ready(module, X)

        assert (result is COLD) is cuts
        if not cuts:
            assert result.device == device.device


def test_modules_without_a_float_are_left_to_the_general_path():
    module = nn.Module()
    module.register_buffer("weight", torch.zeros(3, dtype=torch.int8))
    record = planned(auto_device(describe))

    ready = make_ready(record.plan, record.planner.reader)

    assert ready(module, X.double()) is COLD
    assert ready(module, X) is X


def test_policies_without_a_move_hand_on_what_came():
    record = planned(autocast_policy(inference(describe)))

    ready = make_ready(record.plan, record.planner.reader)

    assert ready(nn.Linear(3, 3), "text") == "text"
