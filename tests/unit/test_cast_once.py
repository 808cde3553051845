"""Weights that are kept in low precision: which, how long, and when not."""

import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import _len_torch_function_stack
from torch.utils._python_dispatch import TorchDispatchMode

from unfussy import (
    _cast_once,
    _low_copies,
    autocast_policy,
    batched,
    configure,
    explain,
    inference,
    options,
    tree_leaves,
)
from unfussy._low_copies import cast_once_memory, forget_cast_weights
from unfussy._lowered import LOWERED, is_lowered
from unfussy._precision import Autocast, Precision
from unfussy.errors import PlanError
from unfussy.testing import fake_device

BF16, FP16 = torch.bfloat16, torch.float16
X = torch.linspace(-1, 1, 32).reshape(4, 8)


class Net(nn.Module):
    def __init__(self, layer=None):
        super().__init__()
        self.layer = layer or nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(x)

    @autocast_policy("bf16", weights="cast_once", outputs="keep")
    @inference
    def embed(self, x):
        return self(x)

    @autocast_policy("bf16", outputs="keep")
    @inference
    def plain(self, x):
        return self(x)


class Casts(TorchDispatchMode):
    """Counts casts to bfloat16 of tensors with one of some shapes."""

    def __init__(self, *shapes):
        super().__init__()
        self.shapes, self.n = shapes, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") is BF16:
            self.n += tuple(args[0].shape) in self.shapes
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    assert _len_torch_function_stack() == 0


@pytest.fixture
def worth_it(monkeypatch):
    """Keep weights that are too small to gain from it."""
    monkeypatch.setattr(_cast_once, "_WATCH_NS", 0.0)
    monkeypatch.setattr(_cast_once, "_USE_NS", 0.0)


# --- settings ----------------------------------------------------------------------


def test_the_settings_are_part_of_the_plan():
    expected = Precision("bf16", "keep", (), "cast_once")

    assert Net.embed.__unfussy__.plan.precision == expected
    with options(weights="per_call"):
        assert "cast once" not in explain(Net().embed, X).precision


def test_other_settings_are_refused():
    with pytest.raises(PlanError, match="weights is one of 'per_call', 'cast_once'"):
        autocast_policy(weights="twice")
    with pytest.raises(PlanError, match="weights is one of"):
        configure(Net().plain, weights=True)


# --- which weights -----------------------------------------------------------------


@pytest.mark.usefixtures("worth_it")
def test_a_weight_is_cast_in_the_first_call_only():
    net = Net()
    with Casts((8, 8), (8,)) as first:
        net.embed(X)
    with Casts((8, 8), (8,)) as second:
        result = net.embed(X)

    assert [first.n, second.n] == [2, 0]
    assert cast_once_memory(net) == 2 * (64 + 8)
    assert torch.equal(result, net.plain(X))
    assert not result.is_inference()


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize(
    ("layer", "shape", "n"),
    [
        (nn.Conv1d(2, 3, 3), (1, 2, 8), 21),
        (nn.Conv2d(2, 3, 3), (1, 2, 8, 8), 57),
        (nn.ConvTranspose3d(1, 1, 2), (1, 1, 3, 3, 3), 9),
        (nn.PReLU(), (2, 3), 1),
        (nn.LSTM(4, 3), (2, 2, 4), 108),
        (nn.GRU(4, 3), (2, 2, 4), 81),
        (nn.LSTMCell(4, 3), (2, 4), 108),
        (nn.BatchNorm1d(4), (2, 4), 0),
        (nn.LayerNorm(4), (2, 4), 0),
        (nn.Bilinear(4, 4, 2), (2, 4), 0),
        (nn.TransformerEncoderLayer(4, 2, 6), (3, 1, 4), 138),
        (nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), (3, 1, 4), 0),
    ],
    ids=str,
)
def test_the_weights_that_autocast_casts_are_kept(layer, shape, n):
    net, x = Net(layer), torch.ones(shape)
    if isinstance(layer, nn.Bilinear):
        net.forward = lambda x: layer(x, x)

    for _ in range(2):
        once, plain = tree_leaves(net.embed(x)), tree_leaves(net.plain(x))
        assert all(map(torch.equal, once, plain))

    assert cast_once_memory(net) == 2 * n


@pytest.mark.usefixtures("worth_it")
def test_packed_sequences_are_read_with_kept_weights():
    class Packed(Net):
        @autocast_policy("bf16", weights="cast_once")
        @inference
        def read(self, x):
            return self(nn.utils.rnn.pack_sequence([x, x[:2]]))[0].data

    net = Packed(nn.GRU(8, 3))
    results = [net.read(X) for _ in range(2)]

    assert torch.equal(*results)
    assert torch.equal(results[0], configure(net.read, weights="per_call")(X))
    assert cast_once_memory(net) > 0


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize("mode", ["no_grad", "inference"])
def test_frozen_weights_and_those_of_inference_mode_are_kept_too(mode):
    net = Net()
    net.requires_grad_(False)  # noqa: FBT003
    embed = configure(net.embed, mode=mode)
    embed(X)
    with Casts((8, 8)) as casts:
        embed(X)

    assert casts.n == 0


@pytest.mark.usefixtures("worth_it")
def test_tied_weights_are_kept_once():
    net = Net(nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)))
    net.layer[1].weight = net.layer[0].weight

    net.embed(X)

    assert cast_once_memory(net) == 2 * 64


@pytest.mark.usefixtures("worth_it")
def test_two_precisions_are_two_copies():
    net = Net()

    net.embed(X)
    configure(net.embed, precision="fp16")(X)

    assert cast_once_memory(net) == 4 * (64 + 8)


@pytest.mark.usefixtures("worth_it")
def test_weights_of_other_modules_are_not_kept():
    other = nn.Linear(8, 8)
    net = Net()
    net.forward = lambda x: other(net.layer(x))

    assert torch.equal(net.embed(X), net.plain(X))
    assert cast_once_memory(net) == 2 * (64 + 8)


def _shared(weight):
    weight.data.share_memory_()


def _tagged(weight):
    weight.owner = nn.Identity()


def _inference(weight):
    with torch.inference_mode():
        weight.data = weight.data.clone()


def _double(weight):
    weight.data = weight.data.to(BF16)


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize("make", [_shared, _tagged, _inference, _double])
def test_weights_whose_changes_cannot_be_seen_are_cast_per_call(make):
    net = Net(nn.Linear(8, 8, bias=False))
    make(net.layer.weight)

    assert torch.equal(net.embed(X), net.plain(X))
    assert torch.equal(net.embed(X), net.plain(X))
    assert cast_once_memory(net) == 0


@pytest.mark.usefixtures("worth_it")
def test_weights_that_become_inference_tensors_are_cast_per_call():
    net = Net(nn.Linear(8, 8, bias=False))
    net.embed(X)
    _inference(net.layer.weight)

    assert torch.equal(net.embed(X), net.plain(X))


@pytest.mark.usefixtures("worth_it")
def test_keep_fp32_is_kept():
    net = Net(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    embed = configure(net.embed, precision="bf16")
    kept = autocast_policy("bf16", weights="cast_once", keep_fp32="layer.1")(
        inference(Net.forward)
    )
    plain = autocast_policy("bf16", keep_fp32="layer.1")(inference(Net.forward))

    embed(X)

    assert torch.equal(kept(net, X), plain(net, X))


@pytest.mark.usefixtures("worth_it")
def test_one_chunk_casts_for_all_and_for_the_next_call():
    class Cut(Net):
        @batched(size=1)
        @autocast_policy("bf16", weights="cast_once")
        @inference(mode="inference")
        def cut(self, x):
            return self(x)

    net = Cut()
    with Casts((8, 8)) as casts:
        results = [net.cut(X), net.cut(X)]

    assert casts.n == 1
    assert torch.equal(*results)


@pytest.mark.usefixtures("worth_it")
def test_generators_free_functions_and_an_autocast_of_the_caller_are_served():
    class Steps(Net):
        @autocast_policy("bf16", weights="cast_once")
        @inference
        def steps(self, x):
            for row in x:
                yield self(row)

    @autocast_policy(weights="cast_once")
    @inference
    def embed(module, x):
        return module(x)

    net, other = Steps(), Net()
    steps = torch.stack(list(net.steps(X)))
    with torch.autocast("cpu", BF16):
        embed(other, X)

    assert torch.equal(steps, torch.stack([net.plain(row) for row in X]).float())
    assert [cast_once_memory(net), cast_once_memory(other)] == [144, 144]


# --- where it is not applied -------------------------------------------------------


@pytest.mark.usefixtures("worth_it")
def test_where_gradients_are_wanted_nothing_is_kept():
    class Train(Net):
        @autocast_policy("bf16", weights="cast_once")
        def train_on(self, x):
            assert _len_torch_function_stack() == 0  # training pays nothing
            return self(x)

        @autocast_policy("bf16", weights="cast_once", outputs="keep")
        @inference
        def partly(self, x):
            with torch.enable_grad():
                return self(x)

    net = Train()
    for method in (net.train_on, net.partly):
        method(X).sum().backward()
        assert net.layer.weight.grad is not None
        net.zero_grad()

    assert cast_once_memory(net) == 0


@pytest.mark.usefixtures("worth_it")
def test_training_goes_on_after_a_call():
    net = Net()
    net.embed(X)

    net(X).sum().backward()

    assert net.layer.weight.grad is not None


@pytest.mark.usefixtures("worth_it")
def test_compiled_programs_use_plain_autocast():
    net = Net()
    compiled = torch.compile(net.embed, fullgraph=True, backend="eager")

    assert torch.equal(compiled(X), net.plain(X))
    assert cast_once_memory(net) == 0


@pytest.mark.usefixtures("worth_it")
def test_compiled_parts_are_left_alone():
    whole, function = (
        Net(),
        torch.compile(
            lambda x, w: nn.functional.linear(x, w).relu(),
            fullgraph=True,
            backend="eager",
        ),
    )
    whole.layer = torch.compile(nn.Linear(8, 8), backend="eager")
    partly = Net()
    partly.forward = lambda x: function(partly.layer(x), partly.layer.weight)

    for net, n in ((whole, 0), (partly, 144)):
        for _ in range(2):
            assert torch.equal(net.embed(X), net.plain(X))
        assert cast_once_memory(net) == n


@pytest.mark.usefixtures("worth_it")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_recorded_programs_hold_no_copies():
    class Forward(Net):
        @autocast_policy("bf16", weights="cast_once", outputs="keep")
        @inference
        def forward(self, x):
            return self.layer(x)

    net = Forward().eval()
    traced = torch.jit.trace(net, X)
    graph = make_fx(net)(X)

    casts = [node for node in graph.graph.nodes if "_to_copy" in str(node.target)]
    assert len(casts) == 3  # the input, the weight and the bias
    with torch.no_grad():
        net.layer.weight.zero_()
        assert torch.equal(traced(X), net.plain(X))


@pytest.mark.usefixtures("worth_it")
def test_under_vmap_there_is_no_autocast():
    class Mapped(Net):
        @autocast_policy("bf16", weights="cast_once", outputs="keep")
        @inference
        def mapped(self, x):
            return torch.vmap(self.layer)(x), self.layer(x)

    net = Mapped()
    for _ in range(2):
        once = net.mapped(X)
        plain = configure(net.mapped, weights="per_call")(X)
        assert all(map(torch.equal, once, plain))


@pytest.mark.usefixtures("worth_it")
def test_weights_on_a_fake_device_are_not_kept():
    net = Net()
    with fake_device() as fake:
        placed = fake.place(net)
        x = X.to(placed.layer.weight.device)
        result = placed.embed(x)
        assert result.dtype == BF16
        assert cast_once_memory(placed) == 0


def test_small_weights_are_not_worth_it():
    net = Net()
    kept = explain(net.embed, X).precision
    net.embed(X)

    assert kept == "autocast to bfloat16 (bf16), weights cast once (0.0 MB kept)"
    assert cast_once_memory(net) == 0
    assert explain(net.embed, X).precision == (
        "autocast to bfloat16 (bf16), weights cast in every call (keeping them would "
        "cost more)"
    )


def test_large_weights_are_worth_it():
    net = Net(nn.Linear(1024, 1024, bias=False))
    net.embed(torch.ones(1, 1024))

    assert explain(net.embed, torch.ones(1, 1024)).precision == (
        "autocast to bfloat16 (bf16), weights cast once (2.1 MB kept)"
    )


def test_a_call_that_casts_nothing_decides_nothing():
    net = Net(nn.Linear(1024, 1024))
    net.forward = lambda x: net.layer(x) if len(x) else x
    net.embed(torch.ones(0, 1024))
    net.embed(torch.ones(1, 1024))

    assert cast_once_memory(net) > 0


# --- how long ----------------------------------------------------------------------


@pytest.mark.usefixtures("worth_it")
def test_copies_die_with_the_module():
    net = Net()
    net.layer.weight.register_hook(lambda grad, net=net: grad)
    net.embed(X)
    (copies,) = _low_copies._STORES[id(net)].copies.values()
    low = weakref.ref(copies[id(net.layer.weight)].low)
    del copies

    key, module = id(net), weakref.ref(net)
    del net
    gc.collect()

    assert [module(), low()] == [None, None]
    assert key not in _low_copies._STORES


@pytest.mark.usefixtures("worth_it")
def test_copies_of_replaced_weights_are_dropped():
    net = Net(nn.Linear(8, 8, bias=False))
    for _ in range(3):
        net.layer.weight = nn.Parameter(torch.randn(8, 8))
        net.embed(X)

    assert cast_once_memory(net) == 2 * 64


@pytest.mark.usefixtures("worth_it")
def test_a_copy_of_the_module_has_copies_of_its_own():
    net = Net()
    net.embed(X)
    twin = copy.deepcopy(net)

    with torch.no_grad():
        twin.layer.weight.zero_()

    assert cast_once_memory(twin) == 0
    assert torch.equal(twin.embed(X), twin.plain(X))
    assert torch.equal(net.embed(X), net.plain(X))


@pytest.mark.usefixtures("worth_it")
def test_what_is_forgotten_is_cast_anew():
    net = Net(nn.Linear(8, 8, bias=False))
    net.embed(X)
    net.layer.weight.data[0, 0] += 1  # one number, behind PyTorch's back

    forget_cast_weights(net)
    forget_cast_weights(net)

    assert cast_once_memory(net) == 0
    assert torch.equal(net.embed(X), net.plain(X))


@pytest.mark.usefixtures("worth_it")
def test_after_an_error_weights_are_as_they_are():
    class Broken(Net):
        def forward(self, x):
            self.layer(x)
            raise ValueError("mine")

    net = Broken()
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            net.embed(X)

    assert _len_torch_function_stack() == 0


@pytest.mark.usefixtures("worth_it")
def test_threads_make_one_copy():
    net, made = Net(nn.Linear(64, 64, bias=False)), []
    barrier = threading.Barrier(4)
    store = _low_copies.store_of(net)

    def work():
        barrier.wait()
        with torch.no_grad():
            made.append(store.keep(net.layer.weight, BF16))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(low) for low in made}) == 1


def test_a_copy_is_good_for_its_own_weight_only():
    weight = nn.Parameter(torch.randn(8, 8))
    kept = _low_copies.Kept(weight, BF16)
    twin = nn.Parameter(weight.data)  # of the same memory and the same version

    assert kept.fits(weight)
    assert not kept.fits(twin)
    weight.data = weight.data[:4]
    assert not kept.fits(weight)


# --- what autocast casts -----------------------------------------------------------


@pytest.mark.parametrize("func", LOWERED, ids=lambda func: func.__qualname__)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_functions_cast_is_found_out(func):
    cpu = torch.device("cpu")
    with torch.no_grad():
        outside = is_lowered(func, cpu, BF16)
        with Autocast("cpu", BF16):
            inside = is_lowered(func, cpu, BF16)

    assert inside
    assert not outside


def test_functions_that_cast_nothing_are_found_out(monkeypatch):
    monkeypatch.setitem(LOWERED, torch.bilinear, _bilinear())
    monkeypatch.setitem(LOWERED, torch.layer_norm, LOWERED[torch.mm])

    with torch.no_grad(), Autocast("cpu", BF16):
        assert not is_lowered(torch.bilinear, torch.device("cpu"), BF16)
        assert not is_lowered(torch.gru, torch.device("meta"), BF16)


def _bilinear():
    lowered = LOWERED[torch.mm]
    sample = lambda make: (make(2, 3), make(2, 3), make(2, 3, 3))  # noqa: E731
    return type(lowered)(lowered.replace, sample)
