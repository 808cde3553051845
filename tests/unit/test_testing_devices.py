"""The test kit's fake device and simulated out-of-memory keep their promises."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from unfussy.errors import DeviceError, InputValueError, PlanError
from unfussy.testing._fake import FakeDevice, fake_device
from unfussy.testing._oom import Attempt, simulate_oom
from unfussy.testing._oom_errors import OOM_ERRORS, OOM_LOOKALIKES, OOM_SUSPECTS


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.plain = torch.ones(2)

    def forward(self, x):
        x = torch.as_tensor(x).to(self.first.weight.device)
        return self.norm(self.second(self.first(x)))


@pytest.fixture
def fake() -> Iterator[FakeDevice]:
    with fake_device("cuda:0") as device:
        yield device


# --- fake_device -------------------------------------------------------------------


def test_a_placed_module_says_that_it_lives_on_the_device():
    module = Tied()

    with fake_device("cuda:0") as fake:
        placed = fake.place(module)

    tensors = [*placed.parameters(), *placed.buffers()]
    assert {tensor.device for tensor in tensors} == {fake.device}
    assert all(isinstance(p, nn.Parameter) for p in placed.parameters())
    assert not any(p.requires_grad for p in placed.parameters())


def test_placing_keeps_ties_dtypes_and_plain_attributes():
    module = Tied().double()

    with fake_device("cuda:0") as fake:
        placed = fake.place(module)

    assert placed.second.weight is placed.first.weight
    assert placed.first.weight.dtype is torch.float64
    assert placed.norm.num_batches_tracked.dtype is torch.int64
    assert placed.plain.device.type == "cpu"


def test_placing_leaves_the_module_alone():
    module = Tied()
    before = {name: p.clone() for name, p in module.state_dict().items()}

    with fake_device() as fake:
        fake.place(module)

    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("device", ["cuda:0", "mps:0"])
def test_moved_inputs_give_results_on_the_device(device):
    module = Tied().eval()
    tensor, array = torch.zeros(5, 3), np.zeros((5, 3), np.float32)

    with fake_device(device) as fake:
        placed = fake.place(module)
        results = [placed(tensor), placed(array), placed(array.tolist())]

    assert {result.device for result in results} == {torch.device(device)}
    assert {result.dtype for result in results} == {torch.float32}
    assert {result.shape for result in results} == {torch.Size([5, 3])}


def test_a_forgotten_move_raises_as_on_a_real_device(fake):
    layer = fake.place(nn.Linear(3, 2))

    with pytest.raises(RuntimeError, match=r"two devices, (cpu and cuda:0|cuda:0 and)"):
        layer(torch.zeros(5, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_flags_of_autocast_decide_the_dtype(fake, dtype):
    layer = fake.place(nn.Linear(3, 2))
    kind = fake.device.type
    torch.set_autocast_enabled(kind, True)  # noqa: FBT003
    torch.set_autocast_dtype(kind, dtype)

    try:
        result = layer(fake.tensor([[0.0, 0.0, 0.0]]))
    finally:
        torch.set_autocast_enabled(kind, False)  # noqa: FBT003
        torch.clear_autocast_cache()

    assert result.dtype is dtype


def test_inference_mode_works(fake):
    layer = fake.place(nn.Linear(3, 2))

    with torch.inference_mode():
        result = layer(fake.tensor(np.zeros((5, 3), np.float32)))

    assert result.is_inference()
    assert result.device == fake.device


def test_inputs_that_want_gradients_are_taken_without(fake):
    layer = fake.place(nn.Linear(3, 2))
    x = torch.zeros(5, 3, requires_grad=True)

    result = layer(x.to(fake.device))

    assert not result.requires_grad
    assert not fake.tensor(x).requires_grad


def test_there_are_no_values_and_no_arrays(fake):
    x = fake.tensor([1.0, 2.0])

    with pytest.raises(RuntimeError, match="not supported for tensor subclasses"):
        x.cpu().numpy()
    with pytest.raises(RuntimeError, match=r"item|local_scalar"):
        x.sum().item()


def test_the_machine_is_itself_again_after_an_error():
    with pytest.raises(ZeroDivisionError), fake_device():
        1 / 0  # noqa: B018

    x = torch.ones(2, requires_grad=True)
    assert type(x) is torch.Tensor
    assert (x * 2).requires_grad
    assert x.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        (1, "cuda:1"),
        (torch.device("mps"), "mps:0"),
    ],
)
def test_the_device_always_has_an_index(asked, given):
    with fake_device(asked) as fake:
        assert fake.device == torch.device(given)
        assert fake.tensor(1.0).device == torch.device(given)


@pytest.mark.parametrize("device", ["xpu:0", "cpu", "meta"])
def test_other_devices_are_refused(device):
    text = rf"fake_device\(\) can pretend to be cuda or mps, got '{device}'"

    with pytest.raises(DeviceError, match=text), fake_device(device):
        pass


# --- simulate_oom: what is refused -------------------------------------------------


def test_only_inputs_over_the_limit_are_refused():
    layer = nn.Linear(3, 2)
    x = torch.randn(8, 3)
    expected = layer(x)

    with simulate_oom(layer, max_items=8) as oom:
        result = layer(x)
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            layer(torch.randn(9, 3))

    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert oom.sizes == [8, 9]
    assert [attempt.index for attempt in oom.refused] == [1]


@dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor


def test_tensors_are_found_in_containers_and_keywords():
    seen = simulate_oom(max_items=100)
    call = seen(lambda *_, **__: None)

    call([torch.zeros(2), {"x": torch.zeros(5, 1)}])
    call(1, batch=Pair(torch.zeros(3), torch.zeros(7)))
    call(torch.tensor(4.0))
    call("no tensor")

    assert seen.sizes == [5, 7, 0, 0]


def test_bytes_are_counted_over_all_arguments():
    seen = simulate_oom(max_bytes=40)
    call = seen(lambda *_: None)

    call(torch.zeros(4), torch.zeros(3, dtype=torch.float64))
    with pytest.raises(torch.OutOfMemoryError):
        call(torch.zeros(4), torch.zeros(4, dtype=torch.float64))

    assert [attempt.n_bytes for attempt in seen.attempts] == [40, 48]


def test_a_rule_can_refuse_any_attempt():
    @simulate_oom(when=lambda attempt: attempt.index in {0, 2})
    def double(x):
        return x * 2

    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(double(torch.ones(1)).item())
        except torch.OutOfMemoryError:
            outcomes.append("oom")

    assert outcomes == ["oom", 2.0, "oom", 2.0]


def test_methods_can_be_decorated():
    class Encoder(nn.Module):
        @simulate_oom(max_items=2)
        def encode(self, x, *, scale=1.0):
            """Encode."""
            return x * scale

    encoder = Encoder()

    assert encoder.encode(torch.ones(2), scale=3.0).tolist() == [3.0, 3.0]
    assert encoder.encode.__doc__ == "Encode."
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode(torch.ones(3))


# --- simulate_oom: what it leaves behind -------------------------------------------


def snapshot(module):
    return {key: repr(value) for key, value in vars(module).items()}


def test_nothing_is_left_on_the_module():
    layer = nn.Linear(3, 2)
    before = snapshot(layer)

    with simulate_oom(layer, max_items=1):
        layer(torch.zeros(1, 3))
    with pytest.raises(torch.OutOfMemoryError), simulate_oom(layer, max_items=1):
        layer(torch.zeros(2, 3))

    assert snapshot(layer) == before
    assert layer(torch.zeros(2, 3)).shape == (2, 2)


def halve(call, x):
    """Split what does not fit, and drop the error before trying again."""
    try:
        return call(x)
    except torch.OutOfMemoryError:
        pass
    first, second = x.chunk(2)
    return torch.cat([halve(call, first), halve(call, second)])


def retry_inside_except(call, x):
    try:
        return call(x)
    except torch.OutOfMemoryError:
        return torch.cat([retry_inside_except(call, part) for part in x.chunk(2)])


def test_a_clean_retry_finds_no_memory_held():
    layer = nn.Linear(3, 2)
    x = torch.randn(16, 3)
    expected = layer(x)

    with simulate_oom(layer, max_items=4) as oom:
        result = halve(layer, x)

    torch.testing.assert_close(result, expected)
    assert oom.sizes == [16, 8, 4, 4, 8, 4, 4]
    assert [attempt.n_held for attempt in oom.attempts] == [0] * 7


def test_a_retry_inside_the_except_block_is_caught_holding_memory():
    layer = nn.Linear(3, 2)

    with simulate_oom(layer, max_items=4) as oom:
        retry_inside_except(layer, torch.randn(16, 3))

    assert [attempt.n_held for attempt in oom.attempts] == [0, 1, 2, 2, 1, 2, 2]


def test_threads_share_one_record_and_no_memory():
    layer = nn.Linear(3, 2)
    n_threads, n_calls = 4, 25

    def work():
        for _ in range(n_calls):
            halve(layer, torch.zeros(8, 3))

    with simulate_oom(layer, max_items=4) as oom:
        threads = [threading.Thread(target=work) for _ in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(oom.attempts) == n_threads * n_calls * 3
    assert len(oom.refused) == n_threads * n_calls
    assert [attempt.index for attempt in oom.attempts] == list(range(300))
    assert {attempt.n_held for attempt in oom.attempts} == {0}


# --- simulate_oom: wrong use -------------------------------------------------------


def test_a_module_that_is_never_called_fails_the_test():
    class Encoder(nn.Module):
        def encode(self, x):
            return x

    encoder = Encoder()

    text = r"never saw a call of Encoder: only module\(\.\.\.\) runs its hooks"
    with (
        pytest.raises(AssertionError, match=text),
        simulate_oom(encoder, max_items=1),
    ):
        encoder.encode(torch.zeros(2))


def test_an_error_in_the_block_is_not_hidden():
    with pytest.raises(ZeroDivisionError), simulate_oom(nn.Identity(), max_items=1):
        1 / 0  # noqa: B018


def test_wrong_use_is_refused():
    module = nn.Identity()

    with pytest.raises(PlanError, match="needs a limit: max_items, max_bytes or when"):
        simulate_oom(module)
    with pytest.raises(InputValueError, match="knows no error 'tpu'; one of cuda, "):
        simulate_oom(module, max_items=1, kind="tpu")
    with pytest.raises(PlanError, match=r"write simulate_oom\(module, \.\.\.\)"):
        simulate_oom(max_items=1).__enter__()
    with pytest.raises(PlanError, match="leave the module out"):
        simulate_oom(module, max_items=1)(len)
    with simulate_oom(module, max_items=9) as oom:
        module(torch.zeros(1))
        with pytest.raises(PlanError, match="is open already"):
            oom.__enter__()
    assert not module._forward_pre_hooks


# --- the errors --------------------------------------------------------------------

ALL_KINDS = {**OOM_ERRORS, **OOM_SUSPECTS, **OOM_LOOKALIKES}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_error_is_raised_as_the_backend_words_it(kind):
    expected = ALL_KINDS[kind].make()
    call = simulate_oom(max_items=1, kind=kind)(lambda _: None)

    with pytest.raises(type(expected)) as caught:
        call(torch.zeros(2))

    error = caught.value
    assert type(error) is type(expected)
    assert error.args == expected.args
    assert type(error.__cause__) is type(expected.__cause__)
    assert type(error.__context__) is type(expected.__context__)


def test_the_three_lists_do_not_overlap():
    assert len(ALL_KINDS) == len(OOM_ERRORS) + len(OOM_SUSPECTS) + len(OOM_LOOKALIKES)
    for known in (OOM_ERRORS, OOM_SUSPECTS):
        for error in known.values():
            assert isinstance(error.make(), (RuntimeError, MemoryError))


def test_errors_are_new_each_time():
    assert OOM_ERRORS["cuda"].make() is not OOM_ERRORS["cuda"].make()


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux words it this way")
def test_the_cpu_error_is_worded_as_this_machine_words_it():
    listed = str(OOM_ERRORS["cpu_linux"].make()).partition("err == 0. ")[2]

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)

    assert type(caught.value) is RuntimeError
    assert str(caught.value).partition("err == 0. ")[2] == listed


def test_the_numpy_error_is_numpys_own():
    error = OOM_ERRORS["numpy"].make()

    assert isinstance(error, MemoryError)
    assert type(error) is not MemoryError
    assert error.__traceback__ is None


def test_an_attempt_is_a_value():
    assert Attempt(0, 1, 4, 0) == Attempt(0, 1, 4, 0)
