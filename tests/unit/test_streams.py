"""Streams: every kind of source, method, item, result and end."""

import functools
import gc
import threading
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unfussy import (
    EasyInferenceMixin,
    Failed,
    ImageLike,
    ItemsFailedWarning,
    Pad,
    TensorLike,
    auto_device,
    batched,
    configure,
    easy,
    inference,
    options,
    returns,
    stream,
    unfuss,
)
from unfussy._batching.transfer import Link
from unfussy.errors import (
    AmbiguousBatchError,
    InputTypeError,
    InputValueError,
    PlanError,
)

ROWS = np.arange(70.0, dtype=np.float32).reshape(35, 2)


class Net(nn.Module):
    """Its methods note how many items each call has."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.sizes = []
        self.eval()

    @batched(size=4)
    @inference
    @auto_device
    def double(self, x, shift=0.0):
        self.sizes.append(len(x))
        return self.scale * x + shift

    @easy
    def easy(self, x, **options):
        self.sizes.append(len(x))
        return self.scale * x

    @inference
    @auto_device
    def forward(self, x):
        return self.scale * x

    def plain(self, x):
        return self.scale.detach() * torch.as_tensor(x)

    @batched(size=4, over=("x", "y"))
    @inference
    @auto_device
    def add(self, x, y, *, factor=1.0):
        return factor * (x + y)

    @batched(size=4, over="x")
    @auto_device
    @inference
    def project(self, matrix, x):
        return x @ matrix

    @batched(size=3, on_error="raise")
    @inference
    @auto_device
    def roots(self, x):
        if (x < 0).any():
            raise ValueError("negative")
        return x.sqrt()

    @batched(size=2, pad=Pad(mask="mask"))
    @inference
    @auto_device
    def mean(self, x, mask=None):
        self.sizes.append(tuple(x.shape))
        if mask is None:
            return x.mean(1)
        return (x * mask).sum(1) / mask.sum(1)

    @batched(size=4, ragged="list")
    def lengths(self, texts):
        return torch.tensor([len(text) for text in texts])


@easy
def embed(net, x, **options):
    return net.scale * x


def feeders():
    return [t for t in threading.enumerate() if t.name == "unfussy-feeder"]


def rows(results):
    return torch.stack([torch.as_tensor(result) for result in results])


class Loader:
    """Like a data loader: it can be asked for its length, and has none."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)

    def __len__(self):
        raise TypeError("has no length")


class Dataset:
    """Like those of torch: by index, and no end that iteration would find."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, i):
        return torch.tensor(ROWS[i % len(ROWS)])


def mapped(folder):
    np.save(folder / "x.npy", ROWS)
    return np.load(folder / "x.npy", mmap_mode="r")


SOURCES = {
    "list": lambda _: [torch.tensor(row) for row in ROWS],
    "tuple": lambda _: tuple(ROWS),
    "array": lambda _: ROWS,
    "tensor": lambda _: torch.tensor(ROWS),
    "mapped file": mapped,
    "generator": lambda _: (row for row in ROWS),
    "iterator": lambda _: map(torch.tensor, ROWS),
    "loader": lambda _: Loader(list(ROWS)),
    "dataset": lambda _: Dataset(),
    "numbers": lambda _: (row.tolist() for row in ROWS),
}
METHODS = {
    "batched": lambda net: net.double,
    "easy": lambda net: net.easy,
    "configured": lambda net: configure(net.double, batch_size=8),
    "plain": lambda net: net.plain,
    "module": lambda net: net,
    "proxy": unfuss,
    "method of a proxy": lambda net: unfuss(net).plain,
    "partial": lambda net: functools.partial(embed, net),
    "lambda": lambda net: lambda x: net.plain(x),
}


# --- sources and methods -----------------------------------------------------------


@pytest.mark.parametrize("threaded", [None, True, False])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_one_result_an_item(source, threaded, tmp_path):
    found = list(stream(Net().double, SOURCES[source](tmp_path), threaded=threaded))

    torch.testing.assert_close(rows(found), torch.tensor(2 * ROWS))
    assert not feeders()


@pytest.mark.parametrize("source", ["list", "array", "generator"])
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_method_is_streamed(method, source):
    net = Net()

    found = list(stream(METHODS[method](net), SOURCES[source](None)))

    torch.testing.assert_close(rows(found), torch.tensor(2 * ROWS))


def test_nothing_comes_of_nothing():
    assert list(stream(Net().double, [])) == []
    assert list(stream(Net().double, iter(()))) == []
    assert list(stream(Net().double, np.zeros((0, 2)))) == []


@pytest.mark.parametrize(
    "source",
    ["text", {"x": 1}, 3, np.float32(1), torch.tensor(1.0), np.array(1.0)],
    ids=["text", "mapping", "number", "scalar", "tensor", "array"],
)
def test_what_is_one_item_is_no_source(source):
    with pytest.raises(InputTypeError, match=r"a source"):
        stream(Net().double, source)


def test_a_method_of_a_partial_keeps_its_plan():
    net = Net()

    list(stream(functools.partial(net.double, shift=1.0), iter(ROWS)))

    assert net.sizes == [4] * 8 + [3]


def test_the_chunks_are_of_the_size_that_is_asked_for():
    net = Net()

    list(stream(configure(net.double, batch_size=10), iter(ROWS)))
    list(stream(configure(net.plain, batch_size=10), iter(ROWS)))

    assert net.sizes == [10, 10, 10, 5]


def test_options_around_the_call_hold_for_the_whole_stream():
    net = Net()

    with options(batch_size=20, out="numpy"):
        results = stream(net.double, iter(ROWS))
    found = list(results)

    assert net.sizes == [20, 15]
    assert isinstance(found[0], np.ndarray)


def test_an_easy_method_takes_lists_of_many_calls():
    net = Net()

    for _ in range(2):  # once what fits is learnt, too
        list(stream(net.easy, [*ROWS, np.zeros(3, np.float32)]))

    assert sum(net.sizes) == 2 * 36


def test_a_module_with_hooks_is_called_with_them():
    net, seen = Net(), []
    net.register_forward_hook(lambda *_: seen.append(1))

    list(stream(net, ROWS))

    assert seen


# --- items -------------------------------------------------------------------------


def test_shared_arguments_reach_every_call():
    found = list(stream(Net().double, iter(ROWS), shift=1.0))

    torch.testing.assert_close(rows(found), torch.tensor(2 * ROWS + 1))


@pytest.mark.parametrize(
    "pack",
    [tuple, list, lambda pair: dict(zip("xyz", (*pair, "no argument")))],
    ids=["tuple", "list", "mapping"],
)
def test_items_of_several_arguments(pack):
    source = (pack((row, -3 * row)) for row in ROWS)

    found = list(stream(Net().add, source, factor=0.5))

    torch.testing.assert_close(rows(found), torch.tensor(-ROWS))


def test_rows_of_an_array_may_be_several_arguments():
    found = list(stream(Net().add, np.stack([ROWS, ROWS], axis=1)))

    torch.testing.assert_close(rows(found), torch.tensor(2 * ROWS))


@pytest.mark.parametrize(
    "item",
    [ROWS[:1], (1, 2, 3), {"x": ROWS[0]}, "xy", None],
    ids=["array", "tuple", "mapping", "text", "none"],
)
def test_items_that_are_not_those_arguments_are_named(item):
    source = [(ROWS[0], ROWS[0])] * 6 + [item]

    with pytest.raises(InputValueError, match=r"add\(\).*\(x, y\); item 6 of the sou"):
        list(stream(Net().add, source))


def test_the_batch_may_be_any_argument():
    found = list(stream(Net().project, iter(ROWS), matrix=3 * np.eye(2)))

    torch.testing.assert_close(rows(found), torch.tensor(3 * ROWS))


def test_texts_stay_lists():
    words = [f"{'a' * (i % 7)}" for i in range(30)]

    found = list(stream(Net().lengths, iter(words)))

    assert [int(n) for n in found] == [i % 7 for i in range(30)]
    plain = stream(lambda texts: [text.upper() for text in texts], iter(words))
    assert list(plain) == [word.upper() for word in words]


def test_records_of_many_things_are_put_together():
    def describe(batch):
        assert batch["x"].shape[1:] == (2,)
        return [
            f"{name} {x.sum():.0f} {n}"
            for name, x, n in zip(batch["name"], batch["x"], batch["n"])
        ]

    source = ({"name": f"r{i}", "x": row, "n": i} for i, row in enumerate(ROWS[:5]))

    assert list(stream(describe, source)) == [f"r{i} {4 * i + 1} {i}" for i in range(5)]


def test_pictures_become_tensors_where_they_are_declared():
    class Eye(nn.Module):
        @batched(size=2)
        @auto_device
        def brightness(self, pictures: ImageLike):
            return pictures.float().mean((1, 2, 3))

        @batched(size=2)
        def widths(self, pictures: list):
            return [picture.width for picture in pictures]

    pictures = [Image.new("L", (2 + i % 2, 3), i) for i in range(5)]

    assert [*map(float, stream(Eye().brightness, iter(pictures)))] == [0, 1, 2, 3, 4]
    assert list(stream(Eye().widths, iter(pictures))) == [2, 3, 2, 3, 2]


def test_undecorated_methods_that_take_lists_get_lists():
    def first(items: list[TensorLike]):
        assert isinstance(items, list)
        return [float(item[0]) for item in items]

    assert list(stream(first, iter(ROWS[:3]))) == [0, 2, 4]


def test_mixed_shapes_share_no_call_and_keep_their_order():
    source = [np.full(1 + i % 3, i, dtype=np.float32) for i in range(20)]

    found = list(stream(Net().plain, iter(source)))

    for result, item in zip(found, source, strict=True):
        torch.testing.assert_close(torch.as_tensor(result), torch.tensor(2 * item))


def test_lengths_are_planned_inside_a_window():
    net = Net()
    source = [torch.full((1 + 5 * (i % 2),), float(i)) for i in range(20)]

    found = list(stream(net.mean, iter(source)))

    assert [float(x) for x in found] == list(range(20))
    assert {shape[1] for shape in net.sizes} == {1, 6}  # short with short, and so on
    assert max(shape[0] for shape in net.sizes) == 2


# --- results -----------------------------------------------------------------------


@dataclass
class Pose:
    joints: torch.Tensor
    unit: str


@pytest.mark.parametrize(
    ("form", "pick"),
    [
        (lambda x: {"y": x, "unit": "m"}, lambda item: item["y"]),
        (lambda x: (x, [x, x]), lambda item: item[1][1]),
        (list, lambda item: item),
        (lambda x: Pose(x, "m"), lambda item: item.joints),
        (lambda x: x.numpy(), torch.as_tensor),
        (lambda x: [{"y": row} for row in x], lambda item: item["y"]),
    ],
    ids=["mapping", "tuple", "list", "record", "array", "list of mappings"],
)
def test_results_of_every_form_come_apart(form, pick):
    found = list(stream(lambda x: form(torch.as_tensor(x)), iter(ROWS)))

    torch.testing.assert_close(rows(map(pick, found)), torch.tensor(ROWS))


def test_one_number_an_item_is_a_result():
    found = list(stream(lambda x: x.sum(1), ROWS))

    assert [float(x) for x in found] == ROWS.sum(1).tolist()


def test_three_feature_maps_of_three_items_are_no_three_results():
    def maps(x):
        return [x, 2 * x, 3 * x]

    found = list(stream(configure(maps, batch_size=8), iter(ROWS)))  # 35 % 8 == 3

    assert all(len(item) == 3 for item in found)
    assert found[34][2].tolist() == (3 * ROWS[34]).tolist()


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.mean(),
        lambda x: None,
        lambda x: iter(x),
        lambda x: x[:-1],
        lambda x: [1] * (len(x) + 1),
        lambda x: {"loss": 0.0},
    ],
    ids=["number", "none", "iterator", "too few", "too many", "in a mapping"],
)
def test_what_has_no_entry_for_each_item_is_refused(method):
    with pytest.raises(AmbiguousBatchError, match="for 35 items, return one row an"):
        list(stream(method, ROWS))


@pytest.mark.parametrize("number", [float, torch.tensor])
def test_what_is_one_value_for_a_window_is_refused(number):
    def method(x):
        return {"y": x, "loss": number(x.mean())}

    results = stream(configure(method, batch_size=10), ROWS)

    with pytest.raises(AmbiguousBatchError, match=r"result\['loss'\] is .* another"):
        list(results)


def test_results_may_not_change_their_form():
    def method(x):
        return x if x[0, 0] < 20 else x.sum()

    results = stream(configure(method, batch_size=10), ROWS)

    with pytest.raises(AmbiguousBatchError, match="one entry for each of others"):
        list(results)


# --- bounds ------------------------------------------------------------------------


def test_an_endless_source_is_read_a_few_windows_ahead():
    net, pulled = Net(), count()
    source = (torch.tensor([float(next(pulled))]) for _ in count())

    with closing(stream(net.double, source, depth=2)) as results:
        for i, _ in enumerate(islice(results, 1000)):
            ahead = int(repr(pulled)[6:-1]) - i
            assert ahead <= 4 * (2 + 2)

    assert not feeders()


def test_without_a_thread_nothing_is_read_ahead():
    pulled = []
    source = (pulled.append(i) or torch.tensor([1.0]) for i in count())

    with closing(stream(Net().double, source, threaded=False)) as results:
        next(results)

    assert len(pulled) == 4


def test_large_items_make_small_windows():
    sizes = []

    def method(x):
        sizes.append(len(x))
        return x[:, 0]

    list(stream(method, (np.zeros(2**21, np.float32) for _ in range(5))))

    assert max(sizes) == 1


def test_automatic_windows_grow_with_what_is_learnt():
    class Many(nn.Module):
        sizes = ()

        @batched
        @auto_device
        @inference
        def many(self, x: TensorLike):
            self.sizes = (*self.sizes, len(x))
            return x

    many = Many()
    few = configure(many.many, batch_size="auto")

    list(stream(few, (torch.ones(2) for _ in range(3000))))

    assert many.sizes[0] == 8
    assert max(many.sizes) > 64


# --- errors ------------------------------------------------------------------------


def broken(n, error):
    yield from map(torch.tensor, ROWS[:n])
    raise error


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("n", [0, 3, 4, 10])
def test_an_error_of_the_source_comes_last_and_unchanged(n, threaded):
    error, found = OSError("cable"), []

    with pytest.raises(OSError, match="cable") as caught:
        found.extend(stream(Net().double, broken(n, error), threaded=threaded))

    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert len(found) == n
    assert not feeders()


def test_an_interrupted_source_is_heard_at_once():
    net = Net()

    with pytest.raises(KeyboardInterrupt):
        list(stream(net.double, broken(3, KeyboardInterrupt()), threaded=False))

    assert net.sizes == []


def test_an_error_of_the_method_says_where():
    found = []

    with pytest.raises(ValueError, match="negative") as caught:
        found.extend(stream(Net().roots, iter([1.0, 4.0, 9.0, 16.0, -1.0])))

    assert found == [1, 2, 3]
    assert "Net.roots(): in items 3 to 4 of a source" in caught.value.__notes__
    assert not feeders()


NUMBERS = [4.0, -1.0, 9.0, 16.0, -2.0, 25.0, -3.0]


@pytest.mark.parametrize("source", [list, iter, torch.tensor])
@pytest.mark.parametrize("decorated", [True, False])
def test_items_that_fail_are_returned_with_their_place(source, decorated):
    net = Net()
    method = net.roots if decorated else lambda x: net.roots(x)

    found = list(stream(method, source(NUMBERS), on_error="return"))

    failed = {x.index: str(x.error) for x in found if isinstance(x, Failed)}
    assert failed == dict.fromkeys([1, 4, 6], "negative")
    good = [float(x) for x in found if not isinstance(x, Failed)]
    assert good == [2, 3, 4, 5]


def test_items_that_fail_among_mixed_shapes_keep_their_places():
    source = [torch.full((1 + i % 2,), float(i % 4 - 1)) for i in range(12)]

    found = list(stream(Net().roots, source, on_error="return"))

    for i, x in enumerate(found):
        assert x.index == i if i % 4 == 0 else x.shape == (1 + i % 2,)


def test_items_that_fail_are_skipped_with_a_warning():
    source = iter(NUMBERS * 4)

    with pytest.warns(ItemsFailedWarning, match=r"12 items were skipped(.|\n)*and 7 m"):
        found = list(stream(Net().roots, source, on_error="skip"))

    assert [float(x) for x in found] == [2, 3, 4, 5] * 4


def test_what_the_plan_says_of_failing_items_holds():
    method = configure(Net().roots, on_error="return")

    assert [isinstance(x, Failed) for x in stream(method, [4.0, -1.0])] == [0, 1]
    with pytest.raises(PlanError, match="on_error is one of"):
        stream(method, [4.0], on_error="ignore")


# --- ends --------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "break", "throw", "delete"])
def test_no_thread_is_left_however_a_stream_is_left(leave):
    closed = []

    def source():
        try:
            yield from (torch.ones(2) for _ in count())
        finally:
            closed.append(threading.current_thread())

    results = stream(Net().double, source())
    for _ in results:
        break
    if leave == "throw":
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    elif leave == "close":
        results.close()
    del results
    gc.collect()

    assert not feeders()
    assert len(closed) == 1


def test_a_stream_that_nobody_began_leaves_its_source_alone():
    source = (torch.ones(2) for _ in range(3))

    stream(Net().double, source).close()

    assert len(list(source)) == 3


def test_progress_counts_items():
    done = []

    list(stream(Net().double, iter(ROWS), progress=done.append))

    assert sum(done) == 35


def test_a_bar_of_each_window_is_not_shown(capsys):
    list(stream(configure(Net().double, progress=True), ROWS))

    assert capsys.readouterr().err == ""


# --- the mixin ---------------------------------------------------------------------


class Easy(EasyInferenceMixin, nn.Module, easy="embed"):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.sizes = []

    def embed(self, x, shift=0.0):
        self.sizes.append((len(x), self.training))
        return self.scale * x + shift

    @inference
    def other(self, x):
        return self.scale * x


def test_easy_methods_are_streamed_by_the_name_of_the_pure_one():
    net, done = Easy(), []

    found = list(
        net.stream(
            "embed",
            iter(ROWS.astype(np.float64)),
            batch_size=10,
            return_numpy=True,
            shift=1.0,
            progress=done.append,
        )
    )

    assert net.sizes == [(10, False)] * 3 + [(5, False)]
    assert sum(done) == 35
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(np.stack(found), 2 * ROWS + 1)
    assert net.training


def test_methods_without_an_easy_one_are_streamed_themselves():
    found = list(Easy().stream("other", torch.tensor(ROWS), batch_size=10))

    torch.testing.assert_close(rows(found), torch.tensor(2 * ROWS))
    with pytest.raises(PlanError, match="Easy has no method 'fly' to stream"):
        Easy().stream("fly", ROWS)


# --- devices -----------------------------------------------------------------------


class FakeDevice:
    """A link to a device on the host that notes what is sent and fetched."""

    def __init__(self):
        self.log = []

    def link(self, device):
        return Link(
            holds=lambda tensor: True,
            pinned=torch.empty_like,
            send=lambda pinned: self.note("send") or pinned.clone(),
            fetch=lambda pinned, tensor: self.note("fetch") or pinned.copy_(tensor),
            mark=lambda: self,
            stream=lambda: closing(self),
        )

    def note(self, what):
        self.log.append((what, threading.current_thread() is threading.main_thread()))

    def synchronize(self):
        self.log.append(("wait", True))

    def close(self):
        pass


@pytest.fixture
def device(monkeypatch):
    device = FakeDevice()
    monkeypatch.setattr("unfussy._windows.link_to", device.link)
    return device


LARGE = 2**18 + 1  # float32 elements: worth pinning


class Far(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.kinds = set()

    @batched(size=2, over="x")
    @inference
    @auto_device(skip="table")
    def double(self, x, table=None):
        self.kinds.add((type(x).__name__, type(table).__name__))
        return self.scale * x

    @returns("numpy")
    @batched(size=2)
    @inference
    @auto_device
    def arrays(self, x):
        self.kinds.add(type(x).__name__)
        return {"y": self.scale * x[:, :1]}


def test_windows_are_sent_by_the_thread(device):
    source = (np.full(LARGE, i, np.float32) for i in range(5))

    found = list(stream(Far().double, source, table=np.ones(3)))

    assert [float(x[0]) for x in found] == [0, 2, 4, 6, 8]
    assert device.log == [("send", False)] * 3


def test_arrays_are_fetched_beside_the_next_window(device):
    net = Far()
    source = (np.full(LARGE, i, np.float32) for i in range(5))

    found = list(stream(net.arrays, source))

    assert [item["y"].tolist() for item in found] == [[0], [2], [4], [6], [8]]
    assert all(type(item["y"]) is np.ndarray for item in found)
    back = [what for what, _ in device.log if what != "send"]
    assert back == ["fetch", "fetch", "wait", "fetch", "wait", "wait"]
    assert net.kinds == {"Tensor"}


@pytest.mark.parametrize("settings", [{"keep": "cpu"}, {"out_device": "cpu"}])
def test_tensors_that_are_to_wait_on_the_cpu_are_fetched(device, settings):
    method = configure(Far().double, **settings)

    found = list(stream(method, (np.full(2, i, np.float32) for i in range(5))))

    assert [float(x[0]) for x in found] == [0, 2, 4, 6, 8]
    assert [what for what, _ in device.log].count("fetch") == 3


def test_what_stays_on_the_device_is_not_fetched(device):
    list(stream(Far().double, ROWS))

    assert device.log == []


@pytest.mark.parametrize("settings", [{"out": "mirror"}, {"out_device": "input"}])
def test_results_in_the_form_of_the_input_are(device, settings):
    method = configure(Far().double, **settings)
    source = (np.full(LARGE, i, np.float32) for i in range(3))

    found = list(stream(method, source))

    assert device.log == []  # nothing was sent: it would have been another form
    kind = np.ndarray if "out" in settings else torch.Tensor
    assert all(isinstance(x, kind) for x in found)


def test_a_failing_item_has_its_place_after_the_download(device):
    method = configure(Net().roots, out="numpy")

    found = list(stream(method, NUMBERS, on_error="return"))

    assert [isinstance(x, Failed) for x in found] == [x < 0 for x in NUMBERS]
    assert found[2] == 3


def test_leaving_early_waits_for_what_is_under_way(device):
    source = (np.full(2, i, np.float32) for i in count())

    with closing(stream(Far().arrays, source)) as results:
        next(results)

    log = [what for what, _ in device.log]
    assert log.count("fetch") == log.count("wait") == 2
    assert not feeders()
