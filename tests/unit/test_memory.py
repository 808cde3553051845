"""How much memory is left, under every kind of limit, and how much work takes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from unfussy._batching.host import Roots, host_memory
from unfussy._batching.memory import Memory, PeakMeter, memory_of

GIB = 2**30
MEMINFO = """\
MemTotal:       16777216 kB
MemFree:         1048576 kB
MemAvailable:    8388608 kB
HugePages_Total:       0
"""


@pytest.fixture
def roots(tmp_path):
    """A machine with 8 of 16 GiB available, and nothing else to say."""
    roots = Roots(tmp_path / "proc", tmp_path / "cgroup")
    write(roots.proc / "meminfo", MEMINFO)
    roots.cgroup.mkdir()
    return roots


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text))


def test_memory_prints_in_gib():
    assert str(Memory(free=3 * GIB // 2, total=8 * GIB)) == "1.5 of 8.0 GiB free"


# --- the host ----------------------------------------------------------------------


def test_without_limits_what_the_machine_has_available_counts(roots):
    assert memory_of("cpu", roots=roots) == Memory(8 * GIB, 16 * GIB)


def test_the_limit_of_the_control_group_counts(roots):
    group = roots.cgroup / "app.slice" / "job"
    write(roots.proc / "self" / "cgroup", "0::/app.slice/job\n")
    write(group / "memory.max", f"{4 * GIB}\n")
    write(group / "memory.current", f"{GIB}\n")

    assert host_memory(roots) == (3 * GIB, 4 * GIB)


def test_the_tightest_group_on_the_way_up_counts(roots):
    write(roots.proc / "self" / "cgroup", "0::/a/b/c\n")
    for folder, limit in (("a", 2 * GIB), ("a/b", "max"), ("a/b/c", 6 * GIB)):
        write(roots.cgroup / folder / "memory.max", f"{limit}\n")
        write(roots.cgroup / folder / "memory.current", f"{GIB}\n")

    assert host_memory(roots) == (GIB, 2 * GIB)


def test_inside_a_container_the_root_is_the_group(roots):
    write(roots.proc / "self" / "cgroup", "0::/docker/0123abcd\n")
    write(roots.cgroup / "memory.max", GIB)
    write(roots.cgroup / "memory.current", GIB // 4)

    assert host_memory(roots) == (3 * GIB // 4, GIB)


def test_files_that_were_read_do_not_count_as_used(roots):
    write(roots.proc / "self" / "cgroup", "0::/\n")
    write(roots.cgroup / "memory.max", 2 * GIB)
    write(roots.cgroup / "memory.current", 2 * GIB)
    write(roots.cgroup / "memory.stat", f"anon 5\ninactive_file {GIB}\n")

    assert host_memory(roots) == (GIB, 2 * GIB)


def test_groups_of_version_1_count_unless_they_say_none(roots):
    write(roots.proc / "self" / "cgroup", "4:cpu,memory:/job\n3:pids:/\n")
    write(roots.cgroup / "memory" / "memory.limit_in_bytes", 9223372036854771712)
    write(roots.cgroup / "memory" / "memory.usage_in_bytes", GIB)
    assert host_memory(roots) == (8 * GIB, 16 * GIB)

    write(roots.cgroup / "memory" / "job" / "memory.limit_in_bytes", 2 * GIB)
    write(roots.cgroup / "memory" / "job" / "memory.usage_in_bytes", GIB)
    assert host_memory(roots) == (GIB, 2 * GIB)


def test_a_group_beyond_its_limit_has_nothing_left(roots):
    write(roots.proc / "self" / "cgroup", "0::/\n")
    write(roots.cgroup / "memory.max", GIB)
    write(roots.cgroup / "memory.current", 2 * GIB)

    assert host_memory(roots) == (0, GIB)


def test_the_address_space_of_the_process_counts(roots, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3 * GIB, -1))
    write(roots.proc / "self" / "statm", f"{GIB // resource.getpagesize()} 5 5 5\n")

    assert host_memory(roots) == (2 * GIB, 3 * GIB)


def test_where_the_kernel_says_nothing_psutil_is_asked(tmp_path, monkeypatch):
    psutil = SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=GIB, total=2 * GIB)
    )
    monkeypatch.setitem(sys.modules, "psutil", psutil)

    assert host_memory(Roots(tmp_path, tmp_path)) == (GIB, 2 * GIB)


def test_where_nobody_is_asked_the_system_is(tmp_path, monkeypatch):
    answers = {"SC_PAGE_SIZE": 4, "SC_AVPHYS_PAGES": 10, "SC_PHYS_PAGES": 20}
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr("os.sysconf", answers.__getitem__, raising=False)

    assert host_memory(Roots(tmp_path, tmp_path)) == (40, 80)


def test_where_nobody_knows_the_answer_is_none(tmp_path, monkeypatch):
    def refuse(_):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr("os.sysconf", refuse, raising=False)

    assert memory_of("cpu", roots=Roots(tmp_path, tmp_path)) is None


def test_this_machine_knows_its_memory():
    memory = memory_of(torch.device("cpu"))

    assert memory is None or 0 <= memory.free <= memory.total


# --- accelerators ------------------------------------------------------------------


class Backend:
    """A device with 10 bytes, 6 of them reserved, 4 of these in use."""

    fraction = 1.0
    peak = 4

    def get_memory_info(self, device):
        return 4, 10

    mem_get_info = get_memory_info

    def memory_allocated(self, device):
        return 4

    def memory_reserved(self, device):
        return 6

    def get_per_process_memory_fraction(self, device):
        return self.fraction

    def reset_peak_memory_stats(self, device):
        self.peak = 4

    def max_memory_allocated(self, device):
        return self.peak


@pytest.fixture
def backend(monkeypatch):
    backend = Backend()
    monkeypatch.setattr(torch, "get_device_module", lambda _: backend)
    monkeypatch.setattr(torch, "accelerator", backend)
    return backend


@pytest.fixture
def old_backend(backend, monkeypatch):
    """As torch was before it had one interface to all accelerators."""
    monkeypatch.setattr(torch, "accelerator", object())
    return backend


def test_what_is_reserved_and_not_used_is_free(backend):
    assert memory_of("cuda") == Memory(free=6, total=10)


def test_an_older_torch_is_asked_by_device(old_backend):
    assert memory_of("cuda:0") == Memory(free=6, total=10)


def test_the_share_that_a_process_may_take_counts(backend):
    backend.fraction = 0.5

    assert memory_of("cuda") == Memory(free=1, total=5)


def test_apple_devices_have_what_their_maker_recommends(monkeypatch):
    backend = SimpleNamespace(
        recommended_max_memory=lambda: 10, driver_allocated_memory=lambda: 4
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _: backend)

    assert memory_of("mps") == Memory(free=6, total=10)


def test_a_device_that_cannot_tell_is_none(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _: object())
    monkeypatch.setattr(torch, "accelerator", object())

    assert memory_of("xpu") is None
    assert memory_of("mps") is None


def test_a_device_without_memory_of_its_own_is_none():
    with PeakMeter("meta") as meter:
        pass

    assert memory_of("meta") is None
    assert meter.peak is None


# --- peaks -------------------------------------------------------------------------


@pytest.mark.parametrize("age", ["backend", "old_backend"])
def test_the_peak_of_an_accelerator_is_what_came_on_top(age, request):
    backend = request.getfixturevalue(age)
    backend.peak = 100

    with PeakMeter("cuda") as meter:
        backend.peak = max(backend.peak, 7)

    assert meter.peak == 3
    assert not meter.is_lower_bound


def test_the_peak_of_the_host_is_what_came_on_top(roots):
    status = roots.proc / "self" / "status"
    write(status, "VmHWM:\t 900 kB\nVmRSS:\t 100 kB\n")

    with PeakMeter("cpu", roots=roots) as meter:
        write(status, "VmHWM:\t 150 kB\nVmRSS:\t 100 kB\n")

    assert meter.peak == 50 * 1024
    assert not meter.is_lower_bound
    assert (roots.proc / "self" / "clear_refs").read_bytes() == b"5"


def test_where_the_peak_cannot_be_reset_its_growth_is_a_lower_bound(roots):
    status = roots.proc / "self" / "status"
    write(status, "VmHWM:\t 900 kB\nVmRSS:\t 100 kB\n")
    (roots.proc / "self" / "clear_refs").mkdir()  # cannot be written to

    with PeakMeter("cpu", roots=roots) as meter:
        write(status, "VmHWM:\t 910 kB\nVmRSS:\t 100 kB\n")

    assert meter.peak == 10 * 1024
    assert meter.is_lower_bound


def test_no_peak_is_known_where_the_kernel_says_nothing(tmp_path):
    with PeakMeter("cpu", roots=Roots(tmp_path / "none", tmp_path)) as meter:
        pass

    assert meter.peak is None


def test_no_peak_is_known_after_an_error(backend):
    meter = PeakMeter("cuda")

    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0

    assert meter.peak is None


@pytest.mark.skipif(sys.platform != "linux", reason="measured by the Linux kernel")
def test_the_peak_of_real_work_is_about_what_it_took():
    # In a process of its own, where nothing else takes or gives back memory.
    code = """
import torch
from unfussy._batching.memory import PeakMeter
with PeakMeter("cpu") as meter:
    torch.ones(64 << 18)
print(meter.is_lower_bound, 0 if meter.peak is None else meter.peak >> 20)
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    bound, peak = done.stdout.split()
    assert 60 <= int(peak) <= 80 or bound == "True"
