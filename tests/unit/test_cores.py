"""What CPUs can do, told by kernels and torches of machines that are not at hand."""

import os
import platform
from dataclasses import replace

import pytest
import torch

from unfussy._batching.host import Roots
from unfussy._cores import CpuInfo, cpu_info

INTEL = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480+
cpu MHz\t\t: 2000.0
flags\t\t: fpu avx avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
bugs\t\t: spectre_v1

processor\t: 1
model name\t: something else
flags\t\t: fpu avx_vnni
"""
EPYC = """\
model name\t: AMD EPYC 7742 64-Core Processor
flags\t\t: fpu sme sev avx avx2 bf16
"""
GRAVITON = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd asimdhp asimddp sve i8mm bf16 svebf16 avx2
CPU implementer\t: 0x41
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Eight cores, all for us, and a torch that tells nothing."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)


@pytest.fixture
def roots(tmp_path):
    return Roots(tmp_path / "proc", tmp_path / "cgroup")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text))


# --- what it is --------------------------------------------------------------------


def test_the_kernel_tells_name_and_instructions_of_the_first_processor(roots):
    write(roots.proc / "cpuinfo", INTEL)

    cpu = cpu_info(roots)

    assert cpu.model == "Intel(R) Xeon(R) Platinum 8480+"
    assert cpu.instructions == (
        "AVX2",
        "AVX512",
        "AVX512-BF16",
        "AVX512-VNNI",
        "AMX",
        "AMX-BF16",
        "AMX-INT8",
    )
    assert (cpu.native_bf16, cpu.matrix_units) == (True, True)


def test_encrypted_memory_is_no_matrix_unit(roots):
    write(roots.proc / "cpuinfo", EPYC)

    cpu = cpu_info(roots)

    assert cpu.instructions == ("AVX2",)
    assert (cpu.native_bf16, cpu.matrix_units) == (False, False)


def test_arm_has_instructions_of_its_own(roots):
    write(roots.proc / "cpuinfo", GRAVITON)

    cpu = cpu_info(roots)

    sets = ("NEON", "FP16", "BF16", "DOT", "I8MM", "SVE", "SVE-BF16")
    assert cpu.instructions == sets
    assert (cpu.native_bf16, cpu.matrix_units) == (True, False)
    assert cpu.model == platform.machine()


def test_where_the_kernel_says_nothing_torch_is_asked(roots, monkeypatch):
    told = {"avx2": True, "avx512_f": True, "amx_tile": False, "cpu_name": "Intel i9"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)

    cpu = cpu_info(roots)

    assert cpu.instructions == ("AVX2", "AVX512")
    assert (cpu.native_bf16, cpu.matrix_units) == (False, False)
    assert cpu.model == "Intel i9"


def test_what_nobody_tells_is_not_guessed(roots):
    cpu = cpu_info(roots)

    assert cpu.instructions is None
    assert cpu.native_bf16 is None
    assert cpu.matrix_units is None
    assert cpu.quota is None
    assert "; ?; kernels for " in str(cpu)


def test_a_cpu_without_wide_instructions_has_none(roots, monkeypatch):
    write(roots.proc / "cpuinfo", "flags : fpu mmx sse\n")
    told = {"avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)

    cpu = cpu_info(roots)

    assert cpu.instructions == ()
    assert cpu.native_bf16 is False
    assert "no wide instructions" in str(cpu)


# --- how much of it ----------------------------------------------------------------


def test_without_limits_all_cores_are_usable(roots):
    cpu = cpu_info(roots)

    assert (cpu.cores, cpu.allowed_cores, cpu.usable_cores) == (8, 8, 8)
    assert (cpu.quota, cpu.remark) == (None, None)


def test_cores_that_the_process_may_not_run_on_do_not_count(roots, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)

    cpu = cpu_info(roots)

    assert (cpu.cores, cpu.allowed_cores, cpu.usable_cores) == (8, 3, 3)


@pytest.mark.parametrize("refusal", ["missing", "failing"])
def test_where_affinity_is_not_known_all_cores_count(roots, monkeypatch, refusal):
    def refuse(_):
        raise OSError("not permitted")

    if refusal == "missing":
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)

    assert cpu_info(roots).allowed_cores == 8


@pytest.mark.parametrize(
    ("text", "quota", "usable"),
    [
        ("200000 100000\n", 2.0, 2),
        ("150000 100000\n", 1.5, 2),
        ("5000 100000\n", 0.05, 1),
        ("6400000 100000\n", 64.0, 8),
        ("max 100000\n", None, 8),
        ("max\n", None, 8),
        ("", None, 8),
        ("nonsense\n", None, 8),
    ],
)
def test_the_quota_of_the_control_group_counts(roots, text, quota, usable):
    write(roots.proc / "self" / "cgroup", "0::/job\n")
    write(roots.cgroup / "job" / "cpu.max", text)

    cpu = cpu_info(roots)

    assert cpu.quota == quota
    assert cpu.usable_cores == usable


def test_the_tightest_quota_on_the_way_up_counts(roots):
    write(roots.proc / "self" / "cgroup", "0::/a/b/c\n")
    for folder, quota in (("a", 300000), ("a/b", "max"), ("a/b/c", 600000)):
        write(roots.cgroup / folder / "cpu.max", f"{quota} 100000")

    assert cpu_info(roots).quota == 3


@pytest.mark.parametrize("inside", [True, False], ids=["container", "host"])
def test_quotas_of_version_1_count(roots, inside):
    write(roots.proc / "self" / "cgroup", "5:cpu,cpuacct:/docker/12\n4:memory:/x\n")
    group = roots.cgroup / "cpu" / ("" if inside else "docker/12")
    write(group / "cpu.cfs_quota_us", 250000)
    write(group / "cpu.cfs_period_us", 100000)

    cpu = cpu_info(roots)

    assert (cpu.quota, cpu.usable_cores) == (2.5, 3)


@pytest.mark.parametrize(("quota", "period"), [(-1, 100000), (0, 100000), (5, 0)])
def test_version_1_says_none_by_a_negative_quota(roots, quota, period):
    write(roots.proc / "self" / "cgroup", "5:cpu:/\n")
    write(roots.cgroup / "cpu" / "cpu.cfs_quota_us", quota)
    write(roots.cgroup / "cpu" / "cpu.cfs_period_us", period)

    assert cpu_info(roots).quota is None


# --- in words ----------------------------------------------------------------------


CPU = CpuInfo("CPU", ("AVX2", "AVX512"), "AVX512", 64, 16, 4.0, 4)


def test_it_prints_as_a_line():
    assert str(CPU) == (
        "4 of 64 cores usable, quota 4, 4 threads; AVX2, AVX512; kernels for AVX512"
    )


@pytest.mark.parametrize(
    ("quota", "cores", "n"), [(4.0, "4 usable cores", 4), (0.5, "1 usable core", 1)]
)
def test_more_threads_than_cores_are_remarked(quota, cores, n):
    remark = replace(CPU, quota=quota, threads=64).remark

    assert remark == (
        f"torch runs 64 threads on {cores}, where they wait for one another: "
        f"try tune_cpu(threads={n})"
    )


def test_as_many_threads_as_cores_are_not():
    assert CPU.remark is None
    assert replace(CPU, quota=None, threads=16).remark is None


def test_this_machine_has_a_core_to_run_on():
    cpu = cpu_info()

    assert 1 <= cpu.usable_cores <= cpu.cores
