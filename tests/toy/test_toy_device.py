"""The toy device computes, moves and refuses as a real device does."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils import backend_registration

from unfussy.errors import DeviceError
from unfussy.testing._toy import Copy, toy_device
from unfussy.testing._toy_backend import register

SETUP = "_setup_privateuseone_for_python_backend"


def same(result, expected):
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=0)


# --- moving ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
def test_values_survive_the_way_there_and_back(toy, dtype):
    x = torch.arange(6).reshape(2, 3).to(dtype)

    there = x.to("toy:0")

    assert there.device == toy.device
    assert (there.dtype, there.shape) == (x.dtype, x.shape)
    same(there, x)
    assert type(there.cpu()) is torch.Tensor


def test_every_copy_is_logged(toy):
    x = torch.zeros(2, 3)

    there = x.to("toy:0", non_blocking=True)
    there.clone()
    there.half()
    there.to("cpu", torch.float64)
    there[0, 0].item()

    float32, half, double = torch.float32, torch.float16, torch.float64
    assert toy.copies == [
        Copy("in", (2, 3), float32, 24, non_blocking=True),
        Copy("within", (2, 3), float32, 24, non_blocking=False),
        Copy("within", (2, 3), half, 12, non_blocking=False),
        Copy("out", (2, 3), double, 48, non_blocking=False),
        Copy("out", (), float32, 4, non_blocking=False),
    ]
    assert toy.copied_bytes("out") == 52


def test_what_is_there_already_is_not_copied(toy):
    there = torch.zeros(2).to("toy:0")

    assert there.to("toy:0") is there
    assert [c.direction for c in toy.copies] == ["in"]


def test_assignment_is_a_copy_in_its_direction(toy):
    there, here = torch.zeros(2, device="toy"), torch.ones(2)

    there.copy_(here)
    here.copy_(there * 2)

    assert [c.direction for c in toy.copies] == ["in", "out"]
    assert here.tolist() == [2.0, 2.0]


def test_the_array_behind_an_input_is_not_shared(toy):
    array = np.zeros(2, np.float32)
    there = torch.from_numpy(array).to(toy.device)

    array[:] = 1

    assert there.tolist() == [0.0, 0.0]


def test_peeking_is_not_logged(toy):
    there = torch.ones(2, device="toy")

    assert toy.peek(there + 1).tolist() == [2.0, 2.0]
    assert repr(there) == "toy(tensor([1., 1.]))"
    assert toy.copies == []


# --- modules -----------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.second(self.first(x)))


def test_a_placed_module_gives_the_same_results(toy):
    module = Tied().eval()
    x = torch.randn(5, 3)

    placed = toy.place(module)

    tensors = [*placed.parameters(), *placed.buffers()]
    assert toy.copies == []
    assert {tensor.device for tensor in tensors} == {toy.device}
    assert all(isinstance(p, nn.Parameter) for p in placed.parameters())
    assert placed.second.weight is placed.first.weight
    assert next(module.parameters()).device.type == "cpu"
    same(placed(x.to("toy:0")), module(x))


@pytest.mark.usefixtures("toy")
def test_a_module_moves_by_itself():
    module = nn.Linear(3, 2)
    x = torch.randn(5, 3)
    expected = module(x)

    same(module.to("toy:0")(x.to("toy:0")), expected)
    same(module.to("cpu")(x), expected)


def test_training_works(toy):
    module = Tied()
    placed = toy.place(module)
    x = torch.randn(5, 3)

    module(x).square().sum().backward()
    placed(x.to("toy:0")).square().sum().backward()

    for here, there in zip(module.parameters(), placed.parameters()):
        same(there.grad, here.grad)


def test_copies_and_pickles_stay_on_the_device(toy):
    placed = toy.place(Tied().eval())
    x = torch.randn(2, 3).to("toy:0")
    expected = placed(x).cpu()

    for twin in (copy.deepcopy(placed), pickle.loads(pickle.dumps(placed))):  # noqa: S301
        assert isinstance(twin.first.weight, nn.Parameter)
        assert twin.first.weight.requires_grad
        assert twin.second.weight is twin.first.weight
        same(twin(x), expected)
    assert not copy.deepcopy(x).requires_grad


# --- computing ---------------------------------------------------------------------

X = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
OPERATIONS = {
    "arithmetic": lambda x: (x * 2 + 1) / x.abs().sum(),
    "number": lambda x: x + torch.tensor(2.0),
    "matmul": lambda x: x @ x.mT,
    "conv": lambda x: functional.conv1d(x, x[:, :, :2]),
    "cat": lambda x: torch.cat([x, x], dim=1),
    "split": lambda x: x.split(2, dim=1)[1],
    "chunk": lambda x: x.chunk(2)[1],
    "slice": lambda x: x[:, 1:, ::2],
    "mask": lambda x: x[x > 0],
    "index": lambda x: x[torch.tensor([1, 0])],
    "softmax": lambda x: x.softmax(-1),
    "layer_norm": lambda x: functional.layer_norm(x, (4,)),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
    "sort": lambda x: x.sort(descending=True).values,
    "arange": lambda x: torch.arange(4, device=x.device) + x,
    "eye": lambda x: torch.eye(4, device=x.device) @ x.mT,
    "like": lambda x: torch.zeros_like(x) + x.new_ones(4),
    "tensor": lambda x: torch.tensor([1.0, 2, 3, 4], device=x.device) * x,
    "asarray": lambda x: torch.asarray([1.0, 2, 3, 4], device=x.device) * x,
    "unsqueeze_": lambda x: x.clone().unsqueeze_(0).squeeze_(),
    "transpose_": lambda x: x.clone().transpose_(1, 2) + 1,
    "out": lambda x: torch.add(x, 1, out=torch.empty(0, device=x.device)),
    "conj": lambda x: torch.complex(x, x).conj().imag,
    "expand": lambda x: x[:1].expand(5, 3, 4),
    "distribution": lambda x: torch.distributions.Normal(x, 1.0).log_prob(x),
    "vmap": lambda x: torch.vmap(torch.trace)(x[:, :, :3]),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_operators_give_the_results_of_the_cpu(toy, name, mode):
    operation = OPERATIONS[name]

    with mode():
        expected = operation(X)
        result = operation(X.to("toy:0"))

    assert result.device == toy.device
    assert result.stride() == expected.stride()
    assert result.is_inference() == (mode is torch.inference_mode)
    torch.testing.assert_close(toy.peek(result), expected)


def test_writing_into_a_view_writes_into_the_tensor(toy):
    there = torch.zeros(2, 2, device=toy.device)

    there[0] = 1
    there[:, 1].add_(5)

    assert there.tolist() == [[1.0, 6.0], [0.0, 5.0]]


def test_layouts_are_kept(toy):
    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)

    there = x.to(toy.device)

    assert there.is_contiguous(memory_format=torch.channels_last)


def test_new_tensors_of_the_host_stay_there(toy):
    there = torch.zeros(2, device=toy.device)

    assert there.new_ones(2, device="cpu").tolist() == [1.0, 1.0]
    assert torch.zeros_like(there, device="cpu").device.type == "cpu"


def test_packed_sequences_keep_their_lengths_on_the_host(toy):
    lengths = torch.tensor([3, 2])
    x = torch.randn(2, 3, 1)

    packed = pack_padded_sequence(x.to(toy.device), lengths, batch_first=True)
    padded, n = pad_packed_sequence(packed, batch_first=True)

    assert packed.data.device == toy.device
    assert packed.batch_sizes.device.type == "cpu"
    assert n.tolist() == [3, 2]
    same(padded[0], x[0])


# --- refusing ----------------------------------------------------------------------


def test_tensors_of_two_devices_do_not_mix(toy):
    there = torch.ones(2, 3, device=toy.device)

    with pytest.raises(RuntimeError, match="at least two devices, toy:0 and cpu"):
        there + torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="at least two devices, toy:0 and cpu"):
        nn.Linear(3, 2)(there)


def test_numpy_needs_a_copy(toy):
    there = torch.ones(2, device=toy.device)

    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\) to copy the tensor"):
        there.numpy()
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\) to copy the tensor"):
        np.asarray(there)
    assert there.cpu().numpy().tolist() == [1.0, 1.0]
    assert there.numpy(force=True).tolist() == [1.0, 1.0]
    assert [c.direction for c in toy.copies] == ["out", "out"]


@pytest.mark.usefixtures("toy")
def test_what_it_cannot_do_is_said():
    with pytest.raises(DeviceError, match="there is one toy device, toy:0, got toy:1"):
        torch.zeros(2).to("toy:1")
    with pytest.raises(NotImplementedError, match=r"dense tensors only, got .*sparse"):
        torch.eye(2).to_sparse().to("toy:0")


def test_a_closed_device_makes_no_tensors():
    with toy_device() as toy:
        there = torch.ones(2, device=toy.device)

    assert (there + 1).tolist() == [2.0, 2.0]
    with pytest.raises(DeviceError, match="no toy device is open"):
        torch.ones(2).to("toy:0")


@pytest.mark.usefixtures("toy")
def test_only_one_is_open_at_a_time():
    with pytest.raises(DeviceError, match="open already"), toy_device():
        pass


def test_another_backend_in_its_place_is_refused():
    program = (
        "import torch\n"
        "torch.utils.rename_privateuse1_backend('npu')\n"
        "from unfussy.testing._toy import toy_device\n"
        "with toy_device(): pass\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert "one extra device, and 'npu' is registered in it" in done.stderr


@pytest.mark.usefixtures("toy")
def test_registering_anew_is_refused():
    with pytest.raises(DeviceError, match="'toy' is registered in it"):
        register.__wrapped__()


def test_a_torch_without_python_backends_is_refused(monkeypatch):
    monkeypatch.delattr(backend_registration, SETUP)

    with pytest.raises(DeviceError, match=r"toy_device\(\) needs a newer torch than"):
        register.__wrapped__()


# --- what torch sees ---------------------------------------------------------------


def test_torch_takes_it_for_the_accelerator(toy):
    assert torch.accelerator.current_accelerator() == torch.device("toy")
    assert torch.accelerator.is_available()
    assert torch.accelerator.device_count() == 1
    assert torch.accelerator.current_device_index() == 0
    assert torch.get_device_module(toy.device).current_device() == 0
    assert torch.get_device_module("toy").is_initialized()


def test_housekeeping_by_its_own_module_does_nothing(toy):
    module = torch.get_device_module(toy.device)

    module.synchronize()
    module.empty_cache()
    torch.manual_seed(0)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", ["empty_cache", "memory_allocated", "synchronize"])
def test_housekeeping_by_torch_accelerator_raises(name):
    with pytest.raises(RuntimeError):
        getattr(torch.accelerator, name)()
