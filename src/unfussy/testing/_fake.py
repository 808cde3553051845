"""
A device that is only a label, for testing where things go on any machine.

Under `fake_device` tensors have a shape, a dtype and a device, and no values. That is
enough to see whether inputs were moved, where a result lives, which dtype autocast
gave it, and that a forgotten move raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from unfussy._types import DeviceLike
from unfussy.errors import DeviceError

__all__ = ["FakeDevice", "fake_device"]

M = TypeVar("M", bound=nn.Module)

_CAN_BE_FAKED: Final = ("cuda", "mps")


@dataclass(frozen=True, slots=True)
class FakeDevice:
    """
    The handle that `fake_device` gives.

    Attributes:
        device: Where its tensors say they are, index included.
    """

    device: torch.device

    def place(self, module: M, /) -> M:
        """
        Return a copy of *module* that lives on this device.

        Parameters and buffers have their shapes, dtypes, strides and ties, but no
        values, and ask for no gradients. *module*, which is best made before the
        block, is left alone. A plain ``module.to(device)`` cannot do this: torch
        refuses to swap in fake tensors.
        """
        tensors = chain(module.parameters(), module.buffers())
        placed = {id(tensor): self._fake(tensor) for tensor in tensors}
        with unset_fake_temporarily():
            return deepcopy(module, placed)

    def tensor(self, value: Any, /) -> torch.Tensor:
        """Return a fake of *value* (a tensor, an array, numbers) on this device."""
        return torch.as_tensor(value).detach().to(self.device)

    def _fake(self, tensor: torch.Tensor) -> torch.Tensor:
        fake = self.tensor(tensor)
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(fake, requires_grad=False)
        return fake


@contextmanager
def fake_device(device: DeviceLike = "cuda:0", /) -> Iterator[FakeDevice]:
    """
    Pretend inside the block that this machine has *device*.

    Inside, every new tensor is fake; real tensors and arrays made before are taken
    wherever a fake one is expected. Gradients are off, and must stay off: without the
    real device, autograd on a fake tensor ends the whole process.

    What does not work: values (``item``, ``bool``, printing numbers, branching on
    them), NumPy results, errors about mixed dtypes (the result is what it is),
    pinned memory, ``module.to(device)``, operators that ask the driver (LSTMs, batch
    normalisation in training, random numbers in place, fused attention on MPS), and
    other threads, which see the real machine. On a machine without CUDA
    `torch.autocast` switches itself off for ``"cuda"``; the flags behind it
    (`torch.set_autocast_enabled`, which `autocast_policy` uses) do work.

    Args:
        device: ``"cuda"`` or ``"mps"``, with or without an index.

    Raises:
        DeviceError: If *device* is of another type; XPU cannot be faked.

    Examples:
        >>> model = nn.Linear(3, 2)
        >>> with fake_device("cuda:0") as fake:
        ...     fake.place(model)(torch.ones(5, 3).to("cuda:0")).device
        device(type='cuda', index=0)
    """
    where = _checked(device)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield FakeDevice(where)


def _checked(device: DeviceLike) -> torch.device:
    # Not torch.device(1) for an index: that asks for the accelerator of this machine.
    asked = torch.device("cuda", device) if isinstance(device, int) else device
    asked = torch.device(asked)
    if asked.type not in _CAN_BE_FAKED:
        raise DeviceError(
            f"fake_device() can pretend to be {' or '.join(_CAN_BE_FAKED)}, "
            f"got {device!r}; for real values on an accelerator use toy_device()"
        )
    return torch.device(asked.type, asked.index or 0)
