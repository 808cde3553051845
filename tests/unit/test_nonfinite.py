"""Infinities and NaN in results of low precision: told, or computed again."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    inference,
    options,
)
from unfussy._nonfinite import NonFiniteWarning, nonfinite_path
from unfussy.errors import PlanError
from unfussy.testing import fake_device

FP16 = torch.float16
INF, NAN = float("inf"), float("nan")


def net_class(policy, **more):
    """Return a class whose method overflows in float16 where inputs are large."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)
            nn.init.constant_(self.layer.weight, 1000.0)
            self.runs = []

        def forward(self, x):
            self.runs.append((torch.is_autocast_enabled("cpu"), len(x)))
            return {"y": [x, self.layer(x)]}

        @autocast_policy("fp16", on_nonfinite=policy, **more)
        @inference
        @auto_device
        def embed(self, x):
            return self(x)

        @batched(size=2)
        @autocast_policy("fp16", on_nonfinite=policy, **more)
        @inference
        @auto_device
        def cut(self, x):
            return self(x)["y"][1]

    return Net


SMALL = torch.ones(6, 4)
LARGE = SMALL.clone()
LARGE[2] = 100.0


def silent(method, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return method(*args)


# --- settings ----------------------------------------------------------------------


def test_other_settings_are_refused():
    with pytest.raises(PlanError, match="on_nonfinite is one of 'ignore', 'warn', 're"):
        autocast_policy(on_nonfinite="raise")


@pytest.mark.parametrize("policy", ["ignore", "warn", "retry"])
def test_finite_results_are_handed_out_as_they_are(policy):
    net = net_class(policy)()

    result = silent(net.embed, SMALL)

    assert result["y"][1].isfinite().all()
    assert net.runs == [(True, 6)]


def test_nothing_is_looked_at_where_it_is_to_be_ignored():
    net = net_class("ignore")()

    assert silent(net.embed, LARGE)["y"][1].isinf().any()


# --- warn --------------------------------------------------------------------------


def test_a_method_warns_once_and_says_where():
    net = net_class("warn")()
    with pytest.warns(
        NonFiniteWarning,
        match=r"Net.embed\(\): result\['y'\]\[1\] of low precision holds infinities or "
        r"NaN; use on_nonfinite='retry', keep_fp32 or precision='fp32'",
    ):
        net.embed(LARGE)

    silent(net.embed, LARGE)
    silent(configure(net.embed, outputs="keep"), LARGE)
    assert net.runs == [(True, 6)] * 3


def test_another_method_warns_for_itself():
    net = net_class("warn")()
    with pytest.warns(NonFiniteWarning):
        net.embed(LARGE)

    with pytest.warns(NonFiniteWarning, match=r"Net.cut\(\): result of low"):
        net.cut(LARGE)


def test_options_of_one_call_can_ask_for_it():
    net = net_class("ignore")()
    with options(on_nonfinite="warn"), pytest.warns(NonFiniteWarning):
        net.embed(LARGE)
    result = silent(configure(net.embed, on_nonfinite="retry"), LARGE)

    assert result["y"][1].isfinite().all()


# --- retry -------------------------------------------------------------------------


def test_a_call_is_run_again_in_float32():
    net = net_class("retry")()

    result = silent(net.embed, LARGE)

    assert torch.equal(result["y"][1], net.layer(LARGE))
    assert net.runs == [(True, 6), (False, 6)]


@pytest.mark.parametrize("weights", ["per_call", "cast_once"])
def test_only_the_chunks_concerned_are_run_again(weights):
    net = net_class("retry", weights=weights)()

    result = silent(net.cut, LARGE)

    assert torch.equal(result, torch.full((6, 1), 4e3) * LARGE)
    assert net.runs == [(True, 2), (True, 2), (False, 2), (True, 2)]


def test_low_inputs_are_read_in_float32_too():
    net = net_class("retry")()

    result = silent(net.embed, LARGE.half())

    assert result["y"][1].isfinite().all()


def test_inputs_that_are_not_finite_are_no_reason_to_run_again():
    net, x = net_class("retry")(), LARGE.clone()
    x[0, 0] = NAN
    with pytest.warns(
        NonFiniteWarning,
        match=r"result\['y'\]\[0\] holds infinities or NaN, and so does the input x, ",
    ):
        net.embed(x)

    assert net.runs == [(True, 6)]


def test_inputs_to_blame_are_named_by_their_path():
    net = net_class("warn")()

    @autocast_policy("fp16", on_nonfinite="warn")
    @auto_device
    def embed(module, inputs, *, other):
        return module.layer(inputs["a"]) + other[1]

    with pytest.warns(NonFiniteWarning, match=r"so does the input other\[1\], which"):
        embed(net, {"a": np.ones((2, 4))}, other=[1.0, np.array([INF, 1, 1, 1])])


def test_what_float32_cannot_hold_either_is_handed_out_with_a_warning():
    net = net_class("retry")()
    nn.init.constant_(net.layer.weight, 1e38)
    with pytest.warns(
        NonFiniteWarning, match=r"\[1\] holds infinities or NaN in float32 too"
    ):
        result = net.embed(LARGE)

    assert result["y"][1].isinf().any()
    assert net.runs == [(True, 6), (False, 6)]


def test_random_numbers_are_drawn_as_in_the_first_run():
    class Noisy(net_class("retry")):
        @autocast_policy("fp16", on_nonfinite="retry")
        @inference
        @auto_device
        def noisy(self, x, generator):
            noise = torch.rand(4) + torch.rand(4, generator=generator)
            return noise, self.layer(x)

    net, drawn = Noisy(), []
    for x in (SMALL, LARGE):
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        noise, _ = silent(net.noisy, x, generator)
        drawn.append(torch.stack([noise, torch.rand(4)]))
        drawn.append(torch.rand(2, 4, generator=generator))

    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])


def test_a_module_in_low_precision_is_not_run_in_float32():
    net = net_class("retry")().half()
    with pytest.warns(NonFiniteWarning, match="result"):
        net.embed(LARGE)

    assert net.runs == [(True, 6)]


def test_without_low_precision_nothing_is_looked_at():
    net = net_class("retry")()

    silent(configure(net.embed, precision="fp32"), LARGE * INF)
    silent(net.double().embed, LARGE.double() * INF)

    assert net.runs == [(False, 6), (False, 6)]


def test_an_autocast_of_the_caller_counts_too():
    net = net_class("retry")()
    with torch.autocast("cpu", FP16):
        result = silent(configure(net.embed, precision="inherit"), LARGE)

    assert result["y"][1].isfinite().all()
    assert net.runs == [(True, 6), (False, 6)]


def test_an_error_of_the_method_is_its_own():
    class Broken(net_class("retry")):
        def forward(self, x):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Broken().embed(LARGE)


# --- generators, graphs, fakes -----------------------------------------------------


def test_generators_warn_and_cannot_be_run_again():
    net = net_class("ignore")()

    @autocast_policy("fp16", on_nonfinite="warn")
    def steps(module, x):
        yield module.layer(x)
        yield module.layer(x)

    with pytest.warns(NonFiniteWarning, match="steps.*result of low precision") as told:
        assert len(list(steps(net, LARGE))) == 2
    assert len(told) == 1
    with pytest.raises(PlanError, match=r"steps.*cannot be run again; use on"):
        configure(steps, on_nonfinite="retry")


def test_compiled_callers_leave_the_graph_for_it():
    net = net_class("retry")()
    compiled = torch.compile(lambda x: net.embed(x)["y"][1] + 1, backend="eager")

    assert torch.equal(compiled(LARGE), net.layer(LARGE) + 1)


def test_it_cannot_be_exported():
    class Forward(net_class("ignore")):
        @autocast_policy("fp16", on_nonfinite="warn")
        def forward(self, x):
            return self.layer(x)

    with pytest.raises(PlanError, match="on_nonfinite cannot be exported"):
        torch.export.export(Forward(), (SMALL,), strict=False)


def test_fake_results_have_no_values_to_look_at():
    net = net_class("retry")()
    with fake_device() as fake:
        result = fake.place(net).embed(np.ones((2, 4), np.float32))

    assert result["y"][1].dtype == torch.float32


# --- looking -----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize(
    "dtype",
    [FP16, torch.bfloat16, torch.float32, torch.float64, torch.complex64],
    ids=str,
)
def test_every_kind_of_number_is_found_anywhere(bad, dtype):
    good = torch.zeros(3, 2, dtype=dtype)
    wrong = good.clone()
    wrong[2, 1] = bad

    assert nonfinite_path(good) is None
    assert nonfinite_path(wrong) == ""
    assert nonfinite_path(wrong.requires_grad_().t()) == ""
    assert nonfinite_path({"a": (good, SimpleNamespace(b=wrong))}) == "['a'][1].b"


def test_the_first_one_is_named():
    bad = torch.tensor(NAN)

    assert nonfinite_path([torch.ones(2), bad, bad]) == "[1]"


def test_parts_that_are_no_numbers_are_passed_over():
    parts = [None, "nan", 1.0, np.array(["a"]), np.arange(2), torch.ones(0)]
    parts += [torch.ones(2, dtype=torch.bool), torch.ones(2).to_sparse()]
    parts += [
        torch.empty(2, device="meta"),
        torch.ones(2, dtype=torch.complex64).conj(),
    ]

    assert nonfinite_path(parts) is None
    assert nonfinite_path([*parts, np.array([1, NAN])]) == f"[{len(parts)}]"
