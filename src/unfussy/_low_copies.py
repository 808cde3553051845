"""
Low-precision copies of a module's weights, each good while its weight is the same.

Nothing of this is in the module: its copies lie aside, and are gone when it is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from ctypes import c_uint32
from threading import RLock
from typing import Any, Final

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from unfussy._modes import inference_guard

__all__ = [
    "Kept",
    "Store",
    "cast_once_memory",
    "forget_cast_weights",
    "is_worth_keeping",
    "may_be_kept",
    "store_of",
]

_SIMPLE: Final = (bool, int, float, str, type(None), torch.dtype)


class Kept:
    """
    The copy of one weight, and what tells that the weight is still the same.

    A weight is known by the dictionary of its attributes, which is its own and dies
    with it: a weak reference would forbid `torch.utils.swap_tensors`, and a strong one
    would keep what its hooks refer to.
    """

    __slots__ = (
        "_attributes",
        "_cell",
        "_pointer",
        "_probe",
        "_probed",
        "_shape",
        "_storage",
        "_stride",
        "_version",
        "low",
    )

    def __init__(self, weight: nn.Parameter, dtype: torch.dtype) -> None:
        # Read before the copy: what is written meanwhile makes it stale.
        self._attributes = weight.__dict__
        self._version = weight._version  # noqa: SLF001 - torch's public secret
        self._pointer, self._storage = weight.data_ptr(), _weak_storage(weight)
        self._cell = self._storage.cdata
        self._shape, self._stride = weight.shape, weight.stride()
        self._probe = _probe_of(weight)
        self._probed = self._probe.value
        with inference_guard(False):  # noqa: FBT003 - it outlives the call
            self.low = weight.detach().to(dtype)

    def fits(self, weight: nn.Parameter) -> bool:
        """Tell whether this still is the copy of *weight*."""
        return (
            weight.__dict__ is self._attributes
            and weight._version == self._version  # noqa: SLF001 - torch's public secret
            and weight.data_ptr() == self._pointer
            and weight.stride() == self._stride
            and weight.shape == self._shape
            and not _has_expired(self._cell)  # so that no other memory is there now
            and self._probe.value == self._probed
        )


def _weak_storage(weight: torch.Tensor) -> Any:
    return StorageWeakRef(weight.untyped_storage())  # type: ignore[no-untyped-call]


def _probe_of(weight: torch.Tensor) -> c_uint32:
    """
    Return what reads the number in the middle of a weight on the CPU.

    Writing through ``.data`` or NumPy makes no new version; where weights are averaged
    or merged that way, all of them change.
    """
    if not weight.is_cpu or not weight.numel():
        return c_uint32(0)
    middle = sum(n // 2 * step for n, step in zip(weight.shape, weight.stride()))
    return c_uint32.from_address(weight.data_ptr() + 4 * middle)


_has_expired: Final = torch.UntypedStorage._expired  # noqa: SLF001


class Store:
    """
    What is kept for one module.

    Attributes:
        copies: By the dtype and by the identity of the weight.
        verdicts: By the method, whether keeping is worth it.
        lock: Held while a copy is made.
    """

    __slots__ = ("_module", "copies", "lock", "verdicts")

    def __init__(self, module: nn.Module) -> None:
        key = id(module)
        self._module = weakref.ref(module, lambda _: _STORES.pop(key, None))
        self.copies: dict[torch.dtype, dict[int, Kept]] = {}
        self.verdicts: dict[str, bool] = {}
        self.lock = RLock()

    def weights(self) -> dict[int, nn.Parameter]:
        """Return the module's weights that may be kept, and drop what is gone."""
        module = self._module()
        every = [] if module is None else list(module.parameters())
        if any(weight.is_meta for weight in every):  # they come and go with each call
            every = []
        found = {id(weight): weight for weight in every if may_be_kept(weight)}
        with self.lock:
            for copies in self.copies.values():
                for key in copies.keys() - found.keys():
                    copies.pop(key, None)
        return found

    def keep(self, weight: nn.Parameter, dtype: torch.dtype) -> torch.Tensor:
        """Return a copy of *weight*, made now if no other thread has."""
        with self.lock:
            copies = self.copies.setdefault(dtype, {})
            kept = copies.get(id(weight))
            if kept is None or not kept.fits(weight):
                kept = Kept(weight, dtype)
                _wait_for(weight.device)
                if type(kept.low) is not torch.Tensor:  # of a fake weight
                    return weight
                copies[id(weight)] = kept
            return kept.low


_STORES: Final[dict[int, Store]] = {}
"""By the identity of the module, and no longer than it lives."""


def store_of(module: nn.Module) -> Store:
    store = _STORES.get(id(module))
    return _STORES.setdefault(id(module), Store(module)) if store is None else store


def may_be_kept(weight: torch.Tensor) -> bool:
    """Tell whether the weight is a plain one whose changes can be seen."""
    return (
        type(weight) is nn.Parameter
        and weight.dtype is torch.float32
        and weight.layout is torch.strided
        and not weight.is_inference()  # which have no version counter
        and not (weight.is_cpu and _is_shared(weight))  # others may write to it
        and all(isinstance(value, _SIMPLE) for value in weight.__dict__.values())
    )


_is_shared: Final[Callable[[torch.Tensor], bool]] = torch.Tensor.is_shared


def _wait_for(device: torch.device) -> None:
    # Another thread may use the copy, or have used the last one, on another stream.
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def cast_once_memory(module: nn.Module, /) -> int:
    """
    Return how many bytes of low-precision weights are kept for *module*.

    Examples:
        >>> cast_once_memory(nn.Linear(4, 2))
        0
    """
    store = _STORES.get(id(module))
    if store is None:
        return 0
    kept = [each for copies in store.copies.copy().values() for each in copies.values()]
    return sum(each.low.nbytes for each in kept)


def forget_cast_weights(module: nn.Module, /) -> None:
    """
    Drop all low-precision weights that are kept for *module*.

    Needed only where weights were changed behind PyTorch's back: in place through
    ``.data`` on an accelerator, or by another process.
    """
    store = _STORES.pop(id(module), None)
    if store is not None:
        store.copies.clear()


def is_worth_keeping(module: nn.Module, method: str) -> bool | None:
    """Return whether *method* gains from kept weights, None if it has never run."""
    store = _STORES.get(id(module))
    return None if store is None else store.verdicts.get(method)
