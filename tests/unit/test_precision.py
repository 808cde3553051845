"""Mixed precision by policy, for one call, with everything put back."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fresh import Fresh
from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    inference,
    options,
)
from unfussy._precision import (
    Autocast,
    Precision,
    _any_enabled,
    autocast_for,
    canonical_precision,
    is_any_autocast_enabled,
    needs_switch,
    to_float32,
)
from unfussy.errors import InputTypeError, PlanError
from unfussy.testing import fake_device, simulate_oom

BF16, FP16, FP32, FP64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


class Net(nn.Module):
    def __init__(self, dtype=None):
        super().__init__()
        self.first = nn.Linear(4, 4, dtype=dtype)
        self.head = nn.Linear(4, 2, dtype=dtype)

    def forward(self, x):
        return self.head(self.first(x))

    @autocast_policy(outputs="keep")
    def auto(self, x):
        return self(x)

    @autocast_policy("fp32", outputs="keep")
    def fp32(self, x):
        return self(x)

    @autocast_policy("bf16", outputs="keep")
    def bf16(self, x):
        return self(x)

    @autocast_policy("fp16", outputs="keep")
    def fp16(self, x):
        return self(x)

    @autocast_policy("inherit", outputs="keep")
    def inherit(self, x):
        return self(x)


X = torch.ones(3, 4)


def state():
    """Return all that autocast keeps for this thread."""
    kinds = ("cpu", "cuda")
    return (
        [torch.is_autocast_enabled(kind) for kind in kinds],
        [torch.get_autocast_dtype(kind) for kind in kinds],
        torch.is_autocast_cache_enabled(),
        nesting(),
    )


def nesting():
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    return depth


@pytest.fixture(autouse=True)
def nothing_stays():
    before = state()
    yield
    assert state() == before


# --- names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("auto", "auto"),
        ("inherit", "inherit"),
        ("fp32", "fp32"),
        ("float32", "fp32"),
        (FP32, "fp32"),
        ("fp16", "fp16"),
        ("float16", "fp16"),
        ("half", "fp16"),
        (FP16, "fp16"),
        ("bf16", "bf16"),
        ("bfloat16", "bf16"),
        (BF16, "bf16"),
    ],
    ids=str,
)
def test_a_precision_has_one_name_and_several_aliases(alias, name):
    @autocast_policy(precision=alias)
    def embed(module, x):
        return x

    assert canonical_precision(alias) == name
    assert embed.__unfussy__.plan.precision == Precision(name)


@pytest.mark.parametrize("wrong", ["fp8", FP64, None, 16, [], True])
def test_other_names_are_refused(wrong):
    with pytest.raises(
        PlanError,
        match="precision is one of 'auto', 'fp32', 'fp16', 'bf16', 'inherit' or a",
    ):
        autocast_policy(precision=wrong)
    with (
        pytest.raises(PlanError, match="precision is one of"),
        options(precision=wrong),
    ):
        pass


# --- what a policy means -----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [("auto", FP32), ("fp32", FP32), ("bf16", BF16), ("fp16", FP16), ("inherit", FP32)],
)
def test_on_a_cpu_a_policy_does_what_it_says(method, expected):
    assert getattr(Net(), method)(X).dtype == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [("auto", BF16), ("fp32", FP32), ("bf16", BF16), ("fp16", FP16), ("inherit", BF16)],
)
def test_an_autocast_of_the_caller_is_kept_or_switched_off(method, expected):
    net = Net()

    with torch.autocast("cpu", BF16):
        before = state()
        result = getattr(net, method)(X)
        after = state()

    assert result.dtype == expected
    assert after == before


@pytest.mark.parametrize("method", ["auto", "bf16", "fp16", "inherit", "fp32"])
def test_modules_in_double_precision_are_left_alone(method):
    net = Net(FP64)

    result = getattr(net, method)(X.double())

    assert result.dtype == FP64
    assert torch.equal(result, net(X.double()))


def test_autocast_stays_off_in_methods_of_modules_in_double_precision():
    class Double(Net):
        @autocast_policy("bf16")
        def embed(self, x):
            return torch.is_autocast_enabled("cpu"), self(x)

    assert Double(FP64).embed(X.double())[0] is False
    assert Double().embed(X)[0] is True


def test_in_an_autocast_of_the_caller_doubles_are_left_alone_too():
    with torch.autocast("cpu", BF16):
        assert Net(FP64).bf16(X.double()).dtype == FP64


@pytest.mark.parametrize("dtype", [BF16, FP16], ids=str)
def test_modules_in_low_precision_run_as_they_are(dtype):
    net = Net(dtype)

    assert net.auto(X.to(dtype)).dtype == dtype
    assert torch.equal(net.auto(X.to(dtype)), net(X.to(dtype)))


def test_devices_without_autocast_are_left_alone():
    net = Net().to("meta")

    for method in (net.bf16, net.auto, net.fp32):
        assert method(X.to("meta")).dtype == FP32
    assert autocast_for("bf16", "meta", FP32) is None


@pytest.mark.parametrize(
    ("native", "expected"), [(True, BF16), (False, FP16), (None, BF16)]
)
def test_on_cuda_auto_is_what_the_device_computes_itself(monkeypatch, native, expected):
    asked = []

    def is_bf16_supported(**options):
        asked.append(options)
        return native

    available = native is not None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)

    assert autocast_for("auto", "cuda", FP32) == expected
    assert asked == ([{"including_emulation": False}] if available else [])


@pytest.mark.parametrize("dtype", [BF16, FP16, FP64, None], ids=str)
def test_on_cuda_auto_casts_nothing_but_float32_modules(dtype):
    assert autocast_for("auto", "cuda", dtype) is None


@pytest.mark.parametrize("kind", ["mps", "xpu", "cpu"])
def test_auto_is_off_elsewhere(kind):
    assert autocast_for("auto", kind, FP32) is None


def test_on_a_fake_gpu_auto_is_bfloat16_and_results_come_back_in_float32():
    class Auto(Net):
        @autocast_policy
        @inference
        @auto_device
        def embed(self, x):
            y = self(x)
            return y, y.dtype

    net = Auto()
    with fake_device() as fake:
        result, inside = fake.place(net).embed(np.ones((3, 4)))
        kept, _ = configure(fake.place(net).embed, outputs="keep")(np.ones((3, 4)))
        off, single = configure(fake.place(net).embed, precision="fp32")(X)

    assert inside == BF16
    assert result.dtype == FP32
    assert result.device.type == "cuda"
    assert kept.dtype == BF16
    assert [off.dtype, single] == [FP32, FP32]


def test_the_kinds_of_devices_are_asked_one_by_one_where_torch_has_no_question():
    assert not _any_enabled()
    with torch.autocast("cpu", BF16):
        assert _any_enabled()
        assert is_any_autocast_enabled()


# --- options of the policy ---------------------------------------------------------


def test_a_policy_says_what_becomes_of_weights_and_of_results_that_overflow():
    @autocast_policy("bf16", weights="cast_once", on_nonfinite="warn")
    def embed(module, x):
        return x

    policy = embed.__unfussy__.plan.precision

    assert policy == Precision(
        "bf16", "float32", (), weights="cast_once", on_nonfinite="warn"
    )
    assert policy.looks
    assert not Precision("bf16").looks
    assert Precision("bf16").weights == "per_call"


# --- switching ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "automatic", "outside", "inside"),
    [
        (None, False, False, False),
        (False, False, False, True),
        (BF16, False, True, False),
        (FP16, False, True, True),
        (FP16, True, True, False),
    ],
)
def test_autocast_is_switched_only_where_it_is_not_as_wanted(
    target, automatic, outside, inside
):
    assert needs_switch(target, "cpu", automatic=automatic) is outside
    with torch.autocast("cpu", BF16):
        assert needs_switch(target, "cpu", automatic=automatic) is inside


@pytest.mark.parametrize("target", [BF16, FP16, False], ids=str)
@pytest.mark.parametrize("around", [None, BF16, FP16], ids=str)
def test_the_flags_are_those_of_torchs_own_context(target, around):
    def dtypes_inside(context):
        with context:
            return nn.Linear(4, 4)(X).dtype, state()

    enabled = target is not False
    own = torch.autocast("cpu", target or BF16, enabled=enabled)
    if around is None:
        assert dtypes_inside(Autocast("cpu", target))[0] == dtypes_inside(own)[0]
        return
    with torch.autocast("cpu", around):
        before = state()
        assert dtypes_inside(Autocast("cpu", target))[0] == dtypes_inside(own)[0]
        assert state() == before


@pytest.mark.parametrize("around", [False, True])
def test_an_error_puts_everything_back(around):
    class Broken(nn.Linear):
        @autocast_policy("bf16")
        def embed(self, x):
            assert torch.is_autocast_enabled("cpu")
            raise ValueError("mine")

        @autocast_policy("bf16")
        @auto_device
        def take(self, x):
            return x

    with torch.autocast("cpu", FP16, enabled=around):
        before = state()
        with pytest.raises(ValueError, match="mine"):
            Broken(1, 1).embed(X)
        with pytest.raises(InputTypeError):
            Broken(1, 1).take([np.array([None])])
        assert state() == before


def test_decorated_methods_that_call_each_other_nest():
    class Nested(Net):
        @autocast_policy("bf16", outputs="keep")
        def outer(self, x):
            before = state()
            results = [
                self.fp32(x),
                self.auto(x),
                self.inherit(x),
                self.fp16(x),
                self(x),
            ]
            assert state() == before
            return results

    dtypes = [x.dtype for x in Nested().outer(X)]

    assert dtypes == [FP32, BF16, BF16, FP16, BF16]


def test_threads_do_not_see_each_others_autocast():
    net, seen = Net(), []
    inside, done = threading.Event(), threading.Event()

    class Waiting(Net):
        @autocast_policy("bf16", outputs="keep")
        def embed(self, x):
            inside.set()
            done.wait(10)
            return self(x)

    thread = threading.Thread(target=lambda: seen.append(Waiting().embed(X).dtype))
    thread.start()
    inside.wait(10)
    ours = net.inherit(X).dtype, state()
    done.set()
    thread.join()

    assert ours[0] == FP32
    assert ours[1][0] == [False, False]
    assert seen == [BF16]


def test_threads_of_two_precisions_do_not_share_cast_weights():
    class Together(Net):
        @autocast_policy("bf16", outputs="keep")
        @inference
        def embed(self, x, barrier):
            results = []
            for _ in range(2):  # the first leaves its weights in autocast's cache
                barrier.wait(10)
                results.append(self(x))
            barrier.wait(10)
            return results

    net, barrier, results = Together(), threading.Barrier(2), []
    thread = threading.Thread(target=lambda: results.extend(net.embed(X, barrier)))
    thread.start()
    before = state()
    halves = configure(net.embed, precision="fp16")(X, barrier)
    assert state() == before
    thread.join()

    assert len(results) == 2
    assert all(torch.equal(result, net.bf16(X)) for result in results)
    assert all(torch.equal(half, net.fp16(X)) for half in halves)


# --- weights are cast once ---------------------------------------------------------


class Casts(TorchDispatchMode):
    """Counts casts of matrices with *shape* to bfloat16."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.n = shape, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") is BF16:
            self.n += tuple(args[0].shape) == self.shape
        return func(*args, **kwargs)


@pytest.mark.parametrize("mode", ["no_grad", "inference"])
@pytest.mark.parametrize("size", [2, "auto"])
def test_all_chunks_share_one_cast_of_each_weight(mode, size):
    class Cut(Net):
        @batched(size=size)
        @autocast_policy("bf16")
        @inference(mode=mode)
        @auto_device
        def embed(self, x):
            return self(x)

    net = Cut()
    limit = simulate_oom(net.first, max_items=2)
    with Casts((4, 4)) as casts:
        if size == "auto":
            with limit:
                result = net.embed(torch.ones(16, 4))
        else:
            result = net.embed(torch.ones(16, 4))

    assert casts.n == 1
    assert not result.is_inference()
    result.requires_grad_()


def test_the_weights_of_one_call_are_not_those_of_the_next():
    class Cut(Net):
        @batched(size=2)
        @autocast_policy("bf16")
        @inference
        def embed(self, x):
            return self(x)

    net = Cut()
    net.embed(torch.ones(4, 4))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()

    assert net.embed(torch.ones(4, 4)).abs().sum() == 0


# --- results -----------------------------------------------------------------------


def test_results_of_autocast_come_back_in_float32_at_any_depth():
    class Deep(Net):
        @autocast_policy("bf16")
        def embed(self, x):
            y = self(x)
            return {"y": y, "same": [y], "n": 1, "double": x.double(), "ids": x.long()}

    result = Deep().embed(X)

    assert result["y"].dtype == FP32
    assert result["y"] is result["same"][0]
    assert [result["double"].dtype, result["ids"].dtype] == [FP64, torch.int64]


def test_results_keep_their_graph_when_they_come_back():
    class Train(Net):
        @autocast_policy("bf16")
        def embed(self, x):
            return self(x)

    net = Train()

    net.embed(X).sum().backward()

    assert net.head.weight.grad.dtype == FP32


def test_low_results_of_a_low_module_are_its_own():
    class Low(Net):
        @autocast_policy
        def embed(self, x):
            return self(x)

    assert Low(BF16).embed(X.to(BF16)).dtype == BF16


def test_in_an_autocast_of_the_caller_results_come_back_too():
    class Auto(Net):
        @autocast_policy
        def embed(self, x):
            return self(x)

    with torch.autocast("cpu", BF16):
        assert Auto().embed(X).dtype == FP32


def test_tensors_that_a_container_makes_anew_are_not_taken_for_each_other():
    def make(i):
        return torch.full((2,), i, dtype=FP32 if i % 2 else BF16)

    raised = to_float32(Fresh(make, 50)).replaced

    cast = range(0, 50, 2)
    assert [int(raised[i][0]) for i in cast] == list(cast)


def test_float32_is_handed_on_as_the_same_object():
    assert to_float32(X) is X
    assert to_float32([X])[0] is X


# --- parts in float32 --------------------------------------------------------------


class Careful(Net):
    def __init__(self, dtype=None):
        super().__init__(dtype)
        self.seen = []
        self.head.register_forward_pre_hook(self.note)

    def note(self, part, args):
        self.seen.append((args[0].dtype, torch.is_autocast_enabled("cpu")))

    @autocast_policy("bf16", outputs="keep", keep_fp32="head")
    def embed(self, x):
        return self(x), self.first(x).dtype


def hooks(net):
    parts = net.modules()
    return [len(p._forward_hooks) + len(p._forward_pre_hooks) for p in parts]


@pytest.mark.parametrize("around", [False, True])
def test_a_part_runs_in_float32_and_the_rest_does_not(around):
    net = Careful()
    before = hooks(net)

    with torch.autocast("cpu", BF16, enabled=around):
        result, rest = net.embed(X)

    assert result.dtype == FP32
    assert rest == BF16
    assert net.seen == [(BF16, True)]
    assert hooks(net) == before


def test_a_part_of_a_part_can_be_named():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

        @autocast_policy("bf16", outputs="keep", keep_fp32=["body.0", "body"])
        def embed(self, x):
            return self.body(x), self.body[0](x), self.body[1](x)

    dtypes = [x.dtype for x in Deep().embed(X)]

    assert dtypes == [FP32, FP32, BF16]


def test_where_autocast_is_off_parts_run_as_they_are():
    class Low(Net):
        @autocast_policy(keep_fp32="head", outputs="keep")
        def embed(self, x):
            return self(x)

    assert Low(BF16).embed(X.to(BF16)).dtype == BF16
    assert Low().embed(X).dtype == FP32


def test_a_part_that_runs_where_autocast_is_switched_off_is_left_alone():
    class Author(Net):
        def __init__(self):
            super().__init__()
            self.head = nn.Identity()

        @autocast_policy("bf16", outputs="keep", keep_fp32="head")
        def embed(self, x):
            with torch.autocast("cpu", enabled=False):
                alone = self.head(x.half()).dtype
            return alone, self.head(x.half()).dtype

    assert Author().embed(X) == (FP16, FP32)


@pytest.mark.parametrize("wrong", ["heads", "head.weight", "first.0"])
def test_a_part_that_is_not_there_is_refused(wrong):
    class Wrong(Net):
        @autocast_policy("bf16", keep_fp32=("first", wrong))
        def embed(self, x):
            return self(x)

    net = Wrong()
    with pytest.raises(
        PlanError, match=rf"keep_fp32 names '{wrong}', which Wrong does not have"
    ):
        net.embed(X)
    assert sum(hooks(net)) == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_no_hook_and_no_switch_is_left(error):
    class Broken(nn.Linear):
        def forward(self, x):
            assert not torch.is_autocast_enabled("cpu")
            raise error("mine")

    net = Careful()
    net.head = Broken(4, 2)
    with torch.autocast("cpu", FP16):
        before = state()
        with pytest.raises(error, match="mine"):
            net.embed(X)
        assert state() == before
    assert sum(hooks(net)) == 0


def test_an_error_that_the_method_catches_switches_back_at_once():
    class Broken(nn.Linear):
        def forward(self, x):
            raise ValueError("mine")

    class Catching(Net):
        @autocast_policy("bf16", outputs="keep", keep_fp32="head")
        def embed(self, x):
            with pytest.raises(ValueError, match="mine"):
                self.head(x)
            return self.first(x)

    net = Catching()
    net.head = Broken(4, 2)

    assert net.embed(X).dtype == BF16


def test_parts_stay_in_float32_in_nested_calls():
    class Nested(Careful):
        @autocast_policy("bf16", outputs="keep", keep_fp32="head")
        def outer(self, x):
            return self.embed(x)[0], self(x), self.bf16(x)

    net = Nested()
    dtypes = [x.dtype for x in net.outer(X)]

    assert dtypes == [FP32, FP32, FP32]
    assert sum(hooks(net)) == 1


def test_other_threads_do_not_see_the_hooks_of_this_one():
    net, seen = Careful(), []

    class Meanwhile(nn.Linear):
        def forward(self, x):
            if threading.current_thread() is threading.main_thread():
                thread = threading.Thread(target=lambda: seen.append(net.bf16(X).dtype))
                thread.start()
                thread.join()
            return super().forward(x)

    net.first = Meanwhile(4, 4)

    result, _ = net.embed(X)

    assert result.dtype == FP32
    assert set(seen) == {BF16}


def test_a_part_that_another_thread_runs_meanwhile_stays_in_float32_here():
    class Meanwhile(nn.Linear):
        def forward(self, x):
            if threading.current_thread() is threading.main_thread():
                thread = threading.Thread(target=lambda: self(X))
                thread.start()
                thread.join()
                assert not torch.is_autocast_enabled("cpu")
            return super().forward(x)

    net = Careful()
    net.head = Meanwhile(4, 2)

    assert net.embed(X)[0].dtype == FP32


def test_hooks_that_another_thread_finds_half_removed_do_nothing():
    found = []

    class Meanwhile(nn.Linear):
        def forward(self, x):
            hooks = list(self._forward_pre_hooks.values())
            # torch forgets first that a hook takes keywords, and then the hook.
            ask = threading.Thread(
                target=lambda: found.extend(hook(self, (x,)) for hook in hooks)
            )
            ask.start()
            ask.join()
            return super().forward(x)

    net = Careful()
    net.head = Meanwhile(4, 2)

    assert net.embed(X)[0].dtype == FP32
    assert found == [None]


def test_many_threads_at_once_get_what_each_asked_for():
    net, seen = Net(), []

    @autocast_policy("bf16", outputs="keep", keep_fp32="head")
    def careful(net, x):
        return net(x)

    def work(method, expected):
        seen.extend(method(X).dtype == expected for _ in range(40))

    jobs = [(lambda x: careful(net, x), FP32), (net.bf16, BF16), (net.fp32, FP32)]
    threads = [threading.Thread(target=work, args=job) for job in 2 * jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 240
    assert all(seen)
    assert sum(hooks(net)) == 0
