"""
What is remembered of how much fits: for each module, and each kind of input.

It is forgotten when the module dies or changes, and keeps no module alive.
"""

# ruff: noqa: SLF001 - parameters() of torch costs ten times what its dictionaries do
from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from operator import attrgetter
from threading import RLock
from time import monotonic
from typing import Any, Final, TypeAlias

import torch
from torch import nn

from unfussy._batching.governor import Governor
from unfussy._batching.memory import Memory, memory_of

__all__ = ["Limits", "signature"]

_MOST_KEYS: Final = 64
_LATELY: Final = 0.02  # seconds
_SHARE_OF_HOST: Final = 0.5  # a host that runs out ends the process
_SHARE_OF_ACCELERATOR: Final = 0.8

Signature: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class _Remembered:
    signature: Signature
    ref: weakref.ref[Any] | None = None  # None for a function without a module
    governors: OrderedDict[Hashable, Governor] = field(default_factory=OrderedDict)


class Limits:
    """
    The governors of one method, by module and key.

    Copies and pickles of it are empty. Safe with threads.
    """

    def __init__(self) -> None:
        self._remembered: dict[int, _Remembered] = {}
        self._lock = RLock()

    def __reduce__(self) -> tuple[type[Limits], tuple[()]]:
        return Limits, ()

    def __len__(self) -> int:
        return sum(len(each.governors) for each in [*self._remembered.values()])

    def of(
        self,
        module: nn.Module | None,
        key: Hashable,
        /,
        *,
        start: float,
        device: torch.device | str = "cpu",
    ) -> Governor:
        """
        Return the governor of *module* and *key*, a new one if there is none.

        Args:
            module: Whose chunks it governs; None for a function without a module.
            key: What else the limit depends on, such as the dtype.
            start: The cost that a new governor begins with.
            device: Where chunks run.
        """
        with self._lock:
            governors = self._of_module(module).governors
            if key not in governors:
                governors[key] = _governor(start, torch.device(device))
                if len(governors) > _MOST_KEYS:
                    governors.popitem(last=False)
            governors.move_to_end(key)
            return governors[key]

    def forget(self) -> None:
        """Forget everything."""
        self._remembered.clear()

    def _of_module(self, module: nn.Module | None) -> _Remembered:
        now = signature(module)
        found = self._remembered.get(id(module))
        if found is None or found.signature != now:
            found = _Remembered(now, self._follow(module))
            self._remembered[id(module)] = found
        return found

    def _follow(self, module: nn.Module | None) -> weakref.ref[Any] | None:
        # What is called at the module's end keeps neither it nor these limits alive. It
        # goes without the lock, since that end may come while it is held; and comes
        # before another module can have the same number.
        number, remembered = id(module), self._remembered
        if module is None:
            return None
        return weakref.ref(module, lambda _: remembered.pop(number, None))


def _governor(start: float, device: torch.device) -> Governor:
    share = _SHARE_OF_HOST if device.type == "cpu" else _SHARE_OF_ACCELERATOR
    return Governor(start, share=share, memory=_Lately(partial(memory_of, device)))


class _Lately:
    """The memory of a device, asked anew once in a while only: asking takes time."""

    def __init__(self, ask: Callable[[], Memory | None]) -> None:
        self._ask, self._asked = ask, -inf
        self._found: Memory | None = None

    def __call__(self) -> Memory | None:
        now = monotonic()
        if now - self._asked > _LATELY:
            self._asked, self._found = now, self._ask()
        return self._found


# --- what a module looks like ------------------------------------------------------

_LOOK: Final = attrgetter("shape", "dtype", "device")


def signature(module: nn.Module | None, /) -> Signature:
    """Return the shape, dtype and device of every parameter and buffer of *module*."""
    tensors = _tensors(module)
    try:
        return tuple([_LOOK(each) for each in tensors if each is not None])
    except RuntimeError:  # parameters that are made at the first call have no shape
        return tuple(map(type, tensors))


def _tensors(module: nn.Module | None) -> list[Any]:
    found: list[Any] = []
    todo, seen = [module], set[int]()
    for each in todo:
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            if each._parameters:
                found += each._parameters.values()
            if each._buffers:
                found += each._buffers.values()
            if each._modules:
                todo += each._modules.values()
    return found
