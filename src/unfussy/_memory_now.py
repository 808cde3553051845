"""How much memory a device has left at this moment."""

from __future__ import annotations

import torch

from unfussy._asking import known
from unfussy._batching import Memory, memory_of
from unfussy._batching.memory import held_memory
from unfussy._hardware import get_best_device
from unfussy._types import DeviceLike
from unfussy.errors import DeviceError

__all__ = ["find_device", "memory_now"]


def memory_now(device: DeviceLike = "auto", /) -> Memory | None:
    """
    Return how much memory *device* has left, or None where that cannot be known.

    What control groups leave to this process counts, not what the machine has, and
    what torch has reserved and does not use is free.

    Args:
        device: The device; ``"auto"`` is the accelerator where this process has most
            tensors or, as long as it has none there, `get_best_device`.

    Raises:
        DeviceError: If *device* is not there.

    Examples:
        >>> memory = memory_now("cpu")
        >>> 0 <= memory.free <= memory.total
        True
    """
    return memory_of(find_device(device, "memory_now"))


def find_device(device: DeviceLike, asker: str, /) -> torch.device:
    """
    Return the device that is meant, with its index.

    Args:
        device: A device, or ``"auto"``.
        asker: The function that was called, for errors.

    Raises:
        DeviceError: If it is not there.
    """
    if device == "auto":
        return _busiest() or get_best_device()
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(
            f"{asker}() takes a device such as 'cuda:0', or 'auto', got {device!r}"
        ) from error
    here = _accelerator()
    if found.type not in {"cpu", here}:
        there = "only the cpu" if here is None else f"cpu and {here}"
        raise DeviceError(f"{asker}() was asked for {found}; there is {there}")
    return found if found.type == "cpu" or found.index is not None else _current(found)


def _current(device: torch.device) -> torch.device:
    # It has to be named: the current device is another one in another thread.
    index = known(lambda: torch.get_device_module(device).current_device())
    return device if index is None else torch.device(device.type, index)


def _accelerator() -> str | None:
    """Return the type of the accelerator that is at work here, or None."""
    if not known(torch.accelerator.is_available):
        return None
    found = torch.accelerator.current_accelerator()
    return None if found is None else found.type


def _busiest() -> torch.device | None:
    """Return the accelerator where this process has most tensors, if it has any."""
    here = _accelerator()
    if here is None:
        return None
    devices = [torch.device(here, i) for i in range(torch.accelerator.device_count())]
    held = [held_memory(each) or 0 for each in devices]
    most = max(held, default=0)
    return devices[held.index(most)] if most else None
