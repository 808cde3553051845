"""The devices of machines that are not at hand, with drivers that fail."""

from types import SimpleNamespace

import pytest
import torch

from unfussy import get_best_device, get_device_info
from unfussy.errors import DeviceError

GIB = 2**30


def failing(*_):
    raise RuntimeError("CUDA error: the driver is not there")


def unsupported(*_):
    raise AssertionError("Torch not compiled with CUDA enabled")


class Cards:
    """A backend with cards: free memory in GiB, and capability, of each."""

    def __init__(self, *cards):
        self.cards = cards

    def is_available(self):
        return bool(self.cards)

    def device_count(self):
        return len(self.cards)

    def mem_get_info(self, i):
        return self.cards[i][0] * GIB, 80 * GIB

    def get_device_capability(self, i):
        return self.cards[i][1]

    def get_device_name(self, i):
        return f"Card {i}"

    def get_device_properties(self, i):
        return SimpleNamespace(name=f"Card {i}", total_memory=80 * GIB)


NAMES = [name for name in vars(Cards) if not name.startswith("_")]


def install(monkeypatch, backend, cards, **replaced):
    for name in NAMES:
        monkeypatch.setattr(
            backend, name, replaced.get(name, getattr(cards, name)), raising=False
        )


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch):
    monkeypatch.delenv("UNFUSSY_DEVICE", raising=False)
    for backend in (torch.cuda, torch.xpu):
        install(monkeypatch, backend, Cards())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def mps(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4 * GIB)


def test_a_machine_without_accelerators_has_its_cpu():
    info = get_device_info()

    assert info.best == get_best_device() == torch.device("cpu")
    assert info.reason == "there is no accelerator"
    assert [record.name for record in info.devices] == ["cpu"]
    assert info.devices[0].total_memory > info.devices[0].free_memory > 0


def test_all_devices_are_listed_best_first_by_their_kind(monkeypatch, mps):
    install(monkeypatch, torch.cuda, Cards((1, (6, 1))))
    install(monkeypatch, torch.xpu, Cards((70, (9, 9))))

    info = get_device_info()

    names = [record.name for record in info.devices]
    assert names == ["cuda:0", "xpu:0", "mps", "cpu"]
    assert info.best == torch.device("cuda:0")
    assert info.reason == "cuda goes first"


def test_a_host_with_much_memory_is_still_a_host(monkeypatch):
    install(monkeypatch, torch.cuda, Cards((1, (7, 5))))
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**32, "SC_AVPHYS_PAGES": 2**32}
    monkeypatch.setattr("os.sysconf", pages.get)

    info = get_device_info()

    assert info.devices[1].free_memory == 16 * 1024 * GIB
    assert info.best == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("cards", "best"),
    [
        ([(10, (8, 0)), (40, (8, 0))], 1),
        ([(40, (8, 0)), (10, (8, 0))], 0),
        ([(40, (7, 0)), (40, (9, 0))], 1),
        ([(40, (8, 6)), (40, (8, 9))], 1),
        ([(10, (9, 0)), (70, (8, 0))], 1),
        ([(40, (8, 0)), (40, (8, 0))], 0),
    ],
    ids=range(6),
)
def test_among_cards_free_memory_and_capability_decide(monkeypatch, cards, best):
    install(monkeypatch, torch.cuda, Cards(*cards))

    info = get_device_info()

    assert info.best == torch.device("cuda", best)
    assert info.reason == "the best of 2 by capability and free memory"


@pytest.mark.parametrize(
    ("capability", "bf16", "cores"),
    [((6, 1), False, False), ((7, 5), False, True), ((8, 0), True, True)],
)
def test_a_card_tells_what_it_computes_itself(monkeypatch, capability, bf16, cores):
    install(monkeypatch, torch.cuda, Cards((40, capability)))

    card = get_device_info().devices[0]

    assert (card.native_bf16, card.tensor_cores) == (bf16, cores)
    assert card.capability == capability
    assert card.model == "Card 0"
    assert (card.free_memory, card.total_memory) == (40 * GIB, 80 * GIB)


# --- drivers that fail -------------------------------------------------------------


@pytest.mark.parametrize("error", [failing, unsupported])
@pytest.mark.parametrize("name", ["is_available", "device_count"])
def test_a_driver_that_cannot_count_has_no_cards(monkeypatch, name, error):
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))), **{name: error})

    assert get_best_device() == torch.device("cpu")


def test_cards_that_are_listed_and_not_available_are_not_taken(monkeypatch):
    cards = Cards((40, (8, 0)))
    install(monkeypatch, torch.cuda, cards, is_available=lambda: False)

    assert get_best_device() == torch.device("cpu")


def test_cards_that_answer_nothing_are_not_there(monkeypatch):
    dead = dict.fromkeys(NAMES[2:], failing)
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))), **dead)
    install(monkeypatch, torch.xpu, Cards((40, (8, 0))), **dead)

    assert [record.name for record in get_device_info().devices] == ["cpu"]


@pytest.mark.parametrize(
    ("name", "field"),
    [("mem_get_info", "free_memory"), ("get_device_capability", "capability")],
)
def test_what_a_card_does_not_answer_is_not_known(monkeypatch, name, field):
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))), **{name: failing})

    info = get_device_info()

    assert info.best == torch.device("cuda:0")
    assert getattr(info.devices[0], field) is None
    assert "score" in str(info)


def test_a_card_without_a_name_is_a_cuda_device(monkeypatch):
    cards = Cards((40, (8, 0)))
    install(monkeypatch, torch.cuda, cards, get_device_name=failing)

    assert get_device_info().devices[0].model == "CUDA device"


def test_an_xpu_without_memory_to_ask_tells_its_total(monkeypatch):
    install(monkeypatch, torch.xpu, Cards((1, (1, 1))), mem_get_info=failing)

    record = get_device_info().devices[0]

    assert (record.name, record.model) == ("xpu:0", "Card 0")
    assert (record.free_memory, record.total_memory) == (None, 80 * GIB)
    assert get_device_info().reason == "the only accelerator"


def test_an_apple_gpu_has_what_is_not_allocated(mps):
    record = get_device_info().devices[0]

    assert (record.name, record.free_memory) == ("mps", 12 * GIB)
    assert get_best_device() == torch.device("mps")


def test_an_apple_gpu_that_does_not_tell_is_there_all_the_same(monkeypatch, mps):
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", failing)

    record = get_device_info().devices[0]

    assert (record.free_memory, record.total_memory) == (None, 16 * GIB)


def test_a_host_that_does_not_know_its_memory_is_there(monkeypatch):
    monkeypatch.delattr("os.sysconf")
    monkeypatch.setattr("os.sysconf", failing, raising=False)

    record = get_device_info().devices[0]

    assert (record.free_memory, record.total_memory) == (None, None)
    assert "? of ? GiB free" in str(record)


# --- the variable ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "best"),
    [
        ("cpu", "cpu"),
        ("cpu:0", "cpu"),
        (" cuda ", "cuda:1"),
        ("cuda:0", "cuda:0"),
        ("cuda:1", "cuda:1"),
        ("mps", "mps"),
        ("mps:0", "mps"),
    ],
)
def test_the_variable_overrides_the_choice(monkeypatch, mps, wanted, best):
    install(monkeypatch, torch.cuda, Cards((10, (8, 0)), (40, (8, 0))))
    monkeypatch.setenv("UNFUSSY_DEVICE", wanted)

    info = get_device_info()

    assert info.best == torch.device(best)
    assert info.reason == "UNFUSSY_DEVICE says so"


@pytest.mark.parametrize("wanted", ["cuda", "cuda:2", "meta", "cpu:1", "xpu"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, wanted):
    monkeypatch.setenv("UNFUSSY_DEVICE", wanted)

    with pytest.raises(
        DeviceError,
        match=rf"^UNFUSSY_DEVICE='{wanted}' is not on this machine; there are cpu$",
    ):
        get_best_device()


@pytest.mark.parametrize("wanted", ["gpu", "1", "cuda:x", " "])
def test_what_is_no_device_is_refused(monkeypatch, wanted):
    monkeypatch.setenv("UNFUSSY_DEVICE", wanted)

    with pytest.raises(RuntimeError, match=rf"='{wanted}' is no device; there are cpu"):
        get_best_device()


def test_an_empty_variable_says_nothing(monkeypatch):
    monkeypatch.setenv("UNFUSSY_DEVICE", "")

    assert get_best_device() == torch.device("cpu")


# --- print -------------------------------------------------------------------------


def test_the_information_prints_as_a_table(monkeypatch):
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))

    lines = str(get_device_info()).splitlines()

    card = "cuda:0   Card 0, 40.0 of 80.0 GiB free, capability 8.0, score 120.0"
    assert lines[0] == card
    assert lines[1].startswith("cpu      CPU, ")
    assert lines[2] == "best: cuda:0 (the only accelerator)"
    assert "matmul_precision=" in lines[3]
    assert "threads=" in lines[3]
