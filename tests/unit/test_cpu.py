"""What is set for the process, what is not and why, and that it can be undone."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from unfussy import UnfussyError, _cpu
from unfussy._cpu import minor_faults, tune_cpu

GLIBC = pytest.mark.skipif(_cpu.allocator_obstacle() is not None, reason="needs glibc")


@pytest.fixture(autouse=True)
def _default_allocator():
    if _cpu.keeps_memory():  # of a test that wants it for good
        _cpu._set_allocator(_cpu._DEFAULT)


@pytest.fixture
def libc(monkeypatch):
    """Give a C library that takes note of what is set."""
    settings = {}

    def mallopt(name, value):
        settings[name] = value
        return fake.answer

    fake = SimpleNamespace(
        gnu_get_libc_version=None,
        posix_memalign=None,
        mallopt=mallopt,
        malloc_trim=lambda pad: settings.setdefault("trimmed", pad),
        settings=settings,
        answer=1,
    )
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(_cpu, "_libc", lambda: fake)
    monkeypatch.setattr(_cpu, "_owner", lambda function: "libc.so.6")
    return fake


@pytest.fixture
def n_threads():
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_the_allocator_is_told_to_keep_memory(libc):
    tuning = tune_cpu()

    assert libc.settings == {-1: 2**31 - 1, -4: 0}
    assert tuning.applied
    assert "allocator: keeps freed memory" in str(tuning)


def test_undoing_puts_the_defaults_back(libc):
    tune_cpu().undo()

    assert libc.settings == {-1: 131072, -4: 65536, "trimmed": 0}


def test_as_a_context_it_undoes_itself(libc, n_threads):
    with tune_cpu(threads=3):
        assert torch.get_num_threads() == 3

    assert torch.get_num_threads() == n_threads
    assert libc.settings[-4] == 65536


def test_threads_are_set_and_told(libc, n_threads):
    tuning = tune_cpu(allocator=False, threads=3)

    assert torch.get_num_threads() == tuning.threads == 3
    assert tuning.applied
    assert str(tuning) == (
        f"allocator: left alone: not asked for\nthreads: 3, before {n_threads}"
    )


def test_nothing_asked_for_is_nothing_done(libc, n_threads):
    tuning = tune_cpu(allocator=False)
    tuning.undo()

    assert not tuning.applied
    assert libc.settings == {}
    assert str(tuning).endswith(f"threads: left alone: {n_threads}")


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(libc, monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)

    tuning = tune_cpu()

    assert not tuning.applied
    assert libc.settings == {}
    assert f"left alone: on {platform} it has no such setting" in str(tuning)


def test_other_c_libraries_are_left_alone(libc):
    del libc.gnu_get_libc_version

    tuning = tune_cpu()

    assert not tuning.applied
    assert "left alone: the C library is not glibc" in str(tuning)


def test_other_allocators_are_left_alone(libc, monkeypatch):
    monkeypatch.setattr(_cpu, "_owner", lambda function: "libjemalloc.so.2")

    tuning = tune_cpu()

    assert not tuning.applied
    assert libc.settings == {}
    assert "left alone: memory comes from libjemalloc.so.2" in str(tuning)


def test_a_refusal_is_told(libc):
    libc.answer = 0

    assert tune_cpu().reason == "mallopt() refused"


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(libc, threads):
    with pytest.raises(UnfussyError, match=f"threads of at least 1, got {threads}"):
        tune_cpu(threads=threads)

    assert libc.settings == {}


def test_faults_are_counted_where_the_system_counts_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)

    assert minor_faults() is None


@GLIBC
def test_the_owner_of_a_function_is_a_file():
    assert _cpu._owner(_cpu._libc().posix_memalign).startswith("libc")


@GLIBC
def test_memory_that_is_kept_is_not_faulted_in_again():
    program = (
        "import torch\n"
        "from unfussy._cpu import minor_faults, tune_cpu\n"
        "def faults():\n"
        "    for i in range(8):\n"
        "        if i == 4: before = minor_faults()\n"  # the heap has settled
        "        torch.ones(9 * 2**20)\n"  # 36 MiB: never kept by default
        "    return minor_faults() - before\n"
        "plain = faults()\n"
        "with tune_cpu(): kept = faults()\n"
        "print(kept < plain / 2)\n"
    )

    run = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (run.stdout, run.stderr) == ("True\n", "")


@GLIBC
def test_memory_that_was_kept_before_is_kept_after():
    with tune_cpu() as outer:
        with tune_cpu() as inner:
            pass

        assert _cpu.keeps_memory()
        assert outer.applied
        assert not inner.applied
    assert not _cpu.keeps_memory()
