"""The devices of machines that are not at hand, with drivers that fail."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from unfussy import UnfussyError, _cpu, _hardware, get_best_device, get_device_info
from unfussy._batching.host import Roots
from unfussy._cores import CpuInfo
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

    def mem_get_info(self, device):
        return self.cards[device.index][0] * GIB, 80 * GIB

    def memory_allocated(self, device):
        return 0

    def memory_reserved(self, device):
        return 0

    def get_per_process_memory_fraction(self, device):
        return 1.0

    def get_device_capability(self, i):
        return self.cards[i][1]

    def get_device_name(self, i):
        return f"Card {i}"

    def get_device_properties(self, i):
        return SimpleNamespace(
            name=f"Card {i}",
            total_memory=80 * GIB,
            has_bfloat16_conversions=True,
            has_subgroup_matrix_multiply_accumulate=False,
        )


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
    monkeypatch.setattr(torch.version, "hip", None)
    # As before torch had one interface to all accelerators.
    monkeypatch.setattr(torch.accelerator, "get_memory_info", failing, raising=False)


@pytest.fixture
def proc(monkeypatch, tmp_path):
    """A kernel that tells nothing yet."""
    monkeypatch.setattr(_hardware, "ROOTS", Roots(tmp_path, tmp_path / "cgroup"))
    return tmp_path


def has_memory(proc, free, total):
    text = f"MemTotal: {total << 20} kB\nMemAvailable: {free << 20} kB\n"
    (proc / "meminfo").write_text(text)


@pytest.fixture
def mps(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4 * GIB)


def test_a_machine_without_accelerators_has_its_cpu(proc):
    has_memory(proc, 12, 16)

    info = get_device_info()

    assert info.best == get_best_device() == torch.device("cpu")
    assert [record.name for record in info.devices] == ["cpu"]
    assert info.devices[0].free_memory == 12 * GIB
    assert info.devices[0].total_memory == 16 * GIB


@pytest.mark.parametrize(
    ("built_for", "reason"),
    [(None, "torch is built for CPUs only"), ("cuda", "there is no accelerator")],
)
def test_it_is_said_why_there_is_no_accelerator(monkeypatch, built_for, reason):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: built_for)

    assert get_device_info().reason == reason


def test_all_devices_are_listed_best_first_by_their_kind(monkeypatch, mps):
    install(monkeypatch, torch.cuda, Cards((1, (6, 1))))
    install(monkeypatch, torch.xpu, Cards((70, (9, 9))))

    info = get_device_info()

    names = [record.name for record in info.devices]
    assert names == ["cuda:0", "xpu:0", "mps", "cpu"]
    assert info.best == torch.device("cuda:0")
    assert info.reason == "cuda goes first"


def test_a_host_with_much_memory_is_still_a_host(monkeypatch, proc):
    install(monkeypatch, torch.cuda, Cards((1, (7, 5))))
    has_memory(proc, 16 * 1024, 16 * 1024)

    info = get_device_info()

    assert info.devices[1].free_memory == 16 * 1024 * GIB
    assert info.best == torch.device("cuda:0")


def test_what_torch_has_reserved_and_does_not_use_is_free(monkeypatch):
    cards = Cards((40, (8, 0)))
    install(monkeypatch, torch.cuda, cards, memory_reserved=lambda _: 2 * GIB)

    assert get_device_info().devices[0].free_memory == 42 * GIB


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


def test_the_capability_of_amd_cards_says_nothing_of_bf16(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    install(monkeypatch, torch.cuda, Cards((40, (9, 0))))

    card = get_device_info().devices[0]

    assert (card.native_bf16, card.tensor_cores) == (None, None)
    assert card.capability == (9, 0)


def test_an_xpu_tells_what_it_computes_itself(monkeypatch):
    install(monkeypatch, torch.xpu, Cards((40, (1, 0))))

    card = get_device_info().devices[0]

    assert (card.native_bf16, card.tensor_cores) == (True, False)
    assert (card.free_memory, card.total_memory) == (40 * GIB, 80 * GIB)
    assert card.capability is None


def test_the_cpu_tells_what_it_computes_itself(proc):
    (proc / "cpuinfo").write_text(
        "model name : Fast\nflags : avx2 avx512f avx512_bf16 amx_tile\n"
    )

    cpu = get_device_info().devices[-1]

    assert (cpu.native_bf16, cpu.tensor_cores, cpu.model) == (True, True, "Fast")


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
    dead = {name: failing for name in NAMES if name.startswith(("get_", "mem_"))}
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
    assert info.devices[0].total_memory == 80 * GIB
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


def test_a_host_that_does_not_know_its_memory_is_there(monkeypatch, proc):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.delattr("os.sysconf", raising=False)

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


# --- by name -----------------------------------------------------------------------


def test_its_parts_are_answered_by_name_too():
    info = get_device_info()

    assert info["selected_device"] is info.best
    assert all(info[name] is getattr(info, name) for name in info.keys()[1:])
    assert dict(info)["optimizations"] is info["optimizations"] is info.optimizations


@pytest.mark.parametrize("name", ["selected", "to_dict", "_", 0, None])
def test_a_name_that_it_does_not_have_is_refused(name):
    with pytest.raises(KeyError) as caught:
        get_device_info()[name]

    assert isinstance(caught.value, UnfussyError)
    assert str(caught.value) == (
        f"DeviceInfo has no {name!r}; it has selected_device, devices, best, reason, "
        "optimizations, cpu"
    )


def test_it_can_be_written_as_json(monkeypatch):
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))
    info = get_device_info()

    facts = info.to_dict()

    assert json.loads(json.dumps(facts)) == facts
    assert facts["selected_device"] == "cuda:0"
    assert facts["devices"][0]["capability"] == [8, 0]
    assert facts["devices"][1]["free_memory"] == info.devices[1].free_memory
    assert facts["cpu"]["usable_cores"] == info.cpu.usable_cores
    assert facts["optimizations"] == info.optimizations


# --- settings ----------------------------------------------------------------------


def test_settings_of_cuda_are_told_where_cuda_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
    without = get_device_info().optimizations
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))

    settings = get_device_info().optimizations

    assert settings.keys() - without.keys() == {
        "cuda_allocator",
        "cudnn_benchmark",
        "tf32_convolution",
        "tf32_matmul",
    }
    assert settings["cuda_allocator"] == "native"
    assert settings["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("old", [True, False])
def test_tf32_is_known_if_it_was_set_the_old_way(monkeypatch, old):
    fake = SimpleNamespace(allow_tf32=old)
    monkeypatch.setattr(torch.backends.cuda, "matmul", fake)
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))

    assert get_device_info().optimizations["tf32_matmul"] is old


@pytest.mark.parametrize(("new", "uses"), [("tf32", True), ("ieee", False)])
def test_tf32_is_known_if_it_was_set_the_new_way(monkeypatch, new, uses):
    class Mixed:
        fp32_precision = new

        @property
        def allow_tf32(self):
            raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Mixed())
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))

    assert get_device_info().optimizations["tf32_matmul"] is uses


def test_settings_that_are_refused_are_not_known(monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", failing)

    info = get_device_info()

    assert info.optimizations["matmul_precision"] is None
    assert "matmul_precision=?" in str(info)


def test_an_allocator_that_was_told_to_keep_memory_is_said_to(monkeypatch):
    monkeypatch.setattr(_cpu, "_IN_FORCE", dict(_cpu._KEEPING))
    monkeypatch.setattr(_cpu, "_libc", lambda: SimpleNamespace(posix_memalign=None))
    monkeypatch.setattr(_cpu, "_owner", lambda function: "libc.so.6")
    monkeypatch.setattr(sys, "platform", "linux")

    kept = get_device_info().optimizations["allocator"]

    assert kept == "libc.so.6, keeps freed memory"


def test_an_allocator_that_cannot_be_asked_is_not_known(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")

    assert get_device_info().optimizations["allocator"] is None


# --- print -------------------------------------------------------------------------


@pytest.fixture
def cpu(monkeypatch):
    cpu = CpuInfo("CPU 9000", ("AVX2",), "AVX2", 8, 8, None, 4)
    monkeypatch.setattr(_hardware, "cpu_info", lambda _: cpu)
    settings = {"matmul_precision": "high", "onednn": True, "threads": 4}
    monkeypatch.setattr(_hardware, "process_settings", lambda *, cuda: settings)


TABLE = """\
   device  model     free GiB  total GiB  capability  bf16  tensor cores  score
*  cuda:0  Card 0        40.0       80.0  8.0         yes   yes           120.0
   cuda:1  Card 1         2.0       80.0  7.5         no    yes            77.0
   cpu     CPU 9000      12.0       16.0  -           no    no             12.0
best: cuda:0 (the best of 2 by capability and free memory)
cpu: 8 of 8 cores usable, 4 threads; AVX2; kernels for AVX2
optimizations: matmul_precision=high, onednn=yes, threads=4"""


def test_the_information_prints_as_a_table(monkeypatch, proc, cpu):
    has_memory(proc, 12, 16)
    install(monkeypatch, torch.cuda, Cards((40, (8, 0)), (2, (7, 5))))

    assert str(get_device_info()) == TABLE


def test_one_device_prints_as_a_line(monkeypatch):
    install(monkeypatch, torch.cuda, Cards((40, (8, 0))))

    line = str(get_device_info().devices[0])

    assert line == "cuda:0   Card 0, 40.0 of 80.0 GiB free, capability 8.0, score 120.0"


def test_no_line_is_longer_than_100_columns(monkeypatch):
    cards = Cards((40, (8, 0)))
    name = "The Longest Name That A Marketing Department Ever Gave To A Card " * 2
    install(monkeypatch, torch.cuda, cards, get_device_name=lambda _: name)
    sets = tuple(f"AVX512-{i}" for i in range(30))
    cpu = CpuInfo(name, sets, "AVX512", 128, 128, 1.5, 64)
    monkeypatch.setattr(_hardware, "cpu_info", lambda _: cpu)

    lines = str(get_device_info()).splitlines()

    assert max(map(len, lines)) <= 100
    assert "The Longest Name" in lines[1]
    assert "..." in lines[1]
    assert lines[1].endswith("120.0")
    assert lines[-2].startswith("note: torch runs 64 threads on 2 usable cores")
