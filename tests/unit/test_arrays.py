"""Every kind of NumPy array, list and picture, given to a decorated method."""

from __future__ import annotations

import array as machine
from collections import UserList
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tests.fresh import Fresh
from unfussy import auto_device, batched, inference
from unfussy._arrays import from_array, from_numbers, is_numbers, to_array
from unfussy.errors import InputTypeError, InputValueError

CODES = "?bBhHiIlLqQefdFD"
WIDE_CODES = "hHiIlLqQefdFD"


class Net(nn.Linear):
    def __init__(self, dtype=None):
        super().__init__(1, 1, dtype=dtype)

    @auto_device
    def take(self, x, y=None):
        return x

    @auto_device(float64="keep")
    def take_doubles(self, x):
        return x

    @auto_device(float64="float32")
    def take_singles(self, x):
        return x

    @auto_device(copy=True)
    def take_copies(self, x):
        return x


class Bare(nn.Module):
    @auto_device
    def take(self, x):
        return x


@pytest.fixture(autouse=True)
def warn_always():
    # torch warns of read-only arrays once a process, which tests would miss.
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def numbers(code, shape=(2, 3)):
    return np.arange(np.prod(shape)).astype(code).reshape(shape)


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


# --- what is shared and what is copied ---------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_numeric_dtype_is_shared_and_not_copied(code):
    array = numbers(code)

    taken = Net().take_doubles(array)

    assert np.shares_memory(taken.numpy(), array)
    assert taken.numpy().dtype == array.dtype
    assert np.array_equal(taken.numpy(), array)


@pytest.mark.parametrize("code", ["H", "I", "L"])
def test_unsigned_integers_keep_their_dtype(code):
    taken = Net().take(numbers(code))

    assert str(taken.dtype).removeprefix("torch.") == np.dtype(code).name


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "turned",
    [
        np.s_[:, ::-1],
        np.s_[::-1, ::-1],
        np.s_[::-1],
        np.s_[:, :0:-1],
    ],
    ids=str,
)
def test_negative_strides_are_copied_once(code, turned):
    array = numbers(code)[turned]

    taken = Net().take_doubles(array)

    assert not np.shares_memory(taken.numpy(), array)
    assert np.array_equal(taken.numpy(), array)


def test_a_negative_stride_of_an_axis_of_one_is_no_hindrance():
    array = numbers("f", (1, 3))[::-1]

    taken = Net().take(array)

    assert taken.tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    "make",
    [
        read_only,
        lambda array: np.broadcast_to(array[0], (4, 3)),
        lambda array: np.frombuffer(array.tobytes(), array.dtype),
    ],
    ids=["read-only", "broadcast", "frombuffer"],
)
def test_a_read_only_array_is_copied_without_a_warning(make):
    array = make(numbers("f"))
    before = array.copy()

    taken = Net().take(array)

    assert np.array_equal(taken.numpy(), array)
    taken.fill_(-1)
    assert np.array_equal(array, before)


def test_a_memory_map_opened_for_reading_is_copied_and_the_file_stays(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, numbers("f"))
    mapped = np.load(path, mmap_mode="r")

    taken = Net().take(mapped)

    taken.fill_(-1)
    assert np.array_equal(np.load(path), numbers("f"))


def test_a_memory_map_opened_for_writing_is_shared(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, numbers("f"))
    mapped = np.load(path, mmap_mode="r+")

    taken = Net().take(mapped)

    assert np.shares_memory(taken.numpy(), mapped)


@pytest.mark.parametrize("code", WIDE_CODES)
def test_the_other_byte_order_is_read_right(code):
    array = numbers(code)
    swapped = array.astype(array.dtype.newbyteorder("S"))

    taken = Net().take_doubles(swapped)

    assert taken.numpy().dtype == array.dtype
    assert np.array_equal(taken.numpy(), array)


@pytest.mark.parametrize("code", CODES)
def test_a_field_of_packed_records_is_copied_once(code):
    records = np.zeros(4, [("flag", "i1"), ("value", code)])
    records["value"] = numbers(code, (4,))

    taken = Net().take_doubles(records["value"])

    assert np.array_equal(taken.numpy(), numbers(code, (4,)))


def test_aligned_strides_that_are_no_multiple_of_the_size_are_copied():
    records = np.zeros(3, [("value", "c16"), ("flag", "f8")])
    records["value"] = [1, 2j, 3]

    taken = Net().take_doubles(records["value"])

    assert taken.tolist() == [1, 2j, 3]


@pytest.mark.parametrize("order", ["=", "S"])
def test_long_doubles_become_doubles_and_follow_the_module(order):
    long = numbers("f").astype(np.dtype("g").newbyteorder(order))
    long_complex = long.astype(np.dtype("G").newbyteorder(order))

    taken = [Net().take(x) for x in (long, long_complex)]
    doubles = [Net().double().take(x) for x in (long, long_complex)]

    assert [x.dtype for x in taken] == [torch.float32, torch.complex64]
    assert [x.dtype for x in doubles] == [torch.float64, torch.complex128]
    assert taken[0].tolist() == long.tolist()


def test_empty_and_zero_dimensional_arrays_keep_their_shapes():
    shapes = [(), (0,), (2, 0, 3)]

    taken = [Net().take(np.zeros(shape)) for shape in shapes]

    assert [tuple(x.shape) for x in taken] == shapes


def test_a_zero_dimensional_array_is_not_cut():
    class Cut(nn.Linear):
        @batched(size=1)
        @auto_device
        def scale(self, x, by):
            return x * by

    scaled = Cut(1, 1).scale(numbers("f"), np.array(2.0))

    assert scaled.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_subclasses_of_arrays_become_plain_tensors():
    class Sub(np.ndarray):
        pass

    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0]])
    taken = [Net().take(x) for x in (numbers("f").view(Sub), matrix)]

    assert [type(x) for x in taken] == [torch.Tensor, torch.Tensor]
    assert taken[1].tolist() == [[1.0, 2.0]]


def test_bfloat16_arrays_keep_their_bits_and_their_memory():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = numbers(ml_dtypes.bfloat16)

    taken = Net().take(array)
    turned = Net().take(array[::-1])

    assert taken.dtype == torch.bfloat16
    assert np.shares_memory(taken.view(torch.int16).numpy(), array.view(np.int16))
    assert turned.tolist() == [[3, 4, 5], [0, 1, 2]]


def test_arrays_of_eight_bit_floats_are_refused():
    ml_dtypes = pytest.importorskip("ml_dtypes")

    for kind in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        with pytest.raises(InputTypeError, match="argument x: array of dtype float8"):
            Net().take(np.zeros(2, kind))


def test_the_default_device_does_not_matter():
    with torch.device("meta"):
        taken = Net().take(numbers("f")), Bare().take(numbers("f"))
        from_list = from_numbers([1, 2])

    assert taken[1].device == from_list.device == torch.device("cpu")


def test_the_default_device_does_not_attract_what_a_module_takes():
    net = Net()

    with torch.device("meta"):
        taken = net.take(numbers("f"))

    assert taken.device == torch.device("cpu")


# --- precision ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "real", "imaginary"),
    [
        (Net(), torch.float32, torch.complex64),
        (Net().double(), torch.float64, torch.complex128),
        (Net().bfloat16(), torch.bfloat16, torch.complex64),
        (Net().half(), torch.float16, torch.complex64),
        (Net(torch.complex64), torch.float32, torch.complex64),
        (Net(torch.complex128), torch.float64, torch.complex128),
        (Bare(), torch.float32, torch.complex64),
    ],
    ids=["single", "double", "bf16", "half", "complex", "complex double", "bare"],
)
def test_double_arrays_follow_the_precision_of_the_module(module, real, imaginary):
    taken = module.take(numbers("d")), module.take(numbers("D"))

    assert [x.dtype for x in taken] == [real, imaginary]


def test_double_tensors_follow_the_module_like_arrays():
    double = torch.zeros(2, dtype=torch.float64)

    taken = Net().take(double), Net().double().take(double), Net().half().take(double)

    assert [x.dtype for x in taken] == [torch.float32, torch.float64, torch.float16]


def test_a_double_tensor_was_chosen_where_no_weights_say_otherwise():
    double = torch.zeros(2, dtype=torch.float64)

    assert Bare().take(double) is double


def test_without_weights_arrays_take_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        taken = Bare().take(numbers("d"))
    finally:
        torch.set_default_dtype(torch.float32)

    assert taken.dtype == torch.float64


@pytest.mark.parametrize("code", ["e", "f", "F", "i", "?"])
def test_other_dtypes_than_doubles_are_kept(code):
    taken = [m.take(numbers(code)) for m in (Net(), Net().double(), Net().half())]

    assert {str(x.dtype) for x in taken} == {str(torch.as_tensor(numbers(code)).dtype)}


def test_doubles_can_be_kept_or_always_cast():
    array, tensor = numbers("d"), torch.zeros(2, dtype=torch.complex128)
    net = Net().double()

    kept = Net().take_doubles(array), Net().take_doubles(tensor)
    cast = net.take_singles(array), net.take_singles(tensor)

    assert [x.dtype for x in kept] == [torch.float64, torch.complex128]
    assert [x.dtype for x in cast] == [torch.float32, torch.complex64]
    assert kept[1] is tensor


def test_quantised_weights_that_come_first_are_no_precision():
    class Quantised(Bare):
        def __init__(self, rest):
            super().__init__()
            first = torch.ones(2, dtype=torch.int8)
            self.first = nn.Parameter(first, requires_grad=False)
            self.rest = rest

    singles = Quantised(nn.Linear(1, 1)), Quantised(nn.Identity())
    doubles = Quantised(nn.Linear(1, 1).double())

    assert [m.take(numbers("d")).dtype for m in singles] == 2 * [torch.float32]
    assert doubles.take(numbers("d")).dtype == torch.float64


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_dynamically_quantised_module_takes_doubles_as_singles():
    class Holder(Bare):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 2))

        @inference
        @auto_device
        def embed(self, x):
            return self.net(x)

    quantised = torch.ao.quantization.quantize_dynamic(Holder(), {nn.Linear})

    assert quantised.embed(numbers("d")).dtype == torch.float32


# --- what is refused, and what passes ----------------------------------------------

LABELS = {
    "str": np.array(["ab", "c"]),
    "bytes": np.array([b"ab"]),
    "date": np.array(["2020-01-01"], "M8[D]"),
    "duration": np.array([1], "m8[s]"),
    "variable": np.array(["ab"], np.dtypes.StringDType())
    if hasattr(np.dtypes, "StringDType")
    else np.array(["ab"]),
}
OBJECTS = {
    "object": np.array([object()]),
    "ragged": np.array([np.zeros(1), np.zeros(2)], dtype=object),
    "void": np.zeros(2, "V3"),
    "structured": np.zeros(2, [("a", "f4"), ("b", "i4")]),
    "records": np.rec.fromarrays([np.zeros(2)], names="a"),
}


@pytest.mark.parametrize("array", (LABELS | OBJECTS).values(), ids=LABELS | OBJECTS)
def test_arrays_without_numbers_are_refused_by_the_name_of_the_argument(array):
    net = Net()

    with pytest.raises(
        InputTypeError,
        match=r"^Net\.take\(\): argument x: array of dtype .* cannot become a tensor; "
        "convert it to numbers first$",
    ):
        net.take(array)
    with pytest.raises(TypeError, match=r"Net\.take\(\): argument y: array of dtype"):
        net.take(numbers("f"), y=array)
    assert net.take(numbers("f")).shape == (2, 3)


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_labels_beside_numbers_pass(label):
    given = {"poses": numbers("d"), "names": [label]}

    taken = Net().take(given)

    assert taken["names"] is given["names"]
    assert taken["poses"].dtype == torch.float32


@pytest.mark.parametrize("array", OBJECTS.values(), ids=OBJECTS)
def test_objects_beside_numbers_are_refused_with_their_path(array):
    given = {"poses": numbers("d"), "boxes": [(0, SimpleNamespace(a=array))]}

    with pytest.raises(
        InputTypeError, match=r"argument x\['boxes'\]\[0\]\[1\]\.a: arr"
    ):
        Net().take(given)


@pytest.mark.parametrize("nested", [False, True])
def test_a_masked_array_is_refused(nested):
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])

    path = r"x\['a'\]" if nested else "x"
    with pytest.raises(
        InputTypeError,
        match=rf"argument {path}: masked array: its mask would be lost; "
        r"call \.filled\(value\) first",
    ):
        Net().take({"a": masked} if nested else masked)


class Dlpack:
    def __dlpack__(self):
        raise AssertionError

    def __array__(self, dtype=None, copy=None):
        raise AssertionError


UNTOUCHED = {
    "float": 1.5,
    "int": 3,
    "None": None,
    "str": "ab",
    "bytes": b"ab",
    "bytearray": bytearray(b"ab"),
    "memoryview": memoryview(b"ab"),
    "machine array": machine.array("d", [1.0]),
    "range": range(3),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "slice": slice(1, 2),
    "generator": (i for i in range(3)),
    "Decimal": Decimal("1.5"),
    "torch.Size": torch.Size([2, 3]),
    "dtype": torch.float64,
    "device": torch.device("meta"),
    "numpy dtype": np.dtype("f8"),
    "float32 scalar": np.float32(2),
    "float64 scalar": np.float64(2),
    "int64 scalar": np.int64(3),
    "numbers": [1, 2.5],
    "sizes": (224, 224),
    "nested numbers": [[1, 2], [3, 4]],
    "words": ["a", "b"],
    "foreign array": Dlpack(),
    "class": np.ndarray,
    "function": len,
}


@pytest.mark.parametrize("value", UNTOUCHED.values(), ids=UNTOUCHED)
def test_everything_else_passes_unchanged_at_any_depth(value):
    held = {"a": [value]}

    assert Net().take(value) is value
    assert Net().take(held) is held


# --- lists -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, UserList])
def test_a_list_of_arrays_stays_a_list_and_may_be_ragged(kind):
    arrays = kind([numbers("d"), numbers("d", (1, 3)), numbers("i", ())])

    taken = Net().take(arrays)

    assert type(taken) is kind
    assert [tuple(x.shape) for x in taken] == [(2, 3), (1, 3), ()]
    assert [x.dtype for x in taken] == [torch.float32, torch.float32, torch.int32]


def test_a_list_of_tensors_stays_the_same_list():
    tensors = [torch.zeros(2), torch.zeros(3)]

    assert Net().take(tensors) is tensors


def test_an_array_given_twice_stays_one_object():
    array = numbers("d")

    taken = Net().take({"q": array, "k": [array]})

    assert taken["q"] is taken["k"][0]


def test_arrays_that_a_container_makes_anew_are_not_taken_for_each_other():
    taken = Net().take(Fresh(lambda i: np.full(2, i, "d"), 50)).replaced

    assert [int(taken[i][0]) for i in range(50)] == list(range(50))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], True),
        ([[1.5], [2]], True),
        ((np.float32(1), np.bool_(1)), True),
        ([], True),
        ([[]], True),
        ([True], True),
        (["a"], False),
        ([np.str_("a")], False),
        ([None], False),
        ([np.zeros(1)], False),
        (1, False),
        (UserList([1]), False),
    ],
)
def test_lists_of_numbers_are_told_from_others(value, expected):
    assert is_numbers(value) is expected


def test_a_list_that_holds_itself_is_no_list_of_numbers():
    endless = []
    endless.append(endless)

    assert not is_numbers(endless)


def test_a_list_of_numbers_has_their_precision():
    made = [from_numbers(x) for x in ([1, 2], [1.5], [True], [1j], [np.float32(1)])]

    dtypes = [torch.int64, torch.float64, torch.bool, torch.complex128, torch.float32]
    assert [x.dtype for x in made] == dtypes


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(InputValueError, match="rows of a list of numbers differ in l"):
        from_numbers([[1, 2], [3]])


@pytest.mark.parametrize(("bad", "kind"), [("a", "<U"), (None, "object")])
def test_a_list_of_numbers_and_something_else_is_refused(bad, kind):
    with pytest.raises(
        InputTypeError, match=f"reads as {kind}.* is no list of numbers"
    ):
        from_numbers([1, bad])


# --- who owns the memory -----------------------------------------------------------


class InPlace(nn.Linear):
    @auto_device
    def shift(self, x):
        return x.add_(1)

    @auto_device(copy=True)
    def shift_copy(self, x):
        return x.add_(1)


@pytest.mark.parametrize("given", [numbers("f"), torch.zeros(2, 3)], ids=["a", "t"])
def test_a_method_that_works_in_place_writes_into_what_the_caller_gave(given):
    InPlace(1, 1).shift(given)

    assert float(given.sum()) > 5


@pytest.mark.parametrize("code", ["f", "d"])
def test_copies_leave_the_array_of_the_caller_alone(code):
    given = numbers(code)

    InPlace(1, 1).shift_copy(given)

    assert np.array_equal(given, numbers(code))


def test_copies_leave_the_tensors_of_the_caller_alone():
    class Lists(nn.Linear):
        @auto_device(copy=True)
        def shift_all(self, xs):
            return [x.add_(1) for x in xs]

    given = [torch.zeros(2), nn.Parameter(torch.zeros(2), requires_grad=False)]

    shifted = Lists(1, 1).shift_all(given)

    assert [x.tolist() for x in given] == [[0, 0], [0, 0]]
    assert [type(x) for x in shifted] == [torch.Tensor, nn.Parameter]


def test_copies_are_made_where_the_device_has_no_index_as_well():
    class Elsewhere(InPlace):
        inference_device = torch.device("cpu", 0)

    given = torch.zeros(2)

    Elsewhere(1, 1).shift_copy(given)

    assert given.tolist() == [0, 0]


def test_a_tensor_that_stands_twice_is_copied_once():
    given = torch.zeros(2)

    taken = Net().take_copies([given, given])

    assert taken[0] is taken[1] is not given


# --- helpers on their own ----------------------------------------------------------


@pytest.mark.parametrize("code", [*CODES, "g", "G"])
def test_there_and_back_is_the_identity(code):
    array = numbers(code)

    back = to_array(from_array(array))

    assert np.array_equal(back, array)
