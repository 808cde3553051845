"""Transfers by a device that does nothing before somebody waits for it."""

from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch

from unfussy._batching.transfer import Downloader, Link, Uploader, link_to

CPU = torch.device("cpu")
LARGE = 2**18 + 1  # float32 elements: just more than a MiB


class LazyDevice:
    """
    A device on the host that works as late as it may.

    What is started waits in a queue until an event behind it is waited for. The *log*
    tells what was asked of the device, and in whose stream.
    """

    def __init__(self, broken=None):
        self.broken = broken
        self.tensors, self.queue, self.log = [], [], []
        self.n_marks, self.in_stream = 0, False

    def link(self):
        return Link(
            holds=lambda tensor: any(tensor is each for each in self.tensors),
            pinned=self.pinned,
            send=self.send,
            fetch=self.fetch,
            mark=self.mark,
            stream=self.stream,
        )

    def tensor(self, *values):
        self.tensors.append(torch.tensor(values))
        return self.tensors[-1]

    def pinned(self, like):
        return torch.full_like(like, torch.nan)

    def send(self, pinned):
        sent = self.tensor(*[torch.nan] * len(pinned))
        self.log.append("send" if self.in_stream else "send in a stream of its own")
        self.queue.append(lambda: sent.copy_(pinned))
        return sent

    def fetch(self, pinned, tensor):
        self.log.append("fetch")
        self.queue.append(lambda: pinned.copy_(tensor))

    def mark(self):
        event = LazyEvent(self, self.n_marks, len(self.queue))
        self.n_marks += 1
        return event

    @contextmanager
    def stream(self):
        self.in_stream = True
        yield
        self.in_stream = False

    def work(self, until=None):
        for i, operation in enumerate(self.queue[:until]):
            if operation is not None:
                operation()
                self.queue[i] = None


class LazyEvent:
    def __init__(self, device, number, position):
        self.device, self.number, self.position = device, number, position

    def synchronize(self):
        self.device.log.append(f"wait {self.number}")
        if self.number == self.device.broken:
            raise RuntimeError(f"an error of chunk {self.number}")
        self.device.work(self.position)


@pytest.fixture
def device():
    return LazyDevice()


# --- there -------------------------------------------------------------------------


@pytest.fixture
def uploader(device):
    return Uploader(CPU, link=device.link())


def test_what_is_sent_may_be_overwritten_at_once(uploader, device):
    source = torch.zeros(LARGE)
    sent = []
    for i in range(3):
        source.fill_(i)
        sent.append(uploader.upload({"x": source})["x"])
    source.fill_(-1)
    device.work()

    assert [float(each[0]) for each in sent] == [0, 1, 2]


def test_copies_run_in_the_stream_of_the_caller(uploader, device):
    uploader.upload(torch.zeros(LARGE))

    assert device.log == ["send"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(LARGE - 1),
        lambda: torch.zeros(2**19).to_sparse(),
        lambda: torch.zeros(LARGE, device="meta"),
        lambda: torch.nested.nested_tensor([torch.zeros(LARGE)], layout=torch.jagged),
    ],
    ids=["small", "sparse", "elsewhere", "nested"],
)
def test_what_is_not_worth_pinning_is_copied_plainly(device, make):
    tensor = make()
    uploader = Uploader(tensor.device, link=device.link())

    uploader.upload(tensor)

    assert device.log == []


def test_other_leaves_are_left_as_they_are(uploader):
    tree = {"name": "x", "items": [1, None]}

    assert uploader.upload(tree) is tree


def test_on_the_host_uploading_is_the_identity():
    x = torch.zeros(LARGE)

    assert Uploader(CPU).upload([x])[0] is x


def test_a_device_without_streams_gets_plain_copies():
    there = Uploader(torch.device("meta")).upload([torch.zeros(LARGE), "x"])

    assert (there[0].device.type, there[1]) == ("meta", "x")


@pytest.mark.parametrize("kind", ["cpu", "mps", "meta", "hpu"])
def test_only_cuda_and_xpu_have_links(kind):
    assert link_to(torch.device(kind)) is None


# --- and back ----------------------------------------------------------------------


def results(device, n, fails=None):
    """Compute *n* chunks, the values of which are there only when the device works."""
    for i in range(n):
        if i == fails:
            raise ValueError(f"chunk {i}")
        device.log.append(f"compute {i}")
        result = device.tensor(torch.nan)
        device.queue.append(lambda result=result, i=i: result.fill_(i))
        yield {"chunk": i, "x": result}


def outcome(device, n, fails=None, stop=None):
    """Take up to *stop* results, and return their values and what error came."""
    download = Downloader(CPU, link=device.link()).download(results(device, n, fails))
    values = []
    try:
        while stop is None or len(values) < stop:
            result = next(download)
            assert float(result["x"]) == result["chunk"]
            values.append(result["chunk"])
    except (RuntimeError, ValueError, StopIteration) as error:
        return values, str(error)
    download.close()
    return values, None


@pytest.mark.parametrize("n", range(5))
def test_everything_is_delivered_in_order(device, n):
    assert outcome(device, n) == ([*range(n)], "")


def test_a_result_is_waited_for_when_the_next_one_has_started(device):
    outcome(device, 3)

    assert device.log == [
        *("compute 0", "fetch", "compute 1", "fetch", "wait 0"),
        *("compute 2", "fetch", "wait 1", "wait 2"),
    ]


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize("broken", range(4))
def test_an_error_of_the_device_comes_in_the_place_of_its_chunk(n, broken):
    expected = f"an error of chunk {broken}" if broken < n else ""

    assert outcome(LazyDevice(broken), n) == ([*range(min(n, broken))], expected)


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize("fails", range(4))
def test_what_comes_before_an_error_is_delivered_first(device, n, fails):
    expected = f"chunk {fails}" if fails < n else ""

    assert outcome(device, n, fails) == ([*range(min(n, fails))], expected)


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("stop", range(5))
def test_nothing_is_under_way_after_an_early_end(device, n, stop):
    values, _ = outcome(device, n, stop=stop)

    assert values == [*range(min(n, stop))]
    assert all(operation is None for operation in device.queue)
    assert sum("wait" in each for each in device.log) == device.n_marks


def test_an_error_of_what_was_abandoned_is_no_news():
    assert outcome(LazyDevice(broken=1), 3, stop=1) == ([0], None)


def test_pinned_memory_is_not_written_to_twice(device):
    fetched = list(Downloader(CPU, link=device.link()).download(results(device, 4)))

    places = [each["x"].data_ptr() for each in fetched]
    assert len({*places}) == 4
    assert all(float(a["x"]) < float(b["x"]) for a, b in pairwise(fetched))


def test_results_on_the_host_are_handed_through_at_once():
    log = []

    def compute():
        for i in range(3):
            log.append(f"compute {i}")
            yield torch.tensor(i)

    def take(result):
        log.append(f"take {int(result)}")

    for result in Downloader(CPU).download(compute()):
        take(result)

    assert log == [f"{what} {i}" for i in range(3) for what in ("compute", "take")]


def test_results_on_the_host_are_not_copied():
    tree = {"x": torch.zeros(3), "name": "y"}

    assert next(Downloader(CPU).download([tree])) is tree


def test_host_and_device_results_keep_their_order(device):
    mixed = [
        {"i": 0, "x": device.tensor(0.0)},
        {"i": 1, "x": torch.zeros(1)},
        {"i": 2, "x": device.tensor(0.0)},
    ]

    found = Downloader(CPU, link=device.link()).download(mixed)

    assert [each["i"] for each in found] == [0, 1, 2]


def test_no_result_is_held_while_the_next_one_is_computed(device):
    class Result:
        def __init__(self):
            alive.append(self)

        def __del__(self):
            n_gone.append(1)

    alive, n_gone = [], []

    def compute():
        for i in range(4):
            assert len(n_gone) == i
            yield Result()
            alive.clear()

    for result in Downloader(CPU).download(compute()):
        del result

    assert len(n_gone) == 4


def test_a_download_can_be_waited_for_by_hand(device):
    x = device.tensor(3.0)
    download = Downloader(CPU, link=device.link()).start([x, "name"])

    assert not download.is_here
    assert download.wait() == [torch.tensor([3.0]), "name"]
    assert download.wait() is download.wait()


@pytest.mark.gpu
def test_a_round_trip_over_a_real_device_changes_nothing():
    device = torch.accelerator.current_accelerator()
    uploader, downloader = Uploader(device), Downloader(device)
    chunks = [torch.full((LARGE,), float(i)) for i in range(8)]

    found = list(downloader.download(uploader.upload(x) * 2 for x in chunks))

    assert all(torch.equal(y, 2 * x) for x, y in zip(chunks, found))
