"""
What the CPU can do for this process: instruction sets, and cores that it may use.

Names and numbers are the kernel's, or torch's where it has none; nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final

import torch

from unfussy._asking import known
from unfussy._batching.host import ROOTS, Roots, control_groups, read_text

__all__ = ["CpuInfo", "cpu_info"]

# What matters to torch: our name, the kernel's and torch's. Apart, as "sme" is Arm's
# matrix extension, and AMD's encryption of memory.
_X86: Final = {
    "AVX2": ("avx2", "avx2"),
    "AVX512": ("avx512f", "avx512_f"),
    "AVX512-BF16": ("avx512_bf16", "avx512_bf16"),
    "AVX512-FP16": ("avx512_fp16", "avx512_fp16"),
    "AVX512-VNNI": ("avx512_vnni", "avx512_vnni"),
    "AVX-VNNI": ("avx_vnni", "avx_vnni"),
    "AMX": ("amx_tile", "amx_tile"),
    "AMX-BF16": ("amx_bf16", "amx_bf16"),
    "AMX-FP16": ("amx_fp16", "amx_fp16"),
    "AMX-INT8": ("amx_int8", "amx_int8"),
}
_ARM: Final = {
    "NEON": ("asimd", "neon"),
    "FP16": ("asimdhp", "fp16_arith"),
    "BF16": ("bf16", "bf16"),
    "DOT": ("asimddp", "dot"),
    "I8MM": ("i8mm", "i8mm"),
    "SVE": ("sve", "sve"),
    "SVE2": ("sve2", "sve2"),
    "SVE-BF16": ("svebf16", "sve_bf16"),
    "SME": ("sme", "sme"),
}
_BF16_SETS: Final = frozenset({"AVX512-BF16", "AMX-BF16", "BF16", "SVE-BF16"})
_MATRIX_SETS: Final = frozenset({"AMX", "SME"})


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """
    The CPU, as far as this process may use it.

    Attributes:
        model: What its maker calls it.
        instructions: The instruction sets it has of those that matter to torch, such
            as ``"AVX512-BF16"``; None if nobody tells.
        kernels: The one that torch's own kernels use.
        cores: How many the machine has, as the system counts them.
        allowed_cores: How many of them this process may run on.
        quota: How many a control group gives it on average; None for no limit.
        threads: How many threads one operation of torch uses.
    """

    model: str
    instructions: tuple[str, ...] | None
    kernels: str | None
    cores: int
    allowed_cores: int
    quota: float | None
    threads: int

    @property
    def usable_cores(self) -> int:
        """How many cores this process can keep busy, under all limits."""
        if self.quota is None:
            return self.allowed_cores
        return max(1, min(self.allowed_cores, ceil(self.quota)))

    @property
    def native_bf16(self) -> bool | None:
        """Whether it computes in bfloat16 itself; None if nobody tells."""
        return self._has(_BF16_SETS)

    @property
    def matrix_units(self) -> bool | None:
        """Whether it has units for matrices of low precision; None if nobody tells."""
        return self._has(_MATRIX_SETS)

    @property
    def remark(self) -> str | None:
        """What should be changed, in words; None if nothing."""
        n = self.usable_cores
        if self.threads <= n:
            return None
        have = "1 usable core" if n == 1 else f"{n} usable cores"
        return (
            f"torch runs {self.threads} threads on {have}, where they wait for one "
            f"another: try tune_cpu(threads={n})"
        )

    def _has(self, sets: frozenset[str]) -> bool | None:
        found = self.instructions
        return None if found is None else not sets.isdisjoint(found)

    def __str__(self) -> str:
        quota = "" if self.quota is None else f", quota {self.quota:g}"
        sets = "?" if self.instructions is None else ", ".join(self.instructions)
        return (
            f"{self.usable_cores} of {self.cores} cores usable{quota}, "
            f"{self.threads} threads; {sets or 'no wide instructions'}; "
            f"kernels for {self.kernels or '?'}"
        )


def cpu_info(roots: Roots = ROOTS) -> CpuInfo:
    """Return what the CPU can do for this process."""
    model, instructions = _identity(roots)
    cores = os.cpu_count() or 1
    return CpuInfo(
        model=model,
        instructions=instructions,
        kernels=known(torch.backends.cpu.get_cpu_capability),
        cores=cores,
        allowed_cores=_n_allowed() or cores,
        quota=known(_quota, roots),
        threads=torch.get_num_threads(),
    )


# --- what it is --------------------------------------------------------------------


@cache
def _identity(roots: Roots) -> tuple[str, tuple[str, ...] | None]:
    """Return the CPU's name and instruction sets, which do not change."""
    facts, torchs = _facts(roots), known(_capabilities) or {}
    model = facts.get("model name") or torchs.get("cpu_name") or platform.machine()
    told = _from_kernel(facts)
    return str(model or "CPU"), _from_torch(torchs) if told is None else told


def _from_kernel(facts: Mapping[str, str]) -> tuple[str, ...] | None:
    for field, sets in (("flags", _X86), ("Features", _ARM)):
        if field in facts:
            has = set(facts[field].split())
            return tuple(name for name, (flag, _) in sets.items() if flag in has)
    return None


def _from_torch(torchs: Mapping[str, object]) -> tuple[str, ...] | None:
    if not torchs:
        return None
    sets = {**_X86, **_ARM}
    return tuple(name for name, (_, key) in sets.items() if torchs.get(key))


_FACT: Final = re.compile(
    r"^(model name|flags|Features)[ \t]*:[ \t]*(.*)$", re.MULTILINE
)


def _facts(roots: Roots) -> dict[str, str]:
    # Of the first processor: all have the same, and there may be hundreds.
    first = (read_text(roots.proc / "cpuinfo") or "").partition("\n\n")[0]
    return {name: text.strip() for name, text in _FACT.findall(first)}


def _capabilities() -> Mapping[str, object]:
    found: Mapping[str, object] = torch.cpu.get_capabilities()  # of a newer torch
    return found


# --- how much of it ----------------------------------------------------------------


def _n_allowed() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return known(lambda: len(os.sched_getaffinity(0)))
    return None  # macOS and Windows let a process run anywhere


def _quota(roots: Roots) -> float | None:
    return min(control_groups(roots, "cpu", _quota_v2, _quota_v1), default=None)


def _quota_v2(folder: str) -> float | None:
    quota, _, period = (read_text(f"{folder}/cpu.max") or "max").partition(" ")
    return None if quota.strip() == "max" else int(quota) / int(period)


def _quota_v1(folder: str) -> float | None:
    quota = int(read_text(f"{folder}/cpu.cfs_quota_us") or -1)
    period = int(read_text(f"{folder}/cpu.cfs_period_us") or 0)
    return quota / period if quota > 0 and period > 0 else None
