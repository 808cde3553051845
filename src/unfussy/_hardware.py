"""Which devices this machine has, which one to take, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from textwrap import wrap
from typing import Any, Final

import torch

from unfussy._batching.host import ROOTS
from unfussy._cores import CpuInfo, cpu_info
from unfussy._probing import DeviceRecord, find_devices, in_gib
from unfussy._settings import process_settings
from unfussy.errors import DeviceError, UnknownNameError

__all__ = ["DeviceInfo", "DeviceRecord", "get_best_device", "get_device_info"]

_VARIABLE: Final = "UNFUSSY_DEVICE"
_KINDS: Final = ("cuda", "xpu", "mps", "cpu")
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """
    All devices, and the chosen one; prints as a table.

    Its parts can be asked for as attributes, and by name as in a dictionary, where
    ``info["selected_device"]`` is *best*.

    Attributes:
        devices: Best first.
        best: The one that `get_best_device` returns.
        reason: Why.
        optimizations: Settings of the process that speed it up, by name.
        cpu: The CPU's instruction sets and the cores that this process may use.

    Examples:
        >>> info = get_device_info()
        >>> info["selected_device"] == info.best
        True
        >>> info["optimizations"]["threads"] == info.cpu.threads
        True
    """

    devices: tuple[DeviceRecord, ...]
    best: torch.device
    reason: str
    optimizations: dict[str, object]
    cpu: CpuInfo

    def __getitem__(self, name: str) -> Any:
        if name in self.keys():
            return getattr(self, "best" if name == "selected_device" else name)
        names = ", ".join(self.keys())
        raise UnknownNameError(f"DeviceInfo has no {name!r}; it has {names}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> tuple[str, ...]:
        """Return the names that it answers to."""
        return ("selected_device", *(field.name for field in fields(self)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: dictionaries, lists, numbers and texts."""
        cpu = {"usable_cores": self.cpu.usable_cores, "remark": self.cpu.remark}
        return {
            "selected_device": str(self.best),
            "reason": self.reason,
            "devices": [_listed(asdict(each)) for each in self.devices],
            "cpu": _listed(asdict(self.cpu)) | cpu,
            "optimizations": dict(self.optimizations),
        }

    def __str__(self) -> str:
        settings = ", ".join(f"{k}={_word(v)}" for k, v in self.optimizations.items())
        lines = [
            f"best: {self.best} ({self.reason})",
            f"cpu: {self.cpu}",
            f"optimizations: {settings}",
        ]
        if self.cpu.remark:
            lines.append(f"note: {self.cpu.remark}")
        table = [*_table(self.devices, self.best)]
        for line in lines:
            table += wrap(line, _WIDTH, subsequent_indent="  ")
        return "\n".join(table)


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


def model_of(device: torch.device, /) -> str:
    """Return what the maker of *device* calls it; its type where nobody tells."""
    try:
        records = get_device_info().devices
    except DeviceError:  # of a variable that has nothing to do with this device
        return device.type
    for record in records:
        found = torch.device(record.name)
        if found.type == device.type and (found.index or 0) == (device.index or 0):
            return record.model
    return device.type


def get_device_info() -> DeviceInfo:
    """
    Return every device of this machine, with the chosen one and why.

    What a driver or the system does not tell is None. What control groups and CPU
    affinity leave to this process counts, not what the machine has.

    Raises:
        DeviceError: If ``UNFUSSY_DEVICE`` names a device that is not there.
    """
    cpu = cpu_info(ROOTS)
    found = find_devices(cpu, ROOTS)
    devices = sorted(found, key=lambda each: (_rank(each.name), -each.score))
    wanted = os.environ.get(_VARIABLE)
    if wanted:
        best, reason = _wanted(wanted, devices), f"{_VARIABLE} says so"
    else:
        best, reason = torch.device(devices[0].name), _reason(devices)
    has_cuda = any(_kind(each.name) == "cuda" for each in devices)
    settings = process_settings(cuda=has_cuda)
    return DeviceInfo(tuple(devices), best, reason, settings, cpu)


# --- the choice --------------------------------------------------------------------


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
        built_for = torch.accelerator.current_accelerator()
        return (
            "there is no accelerator" if built_for else "torch is built for CPUs only"
        )
    if n_same > 1:
        return f"the best of {n_same} by capability and free memory"
    others = set(kinds[1:]) - {"cpu"}
    return f"{kinds[0]} goes first" if others else "the only accelerator"


def _listed(facts: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}


# --- the table ---------------------------------------------------------------------

_HEADS: Final = (
    "",
    "device",
    "model",
    "free GiB",
    "total GiB",
    "capability",
    "bf16",
    "tensor cores",
    "score",
)
_TO_THE_RIGHT: Final = frozenset({"free GiB", "total GiB", "score"})
_MODEL: Final = _HEADS.index("model")


def _table(devices: tuple[DeviceRecord, ...], best: torch.device) -> Iterator[str]:
    """Yield the lines of a table that is at most 100 columns wide."""
    rows = [_HEADS, *(_row(each, best) for each in devices)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    excess = sum(widths) + 2 * (len(widths) - 1) - _WIDTH
    widths[_MODEL] = max(len("model"), widths[_MODEL] - max(0, excess))
    for row in rows:
        yield "  ".join(map(_cell, row, widths, _HEADS)).rstrip()


def _row(record: DeviceRecord, best: torch.device) -> tuple[str, ...]:
    return (
        "*" if torch.device(record.name) == best else "",
        record.name,
        record.model,
        in_gib(record.free_memory),
        in_gib(record.total_memory),
        ".".join(map(str, record.capability)) if record.capability else "-",
        _word(record.native_bf16),
        _word(record.tensor_cores),
        f"{record.score:.1f}",
    )


def _cell(text: str, width: int, head: str) -> str:
    if len(text) > width:
        text = text[: width - 3] + "..."
    return text.rjust(width) if head in _TO_THE_RIGHT else text.ljust(width)


def _word(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
