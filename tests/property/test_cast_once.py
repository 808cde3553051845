"""Weights that are cast once give the bits of those cast in every call, always."""

import copy
import io
import pickle
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfussy import _cast_once as cast_once
from unfussy import autocast_policy, batched, configure, inference
from unfussy._low_copies import cast_once_memory

pytestmark = [
    pytest.mark.property,
    pytest.mark.filterwarnings("ignore:LSTM with projections"),  # torch's own, once
]

T, F = 6, 8  # every block takes and returns (B, T, F)


@pytest.fixture(autouse=True, scope="module")
def always_worth_it():
    """Keep weights that are too small to gain from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cast_once, "_WATCH_NS", 0.0)
        patch.setattr(cast_once, "_USE_NS", 0.0)
        yield


class Shaped(nn.Module):
    """A layer that wants its input in another shape."""

    def __init__(self, layer, *shape):
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self, x):
        return self.layer(x.reshape(-1, *self.shape)).reshape(x.shape)


class First(nn.Module):
    """A layer that returns a tuple."""

    def __init__(self, layer, **options):
        super().__init__()
        self.layer, self.options = layer, options

    def forward(self, x):
        attends = isinstance(self.layer, nn.MultiheadAttention)
        return self.layer(*(x, x, x) if attends else (x,), **self.options)[0]


class Cross(nn.Module):
    """Attention of three different inputs, with learned keys besides."""

    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(F, 2, add_bias_kv=True)

    def forward(self, x):
        return self.layer(x, x * 2, x + 1)[0]


class Tied(nn.Module):
    """An embedding, which is not cast, and a layer with the same weight, which is."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(F, F)
        self.layer = nn.Linear(F, F)
        self.layer.weight = self.table.weight

    def forward(self, x):
        return self.layer(self.table(x.argmax(-1))) + x


class Functional(nn.Module):
    """A parameter that is used in several ways, most of them cast."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(F, F))

    def forward(self, x):
        x = x @ self.weight + torch.einsum("btf,fg->btg", x, self.weight)
        x = x.matmul(self.weight.t()) + self.weight.norm()
        x = torch.baddbmm(x, x, self.weight.expand(len(x), F, F))
        return nn.functional.linear(x, bias=self.weight[0], weight=self.weight)


class Cells(nn.Module):
    """Recurrent cells, step by step, from a state that is learned and not cast."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(F, F), nn.GRUCell(F, F)
        self.state = nn.Parameter(torch.randn(T, F))

    def forward(self, x):
        return torch.stack([self.gru(self.lstm(row)[0], self.state) for row in x])


BLOCKS = {
    "linear": lambda: nn.Linear(F, F),
    "linear without bias": lambda: nn.Linear(F, F, bias=False),
    "conv1d": lambda: nn.Conv1d(T, T, 3, padding="same"),
    "conv2d": lambda: Shaped(nn.Conv2d(2, 2, 3, padding=1), 2, T // 2, F),
    "conv3d": lambda: Shaped(nn.Conv3d(1, 1, 3, padding=1), 1, 2, T // 2, F),
    "transposed": lambda: nn.ConvTranspose1d(T, T, 3, padding=1),
    "batch norm": lambda: nn.BatchNorm1d(T),
    "layer norm": lambda: nn.LayerNorm(F),
    "prelu": lambda: nn.PReLU(),
    "attention": lambda: First(nn.MultiheadAttention(F, 2)),
    "fast attention": lambda: First(
        nn.MultiheadAttention(F, 2, batch_first=True), need_weights=False
    ),
    "cross attention": Cross,
    "transformer": lambda: nn.TransformerEncoderLayer(F, 2, 16),
    "fast transformer": lambda: nn.TransformerEncoderLayer(F, 2, 16, batch_first=True),
    "lstm": lambda: First(nn.LSTM(F, F, 2, batch_first=True)),
    "projected lstm": lambda: First(nn.LSTM(F, 2 * F, proj_size=F)),
    "gru": lambda: First(nn.GRU(F, F // 2, bidirectional=True)),
    "rnn": lambda: First(nn.RNN(F, F)),
    "cells": Cells,
    "tied": Tied,
    "functional": Functional,
    "unused": lambda: nn.Identity(),
}


class Net(nn.Module):
    def __init__(self, blocks, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = nn.Sequential(*(BLOCKS[name]() for name in blocks))

    def forward(self, x):
        return self.blocks(x)

    @autocast_policy("bf16", outputs="keep")
    @inference
    def embed(self, x):
        return self(x)

    @batched(size=2)
    @autocast_policy("bf16", outputs="keep")
    @inference
    def cut(self, x):
        return self(x)


@st.composite
def cases(draw):
    """Return a network and how it is called."""
    names = draw(st.lists(st.sampled_from(list(BLOCKS)), min_size=1, max_size=3))
    # oneDNN has no LSTM in float16 for most processors.
    low = ["bf16"] if any("lstm" in name for name in names) else ["bf16", "fp16"]
    options = {
        "precision": draw(st.sampled_from(low)),
        "mode": draw(st.sampled_from(["no_grad", "inference"])),
    }
    return Net(names, draw(st.integers(0, 9))), options


def inputs(n, seed=0):
    return torch.randn(n, T, F, generator=torch.Generator().manual_seed(seed))


def bits(x):
    x = x.detach().contiguous()
    x = torch.where(x.isnan(), torch.full_like(x, float("nan")), x)  # of one kind
    return x.dtype, x.shape, x.view(torch.uint8).tolist()


def assert_same(method, x, **options):
    once = configure(method, weights="cast_once", **options)(x)
    plain = configure(method, **options)(x)
    assert bits(once) == bits(plain)


def freeze(net, every):
    for weight in list(net.parameters())[::every]:
        weight.requires_grad_(False)  # noqa: FBT003


# --- updates -----------------------------------------------------------------------


def changed(x):
    """Return a copy in which one number is another, and that is easily overlooked."""
    x = x.clone()
    if x.is_floating_point():
        x[(0,) * x.ndim] += 1
    return x


def in_place(net):
    with torch.no_grad():
        for weight in net.parameters():
            weight[(0,) * weight.ndim] += 1


def by_an_optimizer(net):
    learned = [weight for weight in net.parameters() if weight.requires_grad]
    if learned:
        net.train()(inputs(2)).float().square().sum().backward()
        torch.optim.SGD(learned, 0.1).step()
        net.zero_grad()
        net.eval()


def by_data(net):
    for weight in net.parameters():
        weight.data = changed(weight.data)


def by_data_beside_the_old(net):
    OLD[:] = [weight.data for weight in net.parameters()]
    by_data(net)


OLD = []  # memory that lives on, and so is not taken for other memory


def by_data_twice(net):
    # The second may lie where the one lay that was kept.
    by_data(net)
    by_data(net)


def within_data(net):
    for weight in net.parameters():
        weight.data.add_(0.25)  # every number: that much is noticed


def by_transposed_data(net):
    for weight in net.parameters():
        if weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
            weight.data = weight.data.t()


def by_state(net):
    net.load_state_dict({key: changed(x) for key, x in net.state_dict().items()})


def by_assigned_state(net):
    state = {key: changed(x) for key, x in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def by_new_parameters(net):
    for part in net.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(changed(weight.detach())))


def by_dtype(net):
    net.double()
    in_place(net)
    net.float()


def by_swapping(net):
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        by_dtype(net)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def in_inference_mode(net):
    with torch.inference_mode():
        by_data(net)


def by_freezing(net):
    freeze(net, 1)


UPDATES = [
    in_place,
    by_an_optimizer,
    by_data,
    by_data_beside_the_old,
    by_data_twice,
    within_data,
    by_transposed_data,
    by_state,
    by_assigned_state,
    by_new_parameters,
    by_dtype,
    by_swapping,
    by_freezing,
]


# --- laws --------------------------------------------------------------------------


@given(cases(), st.integers(1, 5), st.integers(1, 3))
def test_the_bits_are_those_of_autocast(case, n, every):
    net, options = case
    net.eval()
    freeze(net, every)

    for seed in range(2):
        assert_same(net.embed, inputs(n, seed), **options)


@given(
    cases(),
    st.lists(st.sampled_from(UPDATES), min_size=3, max_size=8, unique=True),
    st.booleans(),
)
def test_a_changed_weight_is_cast_anew(case, updates, ends_in_inference_mode):
    net, options = case
    net.eval()
    assert_same(net.embed, inputs(2), **options)

    # What inference mode has made cannot be changed in place any more.
    for update in [*updates, *([in_inference_mode] * ends_in_inference_mode)]:
        update(net)
        assert_same(net.embed, inputs(2), **options)


@given(cases(), st.integers(3, 6))
def test_chunks_share_the_kept_weights(case, n):
    net, options = case
    net.eval()

    assert_same(net.cut, inputs(n), **options)
    assert_same(net.cut, inputs(n, 1), **options)


@given(cases())
def test_training_flags_and_gradients_are_as_ever(case):
    net, options = case
    # Norms that learn from a call must learn the same.
    twin = copy.deepcopy(net)
    x = inputs(2).requires_grad_()
    once = configure(net.embed, weights="cast_once", eval=False, **options)
    plain = configure(twin.embed, eval=False, **options)

    for _ in range(2):
        torch.manual_seed(0)  # of dropout
        result = once(x)
        torch.manual_seed(0)
        assert bits(result) == bits(plain(x))
    for each in (net.eval(), twin.eval()):
        each(x).float().square().sum().backward()
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or bits(one.grad) == bits(other.grad)


def _reloaded(net):
    return pickle.loads(pickle.dumps(net))  # noqa: S301 - our own


@given(cases())
def test_nothing_of_it_is_in_the_module(case):
    net, options = case
    net.eval()
    before = [list(vars(part)) for part in net.modules()], list(net.state_dict())
    file = io.BytesIO()
    torch.save(net, file)

    assert_same(net.embed, inputs(2), **options)
    other = io.BytesIO()
    torch.save(net, other)

    after = [list(vars(part)) for part in net.modules()], list(net.state_dict())
    assert after == before
    assert other.getvalue() == file.getvalue()
    for twin in (copy.deepcopy(net), _reloaded(net)):
        assert cast_once_memory(twin) == 0
        assert bits(twin.embed(inputs(2))) == bits(net.embed(inputs(2)))


@given(cases(), st.sampled_from(["no_grad", "inference"]))
def test_threads_of_any_precision_share_a_module(case, mode):
    net, options = case
    both = [options, {"precision": "bf16", "mode": mode}]
    net.eval()
    x, results = inputs(2), [[], []]
    plain = [bits(configure(net.embed, **options)(x)) for options in both]
    barrier = threading.Barrier(2)

    def work(i):
        once = configure(net.embed, weights="cast_once", **both[i])
        barrier.wait()
        results[i] += [bits(once(x)) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [[plain[0]] * 3, [plain[1]] * 3]
