"""What the drivers of this machine tell about each of its devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from unfussy._asking import known
from unfussy._batching import memory_of
from unfussy._batching.host import Roots
from unfussy._cores import CpuInfo

__all__ = ["DeviceRecord", "find_devices", "in_gib"]

_GIB: Final = 2**30
_TENSOR_CORES_SINCE: Final = (7, 0)
_BF16_SINCE: Final = (8, 0)
_CAPABILITY_WEIGHT: Final = 10.0


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """
    One device.

    Attributes:
        name: What torch calls it, such as ``"cuda:0"``.
        model: What its maker calls it.
        total_memory: In bytes, or None.
        free_memory: What new tensors can take, in bytes, or None.
        capability: The CUDA compute capability, or None.
        native_bf16: Whether it computes in bfloat16 itself, or None.
        tensor_cores: Whether it has matrix units for low precision, or None.
        score: Higher is better among devices of a kind: capability and free memory.
    """

    name: str
    model: str
    total_memory: int | None
    free_memory: int | None
    capability: tuple[int, int] | None
    native_bf16: bool | None
    tensor_cores: bool | None
    score: float

    def __str__(self) -> str:
        memory = f"{in_gib(self.free_memory)} of {in_gib(self.total_memory)} GiB free"
        extra = f", capability {'.'.join(map(str, self.capability or ()))}"
        return (
            f"{self.name:8} {self.model}, {memory}"
            f"{extra if self.capability else ''}, score {self.score:.1f}"
        )


def in_gib(memory: int | None) -> str:
    """Return *memory* in GiB, or a question mark."""
    return "?" if memory is None else f"{memory / _GIB:.1f}"


def find_devices(cpu: CpuInfo, roots: Roots) -> Iterator[DeviceRecord]:
    """Yield every device that torch can reach, the CPU last."""
    for i in range(_count(torch.cuda)):
        yield from _cuda(i)
    for i in range(_count(torch.xpu)):
        yield from _xpu(i)
    if known(torch.backends.mps.is_available):
        yield _mps()
    yield _cpu(cpu, roots)


def _count(backend: Any) -> int:
    # A count alone may come from a list of cards that no driver can use.
    available = known(backend.is_available)
    return (known(backend.device_count) or 0) if available else 0


def _cuda(i: int) -> Iterator[DeviceRecord]:
    name = f"cuda:{i}"
    free, total = _memory(name)
    capability = known(torch.cuda.get_device_capability, i)
    if total is None and capability is None:
        return  # the driver lists it and cannot reach it
    properties = known(torch.cuda.get_device_properties, i)
    model = known(torch.cuda.get_device_name, i) or "CUDA device"
    # Of AMD's cards the number is another one.
    number = None if torch.version.hip else capability
    yield _record(
        name,
        model,
        (free, total or getattr(properties, "total_memory", None)),
        capability=capability,
        native_bf16=number >= _BF16_SINCE if number else None,
        tensor_cores=number >= _TENSOR_CORES_SINCE if number else None,
    )


def _xpu(i: int) -> Iterator[DeviceRecord]:
    name = f"xpu:{i}"
    free, total = _memory(name)
    properties = known(torch.xpu.get_device_properties, i)
    if total is None and properties is None:
        return
    yield _record(
        name,
        getattr(properties, "name", "XPU device"),
        (free, total or getattr(properties, "total_memory", None)),
        native_bf16=getattr(properties, "has_bfloat16_conversions", None),
        tensor_cores=getattr(
            properties, "has_subgroup_matrix_multiply_accumulate", None
        ),
    )


def _mps() -> DeviceRecord:
    free, total = _memory("mps")
    total = total or known(torch.mps.recommended_max_memory)
    return _record("mps", "Apple GPU", (free, total))


def _cpu(cpu: CpuInfo, roots: Roots) -> DeviceRecord:
    found = memory_of("cpu", roots=roots)
    return _record(
        "cpu",
        cpu.model,
        (None, None) if found is None else (found.free, found.total),
        native_bf16=cpu.native_bf16,
        tensor_cores=cpu.matrix_units,
    )


def _memory(name: str) -> tuple[int | None, int | None]:
    found = memory_of(name)
    return (None, None) if found is None else (found.free, found.total)


def _record(
    name: str,
    model: str,
    memory: tuple[int | None, int | None],
    *,
    capability: tuple[int, int] | None = None,
    native_bf16: bool | None = None,
    tensor_cores: bool | None = None,
) -> DeviceRecord:
    free, total = memory
    number = capability[0] + capability[1] / 10 if capability else 0.0
    score = _CAPABILITY_WEIGHT * number + (free or 0) / _GIB
    return DeviceRecord(
        name, model, total, free, capability, native_bf16, tensor_cores, score
    )
