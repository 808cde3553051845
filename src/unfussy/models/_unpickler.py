"""
A pickle reader that rebuilds tensors and plain containers, and calls nothing else.

A pickle is a program: reading one may call any function it names. Checkpoints of
training frameworks name classes of packages that need not be installed here, beside
the tensors that are wanted. Every name that is not needed for tensors is therefore
answered with an inert stand-in, which takes whatever is done to it and does nothing.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self

import torch
import torch._utils

__all__ = ["Unpickler", "is_stand_in", "load"]

_CONTAINERS: Final = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): torch.Size,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,  # as protocol 2 spells it
    ("__builtin__", "frozenset"): frozenset,
}
_BUILDERS: Final = {
    ("torch._utils", name): getattr(torch._utils, name)  # noqa: SLF001
    for name in ("_rebuild_parameter", "_rebuild_tensor", "_rebuild_tensor_v2")
}
_DTYPES: Final = {
    ("torch", name): value
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype)
}
_STORAGES: Final = {
    ("torch", name): value._dtype  # noqa: SLF001
    for name, value in vars(torch).items()
    if name.endswith("Storage") and hasattr(value, "_dtype")
}


class _StandIn:
    """Takes the place of anything a pickle names, whatever is then done to it."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: ARG004
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> Self:  # noqa: ARG002
        return self

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Ignore an item of what would be a list."""

    def add(self, item: object) -> None:
        """Ignore an item of what would be a set."""


def is_stand_in(value: object, /) -> bool:
    """Tell whether *value* stands in for a class, or for what a class made."""
    return isinstance(value, _StandIn)


class Unpickler(pickle.Unpickler):
    """Reads a pickle without calling what it names; for ``torch.load``."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set how tensors are found, as ``torch.load`` does, and only tensors."""
        if name == "persistent_load":
            value = _without_sources(value)
        super().__setattr__(name, value)

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may use under this name: mostly a stand-in."""
        key = (module, name)
        if key in _CONTAINERS:
            return _CONTAINERS[key]
        if key in _DTYPES:
            return _DTYPES[key]
        if key in _BUILDERS:
            # A pickle can set attributes of what it is given: let them be no one's.
            return partial(_BUILDERS[key])
        if key in _STORAGES:
            return type(name, (_StandIn,), {"_dtype": _STORAGES[key]})
        return type(name, (_StandIn,), {})


def load(file: Any, /, **options: Any) -> Any:
    """Read one pickle from *file*, as ``pickle.load`` does."""
    return Unpickler(file, **options).load()


def _without_sources(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Drop the source code of modules: PyTorch would look for theirs and compare."""

    def found(key: Any) -> Any:
        is_module = isinstance(key, tuple) and key[:1] == ("module",)
        return find((*key[:2], None, None) if is_module else key)

    return found
