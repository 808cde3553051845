"""Decorated methods on an accelerator with real values, a log of copies, and limits."""

import gc
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from unfussy import (
    auto_device,
    autocast_policy,
    batched,
    configure,
    get_device_info,
    inference,
    options,
    returns,
    unfuss,
)
from unfussy.errors import DoesNotFitError

ROWS = np.arange(28.0).reshape(7, 4)
IN, OUT = "in", "out"


@dataclass
class Result:
    z: torch.Tensor
    norms: list[torch.Tensor]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        return self.net(x)

    @auto_device
    @inference
    def embed(self, x):
        return self.net(x)

    @batched(size=3)
    @autocast_policy
    @inference
    @auto_device
    def embed_all(self, x, shift=None):
        z = self.net(x)
        return z if shift is None else z + shift

    @returns("numpy")
    @batched
    @auto_device
    @inference
    def arrays(self, x):
        return {"z": self.net(x), "n": 1}

    @returns("mirror")
    @auto_device
    @inference
    def mirror(self, x):
        z = self.net(x)
        return Result(z, [z.norm(dim=1), z])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def placed(toy, net):
    placed = toy.place(net)
    toy.copies.clear()
    return placed


def expected(net, rows=ROWS):
    with torch.no_grad():
        return net.net(torch.as_tensor(rows).float())


def directions(toy):
    return [copy.direction for copy in toy.copies]


# --- copies are counted ------------------------------------------------------------


def test_an_array_goes_in_once_as_float32_and_the_result_stays(toy, net, placed):
    result = placed.embed(ROWS)

    assert result.device == toy.device
    assert directions(toy) == [IN]
    assert toy.copies[0].dtype == torch.float32
    assert toy.copies[0].n_bytes == 7 * 4 * 4
    torch.testing.assert_close(toy.peek(result), expected(net))


def test_what_is_on_the_device_is_not_copied(toy, placed):
    x = torch.zeros(2, 4).to(toy.device)
    toy.copies.clear()

    placed.embed(x)
    placed.embed_all(x)

    assert toy.copies == []


def test_a_tensor_that_stands_in_many_places_goes_in_once(toy, placed):
    class Shared(Net):
        @auto_device
        def join(self, xs, y):
            return xs["a"] is xs["b"][0] is y

    x = torch.zeros(2, 4)
    shared = toy.place(Shared())
    toy.copies.clear()

    assert shared.join({"a": x, "b": [x]}, y=x)
    assert directions(toy) == [IN]


def test_an_array_goes_in_once_and_comes_out_once(toy, net, placed):
    result = placed.arrays(ROWS)

    assert directions(toy) == [IN, OUT]
    assert result["n"] == 1
    np.testing.assert_allclose(result["z"], expected(net), rtol=1e-5, atol=1e-6)


def test_chunks_go_in_one_by_one(toy, net, placed):
    result = placed.embed_all(ROWS)

    assert [copy.shape for copy in toy.copies] == [(3, 4), (3, 4), (1, 4)]
    assert set(directions(toy)) == {IN}
    torch.testing.assert_close(toy.peek(result), expected(net))


def test_what_all_chunks_share_goes_in_once(toy, placed):
    class Shifted(Net):
        @batched(size=3, over="x")
        @auto_device
        @inference
        def embed_all(self, x, shift):
            return self.net(x) + shift["by"][0]

    shifted = toy.place(Shifted())
    toy.copies.clear()
    shifted.embed_all(ROWS, {"by": [np.ones((1, 3))]})

    assert [copy.shape for copy in toy.copies] == [(1, 3), (3, 4), (3, 4), (1, 4)]


def test_variadic_batches_go_in_chunk_by_chunk(toy):
    class Join(nn.Linear):
        @batched(size=4)
        @auto_device
        def join(self, *xs):
            return torch.cat(xs, 1)

    join = toy.place(Join(1, 1))
    toy.copies.clear()

    result = join.join(ROWS, ROWS)

    assert result.shape == (7, 8)
    assert [copy.shape for copy in toy.copies] == [(4, 4)] * 2 + [(3, 4)] * 2


def test_chunks_that_wait_on_the_host_come_out_one_by_one(toy, net, placed):
    kept = configure(placed.embed_all, keep="cpu")(ROWS)

    assert kept.is_cpu
    assert directions(toy) == [IN, OUT] * 3
    torch.testing.assert_close(kept, expected(net))


def test_a_mirror_shows_arrays_for_arrays_and_keeps_identity(toy, net, placed):
    result = placed.mirror(ROWS)

    assert type(result.z) is np.ndarray
    assert directions(toy) == [IN, OUT, OUT]
    np.testing.assert_allclose(result.z, expected(net), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.norms[1], result.z)


def test_a_mirror_leaves_tensors_where_they_are(toy, placed):
    result = placed.mirror(torch.zeros(1, 4))

    assert result.z.device == toy.device
    assert result.norms[1] is result.z


@pytest.mark.parametrize("given", ["array", "host", "device"])
def test_results_go_where_the_input_was(toy, net, placed, given):
    x = {"array": ROWS, "host": torch.as_tensor(ROWS), "device": None}[given]
    x = torch.as_tensor(ROWS).float().to(toy.device) if x is None else x

    result = configure(placed.embed, out_device="input")(x)

    assert result.device.type == ("toy" if given == "device" else "cpu")
    torch.testing.assert_close(toy.peek(result), expected(net))


def test_results_of_a_host_module_go_back_to_the_device(toy, net):
    x = torch.as_tensor(ROWS).float().to(toy.device)
    toy.copies.clear()

    result = configure(net.embed, out_device="input")(x)

    assert result.device == toy.device
    assert directions(toy) == [OUT, IN]


def test_a_distribution_comes_to_the_host_as_one(toy):
    class Encoder(Net):
        @returns("numpy")
        @auto_device
        def encode(self, x):
            z = self.net(x)
            return Normal(z, z.exp(), validate_args=False)

    encoder = toy.place(Encoder())
    toy.copies.clear()

    q = encoder.encode(ROWS[:1])

    assert type(q) is Normal
    assert q.loc.is_cpu
    assert not q.loc.requires_grad
    assert directions(toy) == [IN, OUT, OUT]


def test_a_proxy_moves_inputs_too(toy, net):
    placed = unfuss(toy.place(net), out="numpy")
    toy.copies.clear()

    result = placed(ROWS)

    assert directions(toy) == [IN, OUT]
    np.testing.assert_allclose(result, expected(net), rtol=1e-5, atol=1e-6)


# --- where the module is -----------------------------------------------------------


def test_a_module_that_moves_is_followed(toy, net):
    assert net.embed(ROWS).is_cpu

    net.to(toy.device)
    there = net.embed(ROWS)
    net.cpu()

    assert there.device == toy.device
    assert net.embed(ROWS).is_cpu


def test_inputs_of_a_host_module_come_to_the_host(toy, net):
    x = torch.as_tensor(ROWS).to(toy.device)

    result = net.embed(x)

    assert result.is_cpu
    torch.testing.assert_close(result, expected(net))


def test_a_module_without_tensors_leaves_inputs_on_the_device(toy):
    class Scale(nn.Module):
        @auto_device
        def scale(self, x):
            return x * 2

    x = torch.ones(2).to(toy.device)
    toy.copies.clear()

    assert Scale().scale(x).device == toy.device
    assert toy.copies == []


def test_a_forgotten_move_raises(toy, placed):
    with pytest.raises(
        RuntimeError, match="Expected all tensors to be on the same dev"
    ):
        placed(torch.as_tensor(ROWS).float())


def test_skipped_arguments_do_not_move(toy):
    class Skip(Net):
        @auto_device(skip="lengths")
        def take(self, x, lengths):
            return x.device.type, lengths.device.type

    assert toy.place(Skip()).take(ROWS, torch.ones(7)) == ("toy", "cpu")


def test_copies_are_not_waited_for_only_where_that_was_asked_for(toy, placed):
    x = torch.zeros(2, 4)

    placed.embed(x)
    configure(placed.embed, non_blocking=True)(x)
    configure(placed.embed, out="numpy", non_blocking=True)(x)

    ahead = [(copy.direction, copy.non_blocking) for copy in toy.copies]
    assert ahead == [(IN, False), (IN, True), (IN, True), (OUT, False)]


def test_a_copy_is_a_copy_on_the_device_as_well(toy):
    class InPlace(Net):
        @auto_device(copy=True)
        def shift(self, x):
            return x.add_(1)

    x = torch.zeros(2).to(toy.device)

    shifted = toy.place(InPlace()).shift(x)

    assert toy.peek(x).tolist() == [0, 0]
    assert toy.peek(shifted).tolist() == [1, 1]


def test_the_toy_is_none_of_the_devices_to_choose(toy):
    assert [record.name for record in get_device_info().devices] == ["cpu"]


# --- memory ------------------------------------------------------------------------


def test_what_does_not_fit_is_halved_and_nothing_is_done_twice(toy, net):
    rows = np.random.default_rng(0).normal(size=(64, 4))
    placed = toy.place(net)
    gc.collect()
    toy.copies.clear()
    toy.memory_limit = toy.live_bytes + 20 * (4 + 3) * 4

    result = configure(placed.arrays, keep="cpu")(rows)["z"]

    np.testing.assert_allclose(result, expected(net, rows), rtol=1e-5, atol=1e-6)
    done = [copy.shape[0] for copy in toy.copies if copy.direction == OUT]
    assert done == [16, 16, 16, 16]


def test_an_item_that_never_fits_raises_the_true_error(toy, net):
    placed = toy.place(net)
    toy.memory_limit = toy.live_bytes + 8

    with pytest.raises(
        DoesNotFitError,
        match=r"Net\.arrays\(\): one single item \(x: \(4,\) float64\) does not fit "
        r".* The last attempt said: OutOfMemoryError: TOY out of memory\. Tried",
    ):
        placed.arrays(ROWS)

    toy.memory_limit = None
    assert placed.arrays(ROWS)["z"].shape == (7, 3)


def test_without_splitting_the_error_is_that_of_the_device(toy, net):
    placed = toy.place(net)
    toy.memory_limit = toy.live_bytes + 8

    with (
        options(on_oom="raise"),
        pytest.raises(torch.OutOfMemoryError, match="^TOY out of memory"),
    ):
        placed.arrays(ROWS)


def test_nothing_of_a_call_stays_on_the_device(toy, placed):
    gc.collect()
    before = toy.live_bytes

    placed.arrays(ROWS)
    placed.mirror(ROWS)
    configure(placed.embed_all, keep="cpu")(ROWS)

    gc.collect()
    assert toy.live_bytes == before


def test_chunks_need_the_memory_of_a_chunk(toy, net):
    rows = np.ones((1000, 4))
    placed = toy.place(net)
    weights = toy.live_bytes
    toy.peak_bytes = 0

    configure(placed.embed_all, batch_size=10, keep="cpu")(rows)

    assert toy.peak_bytes - weights < 3 * 10 * (4 + 3) * 4


# --- precision ---------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_computes_in_low_precision_and_hands_out_float32(toy, net, precision):
    class Cast(Net):
        @autocast_policy(precision=precision)
        @inference
        @auto_device
        def embed(self, x):
            z = self.net(x)
            self.inside = z.dtype
            return z

    cast = Cast()
    cast.load_state_dict(net.state_dict())
    cast = toy.place(cast)

    result = cast.embed(ROWS)

    low = torch.bfloat16 if precision == "bf16" else torch.float16
    assert cast.inside == low
    assert result.dtype == torch.float32
    torch.testing.assert_close(toy.peek(result), expected(net), rtol=2e-2, atol=2e-2)
    assert not torch.is_autocast_enabled("toy")


def test_auto_does_not_cast_on_a_device_it_does_not_know(toy, net, placed):
    torch.testing.assert_close(toy.peek(placed.embed_all(ROWS)), expected(net))


def test_an_autocast_of_the_caller_is_respected_and_put_back(toy, placed):
    with torch.autocast("toy", torch.bfloat16):
        inherited = configure(placed.embed_all, precision="inherit", outputs="keep")(
            ROWS
        )
        off = configure(placed.embed_all, precision="fp32", outputs="keep")(ROWS)
        assert torch.is_autocast_enabled("toy")

    assert inherited.dtype == torch.bfloat16
    assert off.dtype == torch.float32


def test_parts_are_kept_in_float32_on_the_device(toy):
    class Head(Net):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        @autocast_policy("bf16", outputs="keep", keep_fp32="head")
        @auto_device
        def embed(self, x):
            z = self.net(x)
            return z.dtype, self.head(z).dtype

    assert toy.place(Head()).embed(ROWS) == (torch.bfloat16, torch.float32)
