"""What each candidate does, when it cannot, and what it leaves behind."""

import copy
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.nets import trial_of
from unfussy import UnfussyError, _cpu, tune_cpu
from unfussy._batching import Batch
from unfussy._optimizing.candidate import Trial
from unfussy._optimizing.candidates import BUILT_IN, compiling, precisions, process
from unfussy._optimizing.candidates.batches import BatchSize
from unfussy._optimizing.candidates.compiling import Compile, CompileMaxAutotune
from unfussy._optimizing.candidates.layouts import ChannelsLast
from unfussy._optimizing.candidates.norms import FoldNorms
from unfussy._optimizing.candidates.pairs import find_pairs
from unfussy._optimizing.candidates.precisions import (
    Autocast,
    CastOnce,
    LowPrecisionWeights,
)
from unfussy._optimizing.candidates.process import (
    TF32,
    Allocator,
    CudnnBenchmark,
    Threads,
)
from unfussy._plan import Plan
from unfussy._precision import Precision

X = torch.linspace(-1, 1, 2 * 4 * 5 * 5).reshape(2, 4, 5, 5)
GLIBC = pytest.mark.skipif(_cpu.allocator_obstacle() is not None, reason="needs glibc")


@pytest.fixture(autouse=True)
def _default_allocator():
    if _cpu.keeps_memory():  # of a test that wants it for good
        _cpu._set_allocator(_cpu._DEFAULT)


def pair():
    """Return a convolution and its norm, with statistics of some batch."""
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    net(torch.randn(8, 4, 5, 5) + 1)
    return net.eval()


def fold(net, x=X):
    """Fold the norms of *net*, and call it often enough for it to matter."""
    undo = FoldNorms().apply(trial_of(net, x))
    with torch.no_grad():
        net(x), net(x)
    return undo


@pytest.fixture
def bf16(monkeypatch):
    monkeypatch.setattr(precisions, "native_low_precision", lambda _: torch.bfloat16)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_each_candidate_says_what_it_does_and_offers_a_variant(kind):
    trial = trial_of(nn.Linear(2, 2), torch.ones(3, 2))

    variants = kind.variants(trial)

    assert variants
    for each in variants:
        assert type(each) is kind
        assert kind(**each.parameters()) == each or not each.parameters()
        assert each.summary
        assert each.obstacle(trial) is None or isinstance(each.obstacle(trial), str)


def test_names_are_all_different():
    assert len({kind.name for kind in BUILT_IN}) == len(BUILT_IN)


# --- channels last -----------------------------------------------------------------


def test_weights_are_laid_out_beside_the_layer():
    net = nn.Conv2d(4, 4, 3).eval()
    ChannelsLast().apply(trial_of(net, X))

    with torch.no_grad():
        net(X)
        result = net(X)

    assert result.is_contiguous(memory_format=torch.channels_last)
    assert net.weight.is_contiguous()


@pytest.mark.parametrize("net", [nn.Linear(5, 5), nn.Conv1d(4, 4, 1), nn.Identity()])
def test_without_convolutions_there_is_nothing_to_lay_out(net):
    assert "no convolution" in ChannelsLast().obstacle(trial_of(net, X))


def test_weights_are_laid_out_once():
    trial = trial_of(pair(), X)
    ChannelsLast().apply(trial)

    assert ChannelsLast().obstacle(trial) is not None


# --- folded norms ------------------------------------------------------------------


def test_a_norm_behind_a_layer_costs_nothing_any_more(monkeypatch):
    net = pair()
    fold(net)
    monkeypatch.setattr(nn.functional, "batch_norm", None)

    with torch.no_grad():
        net(X)


def test_a_result_that_somebody_else_uses_too_is_what_the_layer_gives():
    class Branching(nn.Module):
        branches = False

        def __init__(self):
            super().__init__()
            self.layer, self.norm = pair()

        def forward(self, x):
            y = self.layer(x)
            return (self.norm(y), y + 1, y[0]) if self.branches else self.norm(y)

    net = Branching().eval()
    undo = fold(net)
    net.branches = True
    with torch.no_grad():
        result = net(X)

        undo()
        torch.testing.assert_close(result, net(X))


def test_norms_that_change_places_each_compute_their_own():
    class Swapping(nn.Module):
        swaps = False

        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([pair(), pair()])

        def forward(self, x):
            (first, a), (second, b) = self.layers
            if self.swaps:
                a, b = b, a
            return a(first(x)) - b(second(x))

    net = Swapping().eval()
    undo = fold(net)
    net.swaps = True
    with torch.no_grad():
        result = net(X)

        undo()
        torch.testing.assert_close(result, net(X))


def test_changing_the_input_before_the_result_is_used_is_refused():
    class Changing(nn.Module):
        changes = False

        def __init__(self):
            super().__init__()
            self.layer, self.norm = pair()

        def forward(self, x):
            y = self.layer(x)
            if self.changes:
                x += 1
            return self.norm(y)

    net = Changing().eval()
    fold(net)
    net.changes = True

    with (
        torch.no_grad(),
        pytest.raises(UnfussyError, match="fold_norms cannot be used"),
    ):
        net(X.clone())


def test_a_layer_whose_input_is_changed_meanwhile_is_no_pair():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = pair()

        def forward(self, x):
            x = x.clone()
            y = self.layer(x)
            x += 1
            return self.norm(y) + x.mean()

    assert find_pairs(trial_of(Changing().eval(), X)) == []


def test_a_result_that_goes_elsewhere_too_is_no_pair():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = pair()

        def forward(self, x):
            y = self.layer(x)
            return self.norm(y) + y

    assert find_pairs(trial_of(Twice().eval(), X)) == []


def test_a_result_that_is_kept_is_not_folded():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = pair()

        def forward(self, x):
            self.kept = self.layer(x)
            return self.norm(self.kept)

    trial = trial_of(Keeping().eval(), X)

    assert "to nobody else" in FoldNorms().obstacle(trial)


def hooked(net):
    net[0].register_forward_hook(lambda *_: None)


def hooked_norm(net):
    net[1].register_forward_pre_hook(lambda *_: None)


def parametrised(net):
    parametrizations.weight_norm(net[0])


def without_statistics(net):
    net[1] = nn.BatchNorm2d(4, track_running_stats=False)


def with_own_forward(net):
    net[0].forward = lambda x: nn.functional.relu(x[..., 1:-1, 1:-1])


def subclassed(net):
    net[0].__class__ = type("Special", (nn.Conv2d,), {})


def made_in_inference_mode(net):
    with torch.inference_mode():
        net[0].weight = nn.Parameter(torch.ones(4, 4, 3, 3), requires_grad=False)


@pytest.mark.parametrize(
    "change",
    [
        hooked,
        hooked_norm,
        parametrised,
        without_statistics,
        with_own_forward,
        subclassed,
        made_in_inference_mode,
    ],
)
def test_unusual_layers_and_norms_are_left_alone(change):
    net = pair()
    change(net)

    assert "no batch norm behind a layer" in FoldNorms().obstacle(trial_of(net, X))


def test_a_hook_that_comes_later_sees_what_the_layer_gives():
    net, seen = pair(), []
    with torch.no_grad():
        expected = nn.Conv2d.forward(net[0], X)
    fold(net)
    net[0].register_forward_hook(lambda module, args, result: seen.append(result))

    with torch.no_grad():
        net(X)

    assert torch.equal(seen[0], expected)


def test_copies_do_not_carry_what_was_prepared():
    net = pair()
    fold(net)

    copied = copy.deepcopy(net)

    assert net[0].forward._made is not None
    assert copied[0].forward._made is None
    assert copied[0].forward.layer is copied[0]


def test_a_norm_in_training_mode_is_not_folded():
    net = pair()
    fold(net)
    net[1].train()
    with torch.no_grad():
        net(X)
        result = net(X)

    assert result.mean().abs() < 0.2  # of each batch's own


def test_a_compiled_module_takes_its_own_way():
    net = pair()
    with torch.no_grad():
        expected = net(X)
    fold(net)

    with torch.no_grad():
        result = torch.compile(net, backend="eager", fullgraph=True)(X)

    assert torch.equal(result, expected)


def test_a_module_under_a_transform_takes_its_own_way():
    net = pair()
    fold(net)
    many = torch.stack([X, X + 1])

    with torch.no_grad():
        result = torch.vmap(net)(many)

        torch.testing.assert_close(result, torch.stack([net(x) for x in many]))


def test_weights_for_one_call_are_used_and_not_kept():
    net = pair()
    undo = fold(net)
    others = {key: value + 0.5 for key, value in net.state_dict().items()}

    with torch.no_grad():
        results = [torch.func.functional_call(net, others, (X,)) for _ in range(2)]
        own = net(X)
        undo()

        expected = torch.func.functional_call(net, others, (X,))
        for result in results:
            torch.testing.assert_close(result, expected)
        torch.testing.assert_close(own, net(X))


def test_mixed_precision_casts_folded_weights_once(bf16):
    net = pair()
    fold(net)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        results = [net(X), net(X)]

    assert results[1].dtype is torch.bfloat16
    assert list(net[0].forward._made.casts) == [torch.bfloat16]


# --- precisions --------------------------------------------------------------------


def test_mixed_precision_is_a_setting(bf16):
    trial = trial_of(nn.Linear(4, 4), X[..., :4])

    undo = Autocast().apply(trial)

    assert trial.settings == {"precision": "bf16"}
    undo()
    assert trial.settings == {}


def test_where_nothing_computes_in_half_precision_there_is_none(monkeypatch):
    monkeypatch.setattr(precisions, "native_low_precision", lambda _: None)
    trial = trial_of(nn.Linear(4, 4), X)

    for each in (Autocast(), LowPrecisionWeights()):
        assert "bfloat16" in each.obstacle(trial)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_what_the_method_asks_for_is_not_overridden(bf16, name):
    trial = trial_of(nn.Linear(4, 4), X)
    trial.plan = Plan(precision=Precision(name))

    assert Autocast().obstacle(trial) is not None


def test_modules_in_double_precision_stay_so(bf16):
    trial = trial_of(nn.Linear(4, 4).double(), X)
    trial.dtype = torch.float64

    for each in (Autocast(), LowPrecisionWeights()):
        assert "float64" in each.obstacle(trial)


def test_weights_are_cast_once_only_in_mixed_precision():
    trial = trial_of(nn.Linear(4, 4), X)
    assert "mixed precision" in CastOnce().obstacle(trial)

    trial.settings["precision"] = "bf16"
    assert CastOnce().obstacle(trial) is None

    CastOnce().apply(trial)
    assert "already" in CastOnce().obstacle(trial)


def test_a_module_is_cast_but_for_its_norms_and_tied_weights_stay_tied(bf16):
    net = nn.Sequential(*pair(), nn.Flatten(), nn.Linear(36, 36), nn.Linear(36, 36))
    net[4].weight = net[3].weight
    shared = net[3].weight

    undo = LowPrecisionWeights().apply(trial_of(net, X))

    assert net[0].weight.dtype is net[3].weight.dtype is torch.bfloat16
    assert net[1].weight.dtype is net[1].running_mean.dtype is torch.float32
    assert net[4].weight is net[3].weight
    assert shared.dtype is torch.float32
    undo()
    assert net[4].weight is net[3].weight is shared


def test_the_norms_can_be_cast_as_well(bf16):
    first, second = LowPrecisionWeights.variants(trial_of(pair(), X))

    net = pair()
    second.apply(trial_of(net, X))

    assert first.keep_norms
    assert net[1].running_mean.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("device", "native", "expected"),
    [
        ("cpu", True, torch.bfloat16),
        ("cpu", False, None),
        ("cpu", None, None),
        ("cuda", True, torch.bfloat16),
        ("cuda", False, torch.float16),
        ("mps", None, torch.float16),
        ("meta", None, None),
    ],
)
def test_the_half_precision_is_the_one_that_the_device_computes_in(
    monkeypatch, device, native, expected
):
    info = type("Info", (), {"native_bf16": native})
    monkeypatch.setattr(precisions, "cpu_info", info)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)

    assert precisions.native_low_precision(torch.device(device)) is expected


# --- the process -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TF32, CudnnBenchmark, CompileMaxAutotune])
def test_some_candidates_are_for_cuda_only(kind):
    assert "CUDA" in kind().obstacle(trial_of(pair(), X))


@pytest.mark.parametrize("kind", [Threads, Allocator])
def test_some_candidates_are_for_cpus_only(kind):
    trial = Trial(pair(), (X,), {}, torch.device("cuda"), torch.float32)

    assert "not on the CPU" in kind().obstacle(trial)


def test_tf32_needs_a_device_that_has_it(monkeypatch):
    trial = Trial(pair(), (X,), {}, torch.device("cuda"), torch.float32)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "no TF32" in TF32().obstacle(trial)

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert TF32().obstacle(trial) is None


def test_tf32_is_switched_on_and_undone():
    def state():
        return [kind.fp32_precision for kind in process._PRODUCTS]

    before = state()
    undo = TF32().apply(trial_of(pair(), X))
    assert torch.get_float32_matmul_precision() == "high"

    undo()

    assert state() == before
    assert torch.get_float32_matmul_precision() == "highest"


def test_cudnn_is_let_try_and_undone():
    trial = Trial(pair(), (X,), {}, torch.device("cuda"), torch.float32)
    assert CudnnBenchmark().obstacle(trial) is None
    before = torch.backends.cudnn.benchmark

    undo = CudnnBenchmark().apply(trial)
    assert torch.backends.cudnn.benchmark

    undo()
    assert torch.backends.cudnn.benchmark is before


def test_threads_are_set_and_put_back(monkeypatch):
    before = torch.get_num_threads()
    info = type("Info", (), {"usable_cores": before + 3})
    monkeypatch.setattr(process, "cpu_info", info)
    trial = trial_of(pair(), X)
    most, *_ = Threads.variants(trial)
    assert most == Threads(before + 3)

    undo = most.apply(trial)
    assert torch.get_num_threads() == before + 3
    assert "already" in most.obstacle(trial)

    undo()
    assert torch.get_num_threads() == before


@GLIBC
def test_the_allocator_keeps_memory_until_that_is_undone():
    trial = trial_of(pair(), X)
    assert Allocator().obstacle(trial) is None

    undo = Allocator().apply(trial)

    undo()


@GLIBC
def test_an_allocator_that_keeps_memory_already_is_left_alone():
    with tune_cpu():
        assert "already" in Allocator().obstacle(trial_of(pair(), X))


def test_an_allocator_that_cannot_be_told_is_an_error(monkeypatch):
    reason = "the C library is not glibc"
    monkeypatch.setattr(_cpu, "allocator_obstacle", lambda: reason)

    with pytest.raises(UnfussyError, match="not glibc"):
        Allocator().apply(trial_of(pair(), X))


# --- batches -----------------------------------------------------------------------


def batched(*args):
    trial = trial_of(pair(), *args)
    trial.plan = Plan(batch=Batch())
    return trial


@pytest.mark.parametrize("x", [torch.ones(20, 4), np.ones((20, 4)), [1] * 20])
def test_sizes_are_powers_of_two_below_the_example_s_length(x):
    variants = BatchSize.variants(batched(x, "a name", 3.0, torch.tensor(1)))

    assert [each.size for each in variants] == [8, 4, 16, 2, 1]


def test_the_size_is_a_setting():
    trial = batched({"x": torch.ones(20, 4)})
    assert BatchSize(4).obstacle(trial) is None

    undo = BatchSize(4).apply(trial)

    assert trial.settings == {"batch_size": 4}
    undo()
    assert trial.settings == {}


def test_a_size_needs_a_method_that_cuts_batches_and_a_longer_example():
    assert "does not cut" in BatchSize().obstacle(trial_of(pair(), torch.ones(20, 4)))
    assert "no more than 3" in BatchSize().obstacle(batched(torch.ones(3, 4)))


# --- compiling ---------------------------------------------------------------------


def compiled_call(net, *, freezing):
    trial = trial_of(net, X)
    Compile(freezing=freezing).apply(trial)
    return trial.wrappers[0](trial.function)


@pytest.fixture
def compiler(monkeypatch):
    """Take note of what is compiled, and leave it as it is."""
    made = []

    def noted(function, **options):
        made.append(options)
        return function

    monkeypatch.setattr(torch, "compile", noted)
    return made


def test_it_compiles_once_and_again_when_frozen_weights_change(compiler):
    net = pair()
    call = compiled_call(net, freezing=True)

    with torch.no_grad():
        call(net, X), call(net, X), call(net, X[:1])
        assert len(compiler) == 1
        net[0].weight.mul_(2)
        call(net, X)

    assert len(compiler) == 2


def test_weights_that_are_no_constants_may_change(compiler):
    net = pair()
    call = compiled_call(net, freezing=False)

    with torch.no_grad():
        call(net, X)
        net[0].weight.mul_(2)
        call(net, X)

    assert len(compiler) == 1


def test_a_module_that_changes_its_own_tensors_cannot_be_frozen(compiler):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    net = Counting().eval()
    call = compiled_call(net, freezing=True)

    with torch.no_grad(), pytest.raises(UnfussyError, match="compile it without"):
        call(net, X)


@pytest.mark.parametrize("freezing", [True, False])
def test_training_runs_what_is_written(compiler, freezing):
    net = pair()
    call = compiled_call(net, freezing=freezing)

    call(net, X).sum().backward()
    net.train()
    with torch.no_grad():
        call(net, X)

    assert compiler == []


def test_marks_for_the_compiler_are_not_left_on_inputs(compiler):
    net, x = pair(), X.clone()

    with torch.no_grad():
        compiled_call(net, freezing=False)(net, x)

    assert vars(x) == {}


def test_what_is_compiled_is_left_to_the_compiler():
    trial = trial_of(pair(), X)

    undo = Compile().apply(trial)

    for kind in (ChannelsLast, FoldNorms, CastOnce, LowPrecisionWeights, Compile):
        assert "compiled" in kind().obstacle(trial)
    undo()
    assert trial.wrappers == []


def test_weights_are_constants_on_cpus_alone_and_where_changes_are_seen():
    net = pair()
    cuda = Trial(net, (X,), {}, torch.device("cuda"), torch.float32)
    assert Compile.variants(cuda) == (Compile(),)
    assert Compile.variants(trial_of(net, X))[0] == Compile(freezing=True)

    made_in_inference_mode(net)

    assert "cannot be seen" in Compile(freezing=True).obstacle(trial_of(net, X))


def test_many_shapes_are_not_remembered_for_ever(compiler, monkeypatch):
    monkeypatch.setattr(compiling, "_MOST_SHAPES", 2)
    net = pair()
    program = compiling._Program(nn.Module.__call__, compiling.Compiled())

    with torch.no_grad():
        for n in (1, 2, 1, 2):
            program.run((net, X[:n]), {})
        program.run((net, X[..., :4]), {})

    assert len(program._shapes) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_frozen_weights_that_change_are_followed_by_the_real_compiler():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    call = compiled_call(net, freezing=True)

    with torch.no_grad():
        torch.testing.assert_close(call(net, x), net(x))
        net[0].weight.mul_(3)

        torch.testing.assert_close(call(net, x), net(x))
