"""
Which devices this machine has, and which one to take.

Whatever is asked of a driver may fail on some machine; what is not known is None.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch

from unfussy.errors import DeviceError

__all__ = ["DeviceInfo", "DeviceRecord", "get_best_device", "get_device_info"]

T = TypeVar("T")

_VARIABLE: Final = "UNFUSSY_DEVICE"
_KINDS: Final = ("cuda", "xpu", "mps", "cpu")
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
        free_memory: In bytes, or None.
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
        memory = f"{_gib(self.free_memory)} of {_gib(self.total_memory)} GiB free"
        extra = f", capability {'.'.join(map(str, self.capability or ()))}"
        return (
            f"{self.name:8} {self.model}, {memory}"
            f"{extra if self.capability else ''}, score {self.score:.1f}"
        )


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """
    All devices, and the chosen one; prints as a table.

    Attributes:
        devices: Best first.
        best: The one that `get_best_device` returns.
        reason: Why.
        optimizations: Settings of the process that speed it up, by name.
    """

    devices: tuple[DeviceRecord, ...]
    best: torch.device
    reason: str
    optimizations: dict[str, object]

    def __str__(self) -> str:
        rows = [str(device) for device in self.devices]
        settings = ", ".join(f"{k}={v}" for k, v in self.optimizations.items())
        return "\n".join([*rows, f"best: {self.best} ({self.reason})", settings])


def get_best_device() -> torch.device:
    """
    Return the device to run on: CUDA before XPU before MPS before the CPU.

    Among several of a kind the one with the best score: compute capability and free
    memory, so that asking opens a CUDA context on each. The environment variable
    ``UNFUSSY_DEVICE`` overrides the choice.

    Raises:
        DeviceError: If the variable names a device that is not there.

    Examples:
        >>> get_best_device().type in ("cuda", "xpu", "mps", "cpu")
        True
    """
    return get_device_info().best


def get_device_info() -> DeviceInfo:
    """
    Return every device of this machine, with the chosen one and why.

    Raises:
        DeviceError: If ``UNFUSSY_DEVICE`` names a device that is not there.
    """
    devices = sorted(_devices(), key=lambda each: (_rank(each.name), -each.score))
    wanted = os.environ.get(_VARIABLE)
    if wanted:
        best, reason = _wanted(wanted, devices), f"{_VARIABLE} says so"
    else:
        best, reason = torch.device(devices[0].name), _reason(devices)
    return DeviceInfo(tuple(devices), best, reason, _optimizations())


def _rank(name: str) -> int:
    return _KINDS.index(_kind(name))


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _wanted(name: str, devices: list[DeviceRecord]) -> torch.device:
    known = ", ".join(record.name for record in devices)
    try:
        wanted = torch.device(name.strip())
    except RuntimeError as error:
        raise DeviceError(
            f"{_VARIABLE}={name!r} is no device; there are {known}"
        ) from error
    for found in (torch.device(record.name) for record in devices):
        if found.type == wanted.type and wanted.index in {None, found.index or 0}:
            return found
    raise DeviceError(f"{_VARIABLE}={name!r} is not on this machine; there are {known}")


def _reason(devices: list[DeviceRecord]) -> str:
    kinds = [_kind(record.name) for record in devices]
    n_same = kinds.count(kinds[0])
    if kinds[0] == "cpu":
        return "there is no accelerator"
    if n_same > 1:
        return f"the best of {n_same} by capability and free memory"
    others = set(kinds[1:]) - {"cpu"}
    return f"{kinds[0]} goes first" if others else "the only accelerator"


def _devices() -> list[DeviceRecord]:
    cudas = map(_cuda, range(_count(torch.cuda)))
    xpus = map(_xpu, range(_count(torch.xpu)))
    found = [record for record in (*cudas, *xpus) if record is not None]
    if _known(torch.backends.mps.is_available):
        found.append(_mps())
    return [*found, _cpu()]


def _count(backend: Any) -> int:
    # A count alone may come from a list of cards that no driver can use.
    available = _known(backend.is_available)
    return (_known(backend.device_count) or 0) if available else 0


def _known(ask: Callable[..., T], *args: Any) -> T | None:
    try:
        return ask(*args)
    except (RuntimeError, AssertionError, AttributeError, OSError, ValueError):
        return None


def _cpu() -> DeviceRecord:
    free, total = _host_memory()
    model = f"CPU, {torch.get_num_threads()} threads"
    return _record("cpu", model, total, free)


def _host_memory() -> tuple[int | None, int | None]:
    page = _known(os.sysconf, "SC_PAGE_SIZE") or 0
    total = (_known(os.sysconf, "SC_PHYS_PAGES") or 0) * page
    free = (_known(os.sysconf, "SC_AVPHYS_PAGES") or 0) * page
    return free or None, total or None


def _cuda(i: int) -> DeviceRecord | None:
    memory = _known(torch.cuda.mem_get_info, i)
    capability = _known(torch.cuda.get_device_capability, i)
    if memory is None and capability is None:
        return None  # the driver lists it and cannot reach it
    model = _known(torch.cuda.get_device_name, i) or "CUDA device"
    free, total = memory or (None, None)
    return _record(f"cuda:{i}", model, total, free, capability)


def _xpu(i: int) -> DeviceRecord | None:
    properties = _known(torch.xpu.get_device_properties, i)
    memory = _known(torch.xpu.mem_get_info, i)
    if memory is None and properties is None:
        return None
    free, total = memory or (None, getattr(properties, "total_memory", None))
    return _record(f"xpu:{i}", getattr(properties, "name", "XPU device"), total, free)


def _mps() -> DeviceRecord:
    total = _known(torch.mps.recommended_max_memory)
    used = _known(torch.mps.driver_allocated_memory)
    free = total - used if total is not None and used is not None else None
    return _record("mps", "Apple GPU", total, free)


def _record(
    name: str,
    model: str,
    total: int | None,
    free: int | None,
    capability: tuple[int, int] | None = None,
) -> DeviceRecord:
    number = capability[0] + capability[1] / 10 if capability else 0.0
    return DeviceRecord(
        name=name,
        model=model,
        total_memory=total,
        free_memory=free,
        capability=capability,
        native_bf16=capability >= _BF16_SINCE if capability else None,
        tensor_cores=capability >= _TENSOR_CORES_SINCE if capability else None,
        score=_CAPABILITY_WEIGHT * number + (free or 0) / _GIB,
    )


def _optimizations() -> dict[str, object]:
    return {
        "matmul_precision": _known(torch.get_float32_matmul_precision),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "threads": torch.get_num_threads(),
    }


def _gib(memory: int | None) -> str:
    return "?" if memory is None else f"{memory / _GIB:.1f}"
