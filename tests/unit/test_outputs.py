"""Results in every form, of every kind of tensor, through decorated methods."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    transforms,
)
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from tests.fresh import Fresh
from unfussy import auto_device, autocast_policy, batched, configure, inference, returns
from unfussy._outputs import gathered
from unfussy.errors import InputTypeError, NoDataError, TreeError
from unfussy.testing import fake_device


class Net(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    @returns("numpy")
    def arrays(self, x):
        return x() if callable(x) else x

    @returns("tensor")
    def tensors(self, x):
        return x

    @returns("mirror")
    @auto_device
    def mirrored(self, x, y=None):
        return y if x is None else x

    @returns(device="input")
    @auto_device
    def at_input(self, x):
        return x

    @returns(device="cpu")
    @auto_device
    def on_cpu(self, x):
        return x


# --- arrays ------------------------------------------------------------------------

STRIDED = torch.arange(24.0).reshape(1, 2, 3, 4)
FINE = {
    "requires_grad": torch.zeros(2, requires_grad=True),
    "non-leaf": torch.zeros(2, requires_grad=True) * 2,
    "Parameter": nn.Parameter(torch.ones(2)),
    "expanded": torch.ones(1).expand(3),
    "channels_last": STRIDED.to(memory_format=torch.channels_last),
    "transposed": STRIDED.mT,
    "0-d": torch.tensor(1.5),
    "empty": torch.zeros(2, 0),
}
DTYPES = [
    *(torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.uint8),
    *(torch.uint16, torch.uint32, torch.uint64),
]
FLOAT8 = [
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
]


@pytest.mark.parametrize("tensor", FINE.values(), ids=FINE)
def test_ordinary_tensors_become_arrays_of_the_same_memory(tensor):
    array = Net().arrays(tensor)

    assert np.array_equal(array, tensor.detach().numpy())
    assert array.shape == tuple(tensor.shape)
    assert np.shares_memory(array, tensor.detach().numpy()) or not array.size


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_that_numpy_knows_are_kept(dtype):
    array = Net().arrays(torch.ones(2, dtype=dtype))

    assert array.dtype.name == str(dtype).removeprefix("torch.")
    assert array.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, *FLOAT8], ids=str)
def test_low_precision_that_numpy_does_not_know_becomes_float32(dtype):
    values = torch.tensor([0.5, -2.0, 0.0]).to(dtype)

    array = Net().arrays(values)

    assert array.dtype == np.float32
    assert array.tolist() == values.float().tolist()


def test_tensors_of_inference_mode_become_arrays():
    with torch.inference_mode():
        tensor = torch.ones(2)

    assert Net().arrays(tensor).tolist() == [1, 1]


def test_conjugate_and_negative_views_are_resolved():
    z = torch.tensor([1 + 2j, 3 - 4j])
    assert z.conj().is_conj()
    assert z.conj().imag.is_neg()

    arrays = Net().arrays([z.conj(), z.conj().imag, z.conj().conj()])

    assert [a.tolist() for a in arrays] == [[1 - 2j, 3 + 4j], [-2, 4], [1 + 2j, 3 - 4j]]


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sparse_tensors_become_dense_arrays(dtype):
    eye = torch.eye(4, dtype=dtype)
    sparse = [eye.to_sparse(), eye.to_sparse_csr(), eye.to_sparse_csc()]
    sparse += [eye.to_sparse_bsr((2, 2))]

    arrays = Net().arrays([*sparse, eye.float().to_sparse().requires_grad_()])

    assert all(np.array_equal(array, np.eye(4)) for array in arrays)


def masked():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False]))


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


def jagged():
    parts = [torch.ones(1), torch.ones(2)]
    return torch.nested.nested_tensor(parts, layout=torch.jagged)


REFUSED = {
    "complex32": (
        lambda: torch.ones(2, dtype=torch.complex64).to(torch.complex32),
        r"a tensor of torch\.complex32; call \.to\(torch\.complex64\)",
    ),
    "quantised": (quantised, r"a tensor of torch\.qint8; call \.dequantize\(\)"),
    "nested": (jagged, r"a nested tensor; call \.unbind\(\)"),
    "masked": (masked, "a MaskedTensor: "),
}


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=REFUSED)
def test_what_numpy_has_no_form_for_is_refused_with_its_path(make, why):
    net = Net()

    with pytest.raises(
        InputTypeError,
        match=rf"^Net\.arrays\(\): result\['a'\]\[1\]: NumPy has no form for {why}",
    ):
        net.arrays({"a": [torch.ones(1), make()]})
    with pytest.raises(TypeError, match=r"^Net\.arrays\(\): result: NumPy has no form"):
        net.arrays(make())
    assert net.arrays(torch.ones(1)).tolist() == [1]


def test_meta_tensors_have_no_data():
    meta = torch.zeros(2, 3, device="meta")

    for kind in (InputTypeError, NotImplementedError, NoDataError):
        with pytest.raises(
            kind, match=r"result\['a'\]: a meta tensor \(2, 3\) has no data to make an"
        ):
            Net().arrays({"a": meta})


def test_other_results_stay_what_they_are():
    given = {"text": ["ab", None, 1, 2.5], "array": np.zeros(2)}

    assert Net().arrays(given) is given


def test_containers_keep_their_types_and_tensors_their_identity():
    @dataclass
    class Result:
        z: Any
        names: list

    tensor = torch.ones(2)
    result = Result((tensor, [tensor]), ["a"])

    arrays = Net().arrays(result)

    assert type(arrays) is Result
    assert arrays.z[0].tolist() == arrays.z[1][0].tolist() == [1, 1]
    assert result.z[0] is tensor


def test_bfloat16_autocast_results_become_arrays():
    class Cast(nn.Linear):
        @returns("numpy")
        @autocast_policy(precision="bf16", outputs="keep")
        @inference
        def embed(self, x):
            return self(x)

    assert Cast(2, 3).embed(torch.ones(1, 2)).dtype == np.float32


# --- distributions -----------------------------------------------------------------


def normal():
    mean = torch.zeros(2, requires_grad=True)
    return Normal(mean * 1, torch.ones(2, requires_grad=True))


def test_a_distribution_stays_one_with_detached_tensors():
    given = normal()

    result = Net().arrays({"q": given})

    assert type(result["q"]) is Normal
    assert not result["q"].loc.requires_grad
    assert given.loc.requires_grad
    assert result["q"].sample().shape == (2,)
    assert result["q"].log_prob(torch.zeros(2)).shape == (2,)


@pytest.mark.parametrize(
    "given",
    [
        Independent(normal(), 1),
        TransformedDistribution(normal(), [transforms.ExpTransform()]),
        MixtureSameFamily(Categorical(torch.ones(2)), normal()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_distributions_of_distributions_stay_whole(given):
    result = Net().arrays(given)

    assert type(result) is type(given)
    assert not result.sample().requires_grad
    assert isinstance(result.sample(), torch.Tensor)


def test_a_packed_sequence_stays_one():
    packed = pack_sequence([torch.zeros(2, 1, requires_grad=True), torch.zeros(1, 1)])

    result = Net().arrays(packed)

    assert type(result) is PackedSequence
    assert not result.data.requires_grad


# --- tensors and mirrors -----------------------------------------------------------


def test_arrays_in_results_become_tensors_where_tensors_are_asked_for():
    words = np.array(["a"])

    result = Net().tensors({"z": np.zeros(2), "words": words, "n": 1})

    assert type(result["z"]) is torch.Tensor
    assert result["words"] is words


def test_objects_in_results_are_refused_where_tensors_are_asked_for():
    with pytest.raises(
        InputTypeError, match=r"^Net\.tensors\(\): result\['z'\]: array of"
    ):
        Net().tensors({"z": np.array([None])})


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (np.zeros(2), np.ndarray),
        (torch.zeros(2), torch.Tensor),
        ({"a": [np.zeros(2)]}, np.ndarray),
        ({"names": np.array(["a"]), "z": torch.zeros(2)}, torch.Tensor),
        ({"names": np.array(["a"]), "z": np.zeros(2)}, np.ndarray),
        ([torch.zeros(2), np.zeros(2)], torch.Tensor),
    ],
    ids=range(6),
)
def test_a_mirror_shows_what_the_first_input_was(given, kind):
    def last(tree):
        if isinstance(tree, (dict, list)):
            return last(list(tree.values() if isinstance(tree, dict) else tree)[-1])
        return tree

    results = [Net().mirrored(given), Net().mirrored(None, y=given)]

    assert [type(last(result)) for result in results] == [kind, kind]


def test_a_mirror_of_no_arrays_and_no_tensors_shows_tensors():
    assert type(Net().mirrored(None, y=[1, 2])) is list
    assert Net().mirrored(3) == 3


def test_an_input_that_holds_itself_is_refused_under_a_mirror_too():
    endless = []
    endless.append(endless)

    with pytest.raises(
        TreeError, match=r"Net\.mirrored\(\): argument x: the list at tree"
    ):
        Net().mirrored(endless)


def test_a_result_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)

    with pytest.raises(
        TreeError, match=r"^Net\.arrays\(\): the list at tree\[0\] holds"
    ):
        Net().arrays(endless)


# --- devices -----------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch):
    """Count how often a stream of the fake device is waited for."""
    counted = []

    class Stream:
        def __init__(self, device):
            self.device = device

        def synchronize(self):
            counted.append(self.device)

    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    return counted


def test_results_come_to_the_cpu_with_one_wait_for_all(waits):
    net = Net()

    with fake_device() as fake:
        placed = fake.place(net)
        a, b = fake.tensor(torch.ones(2)), fake.tensor(torch.ones(3))
        result = placed.on_cpu({"a": a, "b": [b, a], "n": 1})

    assert result["a"].is_cpu
    assert result["a"] is result["b"][1]
    assert waits == [torch.device("cuda:0")]


def test_nothing_is_waited_for_where_nothing_was_copied(waits):
    Net().on_cpu(torch.ones(2))

    assert waits == []


def test_results_go_where_the_first_input_was(waits):
    net = Net()

    with fake_device() as fake:
        placed, there = fake.place(net), fake.tensor(torch.ones(2))
        back = placed.at_input([torch.ones(2), 1])
        array = placed.at_input(np.ones(2))
        stayed = placed.at_input({"a": there})
        out = net.at_input([there, there])
        nothing = placed.at_input(3)

    assert [x.device.type for x in (back[0], array, stayed["a"])] == [
        "cpu",
        "cpu",
        "cuda",
    ]
    assert stayed["a"] is there
    assert out[0].device.type == "cuda"
    assert out[0] is out[1]
    assert nothing == 3
    assert len(waits) == 2


def test_results_that_a_container_makes_anew_are_not_taken_for_each_other(waits):
    with fake_device() as fake:
        sizes = Fresh(lambda i: fake.tensor(torch.ones(i)), 50)
        result = gathered(sizes).replaced

    assert [len(result[i]) for i in range(50)] == list(range(50))
    assert len(waits) == 1


def test_meta_tensors_stay_on_meta():
    meta = torch.zeros(2, device="meta")

    assert gathered([meta])[0] is meta


def test_chunks_that_wait_on_the_cpu_keep_their_arrays():
    class Cut(nn.Linear):
        @batched(size=2, keep="cpu")
        def embed(self, x):
            return {"x": x, "n": np.ones(len(x))}

    result = Cut(1, 1).embed(torch.zeros(3, 1))

    assert type(result["n"]) is np.ndarray
    assert result["n"].shape == (3,)


def test_a_call_can_ask_for_another_form():
    net = Net()

    numpy = configure(net.on_cpu, out="numpy")(torch.ones(1))
    tensor = configure(net.arrays, out="tensor")(torch.ones(1))

    assert type(numpy) is np.ndarray
    assert type(tensor) is torch.Tensor
