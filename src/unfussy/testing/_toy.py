"""
A device with real values, a log of copies and a memory that can be full.

`toy_device` is written in Python alone and needs no hardware.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from unfussy.errors import DeviceError
from unfussy.testing._toy_backend import register
from unfussy.testing._toy_tensor import DEVICE, Direction, ToyTensor

__all__ = ["Copy", "ToyDevice", "toy_device"]

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Copy:
    """
    One copy that a toy device took part in.

    Attributes:
        direction: ``"in"`` from the host, ``"out"`` to it (reading one number with
            ``item`` or ``bool`` counts), or ``"within"`` the device: clones, casts.
        shape: The shape of what arrived.
        dtype: The dtype of what arrived.
        n_bytes: Its size.
        non_blocking: Whether the caller did not want to wait.
    """

    direction: Direction
    shape: tuple[int, ...]
    dtype: torch.dtype
    n_bytes: int
    non_blocking: bool


class ToyDevice:
    """
    The handle that `toy_device` gives.

    Attributes:
        device: ``torch.device("toy:0")``.
        copies: Every copy in, out and within, in order. Clear it as you like.
        memory_limit: Bytes that may be alive at once; None for no limit. It may be
            set at any time.
        peak_bytes: The most bytes that were alive at once; it may be set too.
    """

    def __init__(self, memory_limit: int | None) -> None:
        self.device = torch.device(DEVICE)
        self.copies: list[Copy] = []
        self.memory_limit = memory_limit
        self.peak_bytes = 0
        self._sizes: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def live_bytes(self) -> int:
        """The memory that tensors on this device hold; views share theirs."""
        return sum(tuple(self._sizes.values()))

    def copied_bytes(self, direction: Direction, /) -> int:
        """Return how many bytes went in that *direction*."""
        return sum(c.n_bytes for c in self.copies if c.direction == direction)

    def place(self, module: M, /) -> M:
        """
        Return a copy of *module* on this device, ties kept; no copy is logged.

        ``module.to(device)`` works as well, but makes new parameter objects and so
        unties tied weights.
        """
        n_copies = len(self.copies)
        tensors = chain(module.parameters(), module.buffers())
        placed = {id(tensor): self._put(tensor) for tensor in tensors}
        del self.copies[n_copies:]
        return deepcopy(module, placed)

    def _put(self, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.detach().to(self.device)
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(moved, requires_grad=tensor.requires_grad)
        return moved

    def peek(self, tensor: torch.Tensor, /) -> torch.Tensor:
        """Return the values of *tensor* on the host, without a copy in the log."""
        return tensor.payload.clone() if isinstance(tensor, ToyTensor) else tensor

    def allocated(self, payload: torch.Tensor) -> None:
        """Count the memory behind *payload*; called for every tensor made here."""
        storage = payload.untyped_storage()
        key, n_bytes = id(storage), storage.nbytes()
        with self._lock:
            known = self._sizes.get(key)
            others = self.live_bytes - (known or 0)
            limit = self.memory_limit
            if (
                n_bytes > (known or 0)
                and limit is not None
                and others + n_bytes > limit
            ):
                raise torch.OutOfMemoryError(_refusal(n_bytes, others, limit))
            self._sizes[key] = n_bytes
            self.peak_bytes = max(self.peak_bytes, others + n_bytes)
        if known is None:
            # Takes no lock: it may run at any moment, also while one is held.
            weakref.finalize(storage, self._sizes.pop, key, None)

    def copied(
        self, direction: Direction, copy: torch.Tensor, *, non_blocking: bool
    ) -> None:
        """Log *copy*; called for every copy made here."""
        n_bytes = copy.numel() * copy.element_size()
        shape = tuple(copy.shape)
        self.copies.append(Copy(direction, shape, copy.dtype, n_bytes, non_blocking))


def _refusal(asked: int, live: int, limit: int) -> str:
    return (
        f"TOY out of memory. Tried to allocate {asked} bytes. Device {DEVICE} has a "
        f"total capacity of {limit} bytes of which {limit - live} bytes are free."
    )


@contextmanager
def toy_device(*, memory_limit: int | None = None) -> Iterator[ToyDevice]:
    """
    Give this process a device ``"toy:0"`` that computes, counts and can be full.

    Its tensors hold real values, computed by the CPU. Tensors and modules move there
    and back by the usual means; NumPy, mixed devices and too little memory raise what
    they raise on a GPU; autocast, autograd and inference mode work. Every copy is
    logged and every byte counted.

    Use it in a process of its own. The registration outlives the block: from then on
    `torch.accelerator` reports the toy as this machine's accelerator, though most of
    its memory functions and ``synchronize`` raise (the like-named functions of
    ``torch.toy`` do not), `torch.nn.DataParallel` takes it for a GPU, and
    `fake_device` may fail. torch has place for one such device, so no other
    out-of-tree backend fits beside it.

    What does not work: a second index, sparse and nested tensors, LSTMs and GRUs,
    growing a filled tensor in place, pinned memory, streams, `torch.compile`, and
    tests for ``type(x) is torch.Tensor``: tensors here are of a subclass. Autocast
    knows the common operators only and keeps no cast weights.

    Args:
        memory_limit: Bytes that tensors may hold at once before
            `torch.OutOfMemoryError` is raised; scratch memory inside an operator is
            not counted.

    Raises:
        DeviceError: If another out-of-tree backend is registered, torch is too old,
            or a toy device is open already.

    Examples:
        >>> with toy_device(memory_limit=1000) as toy:  # doctest: +SKIP
        ...     model = toy.place(nn.Linear(3, 2))
        ...     model(torch.ones(5, 3).to("toy")).cpu().shape
        ...     [copy.direction for copy in toy.copies]
        torch.Size([5, 2])
        ['in', 'out']
    """
    backend = register()
    if backend.recorder is not None:
        raise DeviceError("a toy device is open already, and there is only one")
    toy = ToyDevice(memory_limit)
    backend.recorder = toy
    try:
        yield toy
    finally:
        backend.recorder = None
