"""How inputs are found among the arguments, read, moved, and named in errors."""

import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, NamedTuple, Optional

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.string_annotations import Declared, Pictures, Undeclared
from unfussy import TensorLike, auto_device, batched, explain, inference, returns
from unfussy._devices import place_at
from unfussy._inputs import InputReader
from unfussy._method import Method
from unfussy._moving import Move
from unfussy.errors import (
    InputTypeError,
    InputValueError,
    NoDataError,
    PlanError,
    TreeError,
)

Image = pytest.importorskip("PIL.Image")

ROWS = [[1.0, 2.0], [3.0, 4.0]]


def methods_of(module):
    names = [name for name in vars(type(module)) if not name.startswith("_")]
    return [pytest.param(getattr(module, name), id=name) for name in names]


# --- lists of numbers --------------------------------------------------------------


@pytest.mark.parametrize("method", methods_of(Declared(1, 1)))
def test_a_list_of_numbers_is_a_tensor_where_the_parameter_says_so(method):
    taken = method(x=ROWS) if method.__name__ == "named" else method(ROWS)

    assert taken.dtype == torch.float32
    assert taken.tolist() == ROWS


@pytest.mark.parametrize("method", methods_of(Undeclared(1, 1)))
def test_a_list_of_numbers_is_left_alone_where_the_parameter_does_not(method):
    assert method(ROWS) is ROWS


def test_annotations_that_are_no_strings_are_read_too():
    class Net(nn.Linear):
        @auto_device
        def take(self, x: TensorLike, y: Optional[TensorLike] = None):  # noqa: UP045
            return x, y

        @auto_device
        def take_annotated(
            self, x: Annotated[TensorLike, "poses"], y: Annotated[int, 1]
        ):
            return x, y

    net = Net(1, 1)
    taken = net.take([1], [2.0]), net.take_annotated([1], [2])

    assert [type(x) for x in taken[0]] == [torch.Tensor, torch.Tensor]
    assert type(taken[1][0]) is torch.Tensor
    assert taken[1][1] == [2]


def test_an_alias_made_by_a_type_statement_is_looked_through():
    class Alias:
        __value__ = TensorLike

    def embed(x):
        return x

    embed.__annotations__["x"] = Alias()

    assert Method(embed).declared == Method(Declared.alias).declared


def test_lists_of_numbers_are_found_in_lists_and_dictionaries():
    take = Declared(1, 1).alias

    taken = take({"a": ROWS, "b": (["names"], [1, 2]), "c": None})

    assert taken["a"].tolist() == ROWS
    assert taken["b"][0] == ["names"]
    assert taken["b"][1].tolist() == [1, 2]


def test_a_list_of_arrays_or_tensors_stays_a_list_where_the_parameter_is_declared():
    array, tensor = np.zeros((1, 2)), torch.zeros(2)
    take = Declared(1, 1).alias

    taken, same = take([array, tensor, ROWS]), [tensor, tensor]

    assert [tuple(x.shape) for x in taken] == [(1, 2), (2,), (2, 2)]
    assert taken[1] is tensor
    assert take(same) is same


def test_containers_without_numbers_stay_the_same_objects():
    given = {"a": [torch.zeros(1)], "b": ("name", None)}

    assert Declared(1, 1).alias(given) is given


@pytest.mark.parametrize("value", [3, 2.5, np.float32(1), "ab", None, range(3)])
def test_a_single_number_is_left_alone(value):
    assert Declared(1, 1).alias(value) is value


def test_numbers_follow_the_module_like_any_array():
    class Bare(nn.Module):
        @auto_device
        def take(self, x: TensorLike):
            return x

    taken = [Bare().take(ROWS), Declared(1, 1).double().alias(ROWS)]

    assert [x.dtype for x in taken] == [torch.float32, torch.float64]


def test_rows_of_different_lengths_are_refused_by_name():
    with pytest.raises(
        InputValueError,
        match=r"^Declared\.alias\(\): argument x: the rows of a list of numbers differ",
    ):
        Declared(1, 1).alias([[1], [2, 3]])


def test_numbers_mixed_with_names_are_refused_by_name():
    with pytest.raises(
        InputTypeError, match=r"Declared\.rest\(\): argument x\[1\]: a l"
    ):
        Declared(1, 1).rest([1], [2, "a"])


def test_a_skipped_parameter_is_not_read_either():
    class Net(nn.Linear):
        @auto_device(skip="x")
        def take(self, x: TensorLike, y: TensorLike = None):
            return x

    assert Net(1, 1).take(ROWS) is ROWS
    assert Net(1, 1).take(x=ROWS, y=ROWS) is ROWS


def test_a_decorated_builtin_has_parameters_without_names():
    method = Method(max)

    assert method.label(1) == "args[1]"
    assert method.name == "max()"


def test_a_callable_without_a_name_is_called_by_its_type():
    class Callable:
        def __call__(self, x):
            return x

    assert Method(Callable()).name == "Callable()"


# --- pictures ----------------------------------------------------------------------

EIGHT_BITS = ["1", "CMYK", "HSV", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"]


@pytest.mark.parametrize("mode", EIGHT_BITS)
@pytest.mark.parametrize("method", methods_of(Pictures(1, 1)))
def test_a_picture_becomes_a_red_green_blue_tensor(mode, method):
    picture = Image.new("RGB", (3, 2), (255, 0, 0)).convert(mode)

    taken = method(picture)

    assert taken.dtype == torch.uint8
    assert taken.shape == (3, 2, 3)
    assert taken.is_contiguous()
    assert np.array_equal(taken.permute(1, 2, 0), np.array(picture.convert("RGB")))


def test_red_comes_first_and_the_layout_is_channels_height_width():
    picture = Image.new("RGB", (2, 1), (10, 20, 30))
    picture.putpixel((1, 0), (40, 50, 60))

    taken = Pictures(1, 1).show(picture)

    assert taken.tolist() == [[[10, 40]], [[20, 50]], [[30, 60]]]


def test_transparency_is_dropped_without_a_warning():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    palette.info["transparency"] = b"\x00\xff"
    see_through = Image.new("RGBA", (1, 1), (1, 2, 3, 0))

    taken = Pictures(1, 1).show([palette, see_through])

    assert taken[0].tolist() == [[[255, 0]], [[0, 255]], [[0, 0]]]
    assert taken[1].flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "I;16B"])
def test_a_picture_of_more_than_eight_bits_is_refused(mode):
    with pytest.raises(
        InputValueError,
        match=rf"^Pictures\.show\(\): argument x: a picture of mode '{mode}' would "
        r"lose levels as 8 bits; give numpy\.asarray\(picture\)",
    ):
        Pictures(1, 1).show(Image.new(mode, (2, 2)))


def test_a_picture_that_pillow_cannot_read_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])

    with (
        Image.open(path) as picture,
        pytest.raises(InputValueError, match="argument x: Pillow cannot read the pict"),
    ):
        Pictures(1, 1).show(picture)


def test_pictures_in_lists_are_read_and_numbers_too():
    taken = Pictures(1, 1).show([Image.new("L", (2, 1)), ROWS, torch.zeros(1)])

    assert [tuple(x.shape) for x in taken] == [(3, 1, 2), (2, 2), (1,)]


def test_a_picture_is_left_alone_where_none_is_expected():
    picture = Image.new("RGB", (2, 2))

    assert Declared(1, 1).alias(picture) is picture
    assert Undeclared(1, 1).nothing(picture) is picture


def test_nothing_is_a_picture_while_pillow_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "PIL.Image")
    picture = Image.new("RGB", (2, 2))

    assert Pictures(1, 1).show(picture) is picture


# --- which argument is what --------------------------------------------------------


class Detector:
    """Holds a module, and is none."""

    def __init__(self, module):
        self.module = module

    @property
    def inference_module(self):
        return self.module

    @auto_device
    def embed(self, x):
        return x


class Held(Detector):
    inference_module = None

    def __init__(self, module):
        super().__init__(module)
        self.inference_module = module


class Called(Detector):
    def inference_module(self):
        return self.module


class Located:
    inference_device = "meta"

    @auto_device
    def embed(self, x):
        return x


class LocatedByMethod(Located):
    def inference_device(self):
        return torch.device("meta")


META = nn.Linear(1, 1, device="meta")


@pytest.mark.parametrize(
    "subject",
    [Detector(META), Held(META), Called(META), Located(), LocatedByMethod()],
    ids=lambda subject: type(subject).__name__,
)
def test_an_object_says_which_module_it_holds_or_where_it_runs(subject):
    assert subject.embed(np.zeros(2)).is_meta
    assert subject.embed(x=np.zeros(2)).is_meta


def test_a_module_that_is_not_there_yet_leaves_inputs_where_they_are():
    assert Detector(None).embed(torch.zeros(2)).is_cpu


@pytest.mark.parametrize(
    ("held", "got"),
    [("net", "str"), (lambda: "net", "str"), (nn.Linear, "type"), (3, "int")],
)
def test_an_inference_module_that_is_no_module_is_refused(held, got):
    with pytest.raises(
        PlanError,
        match=rf"^Detector\.inference_module must be a torch\.nn\.Module, got a {got}$",
    ):
        Detector(held).embed(torch.zeros(1))


def test_an_object_that_says_nothing_is_refused():
    class Silent:
        @auto_device
        def embed(self, x):
            return x

    with pytest.raises(
        PlanError,
        match=r"Silent\.embed\(\): cannot tell where Silent runs; pass a module first, "
        r"or give Silent an attribute or property `inference_module` that returns the "
        r"module it holds, or `inference_device`",
    ):
        Silent().embed(torch.zeros(1))


def test_an_object_that_says_nothing_may_have_plans_without_devices():
    class Silent:
        @inference
        def embed(self, x):
            return x * 1

    assert not Silent().embed(torch.zeros(1, requires_grad=True)).requires_grad


@auto_device
def embed(model, x):
    return x


def test_a_free_function_finds_its_module_by_position_or_by_name():
    x = np.zeros(2)

    taken = (
        embed(META, x),
        embed(META, x=x),
        embed(model=META, x=x),
        embed(x=x, model=META),
    )

    assert all(each.is_meta for each in taken)


@dataclass
class Record:
    """A container to the tree, and a detector to its own methods."""

    inference_module: nn.Module
    mean: np.ndarray

    @auto_device
    @returns("mirror")
    @batched(size=2)
    def shift(self, x):
        return x + torch.as_tensor(self.mean), self


def test_a_record_that_holds_a_module_is_not_taken_for_an_input():
    record = Record(nn.Linear(1, 1), np.zeros(5, np.float32))

    by_position, itself = record.shift(np.zeros((3, 5)))
    by_name, _ = Record.shift(self=record, x=torch.zeros(3, 5))

    assert itself is record
    assert type(by_position) is np.ndarray
    assert type(by_name) is torch.Tensor


def test_a_record_called_self_that_says_nothing_is_refused():
    @dataclass
    class Scaler:
        mean: np.ndarray

        @auto_device
        def scale(self, x):
            return x - self.mean

        @auto_device
        def scale_too(self, /, x):
            return x

    for method in (Scaler(np.zeros(2)).scale, Scaler(np.zeros(2)).scale_too):
        with pytest.raises(PlanError, match="cannot tell where Scaler runs"):
            method(np.zeros(2))


def test_class_and_static_methods_convert_and_leave_devices_alone():
    class Net(nn.Linear):
        @classmethod
        @auto_device
        def made(cls, x):
            return cls, x

        @staticmethod
        @auto_device
        def stacked(x, y):
            return x, y

    meta, array = torch.zeros(2, device="meta"), np.zeros(2)
    cls, made = Net(1, 1).made(array)
    x, y = Net.stacked(array, y=meta)

    assert cls is Net
    assert Net.made(x=array)[1].dtype == made.dtype == x.dtype == torch.float32
    assert y is meta
    assert Net.stacked(x=array, y=meta)[0].dtype == torch.float32


class Pair(NamedTuple):
    a: np.ndarray
    b: int


@pytest.mark.parametrize(
    "first",
    [
        np.zeros(2),
        [np.zeros(2)],
        {"a": np.zeros(2)},
        Pair(np.zeros(2), 1),
        torch.zeros(2),
        None,
        "name",
        {1, 2},
        range(3),
        torch.float32,
        torch.Size([1]),
        Image.new("L", (1, 1)),
    ],
    ids=lambda first: type(first).__name__,
)
def test_the_first_argument_of_a_static_method_is_an_input(first):
    @auto_device
    def stacked(x, y=None):
        return x

    taken = stacked(first), stacked(first, 1), stacked(x=first)

    assert len({type(x) for x in taken}) == 1


def test_a_function_without_arguments_can_be_decorated():
    @auto_device
    def constant():
        return 1

    assert constant() == 1


def test_a_first_parameter_that_has_no_name_for_callers_is_none():
    @auto_device
    def embed_all(*xs, **options):
        return xs, options

    xs, options = embed_all(np.zeros(1), np.ones(2), scale=np.ones(1))

    assert all(isinstance(x, torch.Tensor) for x in (*xs, *options.values()))
    assert embed_all(xs=1) == ((), {"xs": 1})


# --- skipping ----------------------------------------------------------------------


class Skipping(nn.Linear):
    @auto_device(skip=("names", "rest", "more"))
    def take(self, x, names=None, *rest, other=None, **more):
        return x, names, rest, other, more

    @auto_device(skip="mask")
    def take_named(self, x, **options):
        return x, options


def test_skipped_arguments_are_left_alone_however_they_are_given():
    words, numbers = np.array(["a"]), np.zeros(2)
    net = Skipping(1, 1)

    x, names, rest, other, more = net.take(
        numbers, words, words, other=numbers, z=words
    )
    by_name = net.take(x=numbers, names=words)

    assert names is words
    assert rest[0] is words
    assert more["z"] is words
    assert by_name[1] is words
    assert {type(x), type(other), type(by_name[0])} == {torch.Tensor}


def test_a_name_among_many_can_be_skipped():
    numbers = np.zeros(2)

    x, options = Skipping(1, 1).take_named(numbers, mask=numbers, scale=numbers)

    assert options["mask"] is numbers
    assert type(x) is type(options["scale"]) is torch.Tensor


def test_skipped_arguments_do_not_hide_errors_in_others():
    with pytest.raises(
        InputTypeError, match=r"Skipping\.take\(\): argument other\['a'\]"
    ):
        Skipping(1, 1).take(np.zeros(1), other={"a": np.array([None])})


# --- errors ------------------------------------------------------------------------


class Net(nn.Linear):
    @auto_device
    def take(self, x, *rest, flag=None, **others):
        return x


BAD = np.array([None])


@pytest.mark.parametrize(
    ("path", "args", "kwargs"),
    [
        ("x", (BAD,), {}),
        ("x", (), {"x": BAD}),
        ("rest[1]", (1, 2, BAD), {}),
        ("flag['a'][0]", (1,), {"flag": {"a": [BAD]}}),
        ("z[1].b", (1,), {"z": [2, Pair(1, BAD)]}),
        ("x[2][0]", ([1, 2, (BAD,)],), {}),
    ],
    ids=range(6),
)
def test_errors_name_the_method_the_argument_and_the_path(path, args, kwargs):
    net = Net(1, 1)

    with pytest.raises(InputTypeError) as caught:
        net.take(*args, **kwargs)

    assert str(caught.value).startswith(
        f"Net.take(): argument {path}: array of dtype obj"
    )
    assert net.take(np.zeros(1)).shape == (1,)


@pytest.mark.parametrize("method", [Net(1, 1).take, Declared(1, 1).alias])
def test_a_list_that_holds_itself_is_refused_by_name(method):
    endless = [np.zeros(1)]
    endless.append(endless)

    with pytest.raises(TreeError, match=r"argument x: the list at tree\[1\] holds"):
        method(endless)
    with pytest.raises(TreeError, match="argument x: "):
        method(x={"a": endless})


def test_meta_tensors_have_nothing_to_move():
    given = {"a": torch.zeros(2, 3, device="meta")}

    with pytest.raises(
        NoDataError,
        match=r"argument x\['a'\]: a meta tensor \(2, 3\) has no data to move to cpu",
    ):
        Net(1, 1).take(given)


def test_errors_of_the_method_itself_are_not_touched():
    class Broken(nn.Linear):
        @auto_device
        def take(self, x):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        Broken(1, 1).take(np.zeros(1))


# --- movers ------------------------------------------------------------------------


def test_there_is_one_mover_for_each_place_meta_included():
    reader = InputReader(Move(), Method(embed))
    meta = torch.device("meta")

    movers = {reader.mover(place_at(meta, torch.float32)) for _ in range(3)}

    assert len(movers) == 1


def test_parameters_stay_parameters_when_they_are_cast_or_moved():
    class Elsewhere(Net):
        inference_device = "meta"

    @inference(mode="inference")
    @auto_device
    def in_inference_mode(module, x):
        return x

    double = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    with torch.no_grad():
        cast, moved = Net(1, 1).take(double), Elsewhere(1, 1).take(frozen)
    linked = Net(1, 1).take(double)

    assert [type(x) for x in (cast, moved)] == [nn.Parameter, nn.Parameter]
    assert [x.requires_grad for x in (cast, moved)] == [True, False]
    assert linked.grad_fn is not None
    assert Net(1, 1).take(frozen) is frozen
    assert type(in_inference_mode(nn.Linear(1, 1), double)) is torch.Tensor


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_tensor_in_place_is_handed_on_as_the_same_object():
    tensors = [
        torch.zeros(2, requires_grad=True),
        torch.zeros(3, 3).to_sparse(),
        torch.zeros(3).expand(2, 3),
        torch.nested.nested_tensor(
            [torch.zeros(1), torch.zeros(2)], layout=torch.jagged
        ),
        torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
    ]

    for tensor in tensors:
        assert Net(1, 1).take(tensor) is tensor
        assert Net(1, 1).take([tensor])[0] is tensor


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_and_nested_tensors_move():
    class Elsewhere(Net):
        inference_device = "meta"

    tensors = [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.nested.nested_tensor(
            [torch.zeros(1), torch.zeros(2)], layout=torch.jagged
        ),
    ]

    moved = Elsewhere(1, 1).take(tensors)

    assert [x.is_meta for x in moved] == [True, True, True]
    assert [x.layout for x in moved] == [x.layout for x in tensors]


def test_sparse_and_nested_and_zero_dimensional_tensors_are_not_cut():
    class Cut(nn.Linear):
        @batched(size=1)
        @auto_device
        def take(self, x, y, z, w):
            return x + y.to_dense().sum() + z.values().sum() + w

    sparse = torch.eye(3).to_sparse()
    nested = torch.nested.nested_tensor(
        [torch.ones(1), torch.ones(2)], layout=torch.jagged
    )

    taken = Cut(1, 1).take(torch.zeros(2, 1), sparse, nested, torch.tensor(1.0))

    assert taken.tolist() == [[7.0], [7.0]]


def test_what_cannot_fit_is_described():
    class Big(nn.Linear):
        @batched
        @auto_device
        def run(self, x, names, y=None, scale=None):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    class Sized:
        def __init__(self):
            self.shape = (4,)

    x = {"a": np.zeros((1, 2))}
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"one single item \(names: str, x: dict, y: \(7, 2\) float32\)",
    ):
        Big(1, 1).run(x, ["ab"], y=torch.zeros(1, 7, 2), scale=1.0)
    with pytest.raises(
        torch.OutOfMemoryError, match=r"\(names: \(4,\), x: \(3,\) uint8\)"
    ):
        Big(1, 1).run(np.zeros((1, 3), "u1"), [Sized()])


def test_explain_says_what_becomes_of_numbers():
    explained = str(explain(Declared(1, 1).alias, ROWS))

    assert "x: array (2, 2) float64 -> tensor (2, 2) float32 on cpu" in explained


def test_explain_knows_what_is_skipped():
    words, numbers = {"a": np.zeros(2), "b.c": [np.zeros(2)]}, np.zeros(2)

    explained = str(explain(Skipping(1, 1).take, numbers, words, Pair(numbers, 1)))

    assert "x: array (2,) float64 -> tensor (2,) float32 on cpu" in explained
    assert (
        "names['a']: array (2,) float64 -> array (2,) float64 (as it is)" in explained
    )
    assert "names['b.c'][0]: array (2,) float64 -> array" in explained
    assert "rest[0].a: array (2,) float64 -> array (2,) float64 (as it is)" in explained


def test_a_number_with_a_first_argument_of_its_own_is_refused():
    with pytest.raises(
        PlanError, match="cannot tell where Decimal runs; pass a module"
    ):
        embed(Decimal(1), 2)
