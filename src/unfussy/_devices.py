"""
Where a module lives: its device and its precision, asked anew at every call.

Nothing is cached per module. Moves of a child, replaced children, replicas,
``load_state_dict(assign=True)`` and offloading hooks would each make a cached answer
wrong, and asking the first parameter costs a few hundred nanoseconds.
"""

# ruff: noqa: SLF001 - parameters() of torch costs ten times what its dictionaries do
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch
from torch import nn

from unfussy.errors import PlanError

__all__ = [
    "DEFAULT_DEVICE",
    "FLOATS",
    "Place",
    "anchor",
    "has_own_place",
    "inference_device",
    "inference_dtype",
    "is_ordinary",
    "module_of",
    "place_at",
    "place_of",
]

FLOATS: Final = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_COMPLEX: Final = {torch.float64: torch.complex128}
# The precision that a first tensor of this dtype stands for.
_REAL: Final = {
    **{dtype: dtype for dtype in FLOATS},
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """
    What has to be known of the place where a module runs.

    There is one `Place` for each pair of device and precision, so that places can be
    compared by identity and used as keys.

    Attributes:
        device: Where inputs go; None if the module has no tensors of its own and
            inputs stay where they are.
        dtype: The precision of the module; None if it has none.
        type: The device's type, such as ``"cuda"``.
    """

    device: torch.device | None
    dtype: torch.dtype | None
    type: str

    def real(self) -> torch.dtype:
        """Return the dtype that double-precision numbers take here."""
        return self.dtype or torch.get_default_dtype()

    def complex(self) -> torch.dtype:
        """Return the dtype that double-precision complex numbers take here."""
        return _COMPLEX.get(self.real(), torch.complex64)


_Places: TypeAlias = dict[tuple[torch.device | None, torch.dtype | None], Place]
_PLACES: _Places = {}
_META_PLACES: _Places = {}  # apart, as hooks may know a better place for the module


def place_at(device: torch.device | None, dtype: torch.dtype | None) -> Place:
    """Return the one place for a device and a precision."""
    kind = "cpu" if device is None else device.type
    places = _META_PLACES if kind == "meta" else _PLACES
    return places.setdefault((device, dtype), Place(device, dtype, kind))


# --- the first tensor of a module --------------------------------------------------


def anchor(module: Any, /) -> torch.Tensor | None:
    """
    Return the first parameter of *module*, else its first buffer, else None.

    Its device and dtype are taken for the module's.
    """
    for parameter in module._parameters.values():
        if parameter is not None:
            found: torch.Tensor = parameter
            return found
    first = _first_parameter(module)
    return next(module.buffers(), None) if first is None else first


def _first_parameter(module: Any) -> torch.Tensor | None:
    for child in module._modules.values():
        if child is not None:
            for parameter in child._parameters.values():
                if parameter is not None:
                    return parameter  # type: ignore[no-any-return]
            if (found := _first_parameter(child)) is not None:
                return found
    # Replicas of nn.DataParallel keep their tensors aside.
    for parameter in module.__dict__.get("_former_parameters", {}).values():
        return parameter  # type: ignore[no-any-return]
    return None


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def place_of(module: nn.Module | None, subject: Any = None, /) -> Place:
    """
    Return where *module* lives now.

    A *subject* (the module itself, or an object that holds it) with an
    ``inference_device`` of its own decides the device.
    """
    first = None if module is None else anchor(module)
    if first is not None and is_ordinary(subject):
        place = _PLACES.get((first.device, first.dtype))
        if place is not None:
            return place
    return _find_place(module, subject, first)


def _find_place(
    module: nn.Module | None, subject: Any, first: torch.Tensor | None
) -> Place:
    if has_own_place(subject):
        device = _own_device(subject)
    elif first is None:
        device = None
    elif first.is_meta:
        device = _hook_device(module) or first.device
    else:
        device = first.device
    if first is None:
        return place_at(device, None)
    return place_at(device, _REAL.get(first.dtype) or _first_float(module))


def _first_float(module: nn.Module | None) -> torch.dtype:
    # Quantised weights come first in some modules: they are no precision to follow.
    found = _tensors(module) if module is not None else iter(())
    return next((_REAL[t.dtype] for t in found if t.dtype in _REAL), torch.float32)


def _hook_device(module: Any) -> torch.device | None:
    """Ask Accelerate's hooks: they keep weights on meta and bring them in at a call."""
    for child in module.modules():
        device = _execution_device(child.__dict__.get("_hf_hook"))
        if device is not None:
            return _as_device(device)
    return None


def _execution_device(hook: Any) -> Any:
    device = getattr(hook, "execution_device", None)
    if device is not None:
        return device
    inner = map(_execution_device, getattr(hook, "hooks", ()))
    return next((found for found in inner if found is not None), None)


def _as_device(device: Any) -> torch.device:
    return device if isinstance(device, torch.device) else torch.device(device)


# --- the protocol ------------------------------------------------------------------


def inference_device(module: Any) -> torch.device:
    """
    Return the device that inputs of *module* are moved to.

    That of its first parameter, else of its first buffer, else the CPU. Override the
    property of this name for a module that knows better.
    """
    first = anchor(module)
    if first is None:
        return torch.device("cpu")
    return (_hook_device(module) if first.is_meta else None) or first.device


def inference_dtype(module: Any) -> torch.dtype:
    """Return the precision of *module*: the dtype of its first floating tensor."""
    first = anchor(module)
    if first is None:
        return torch.get_default_dtype()
    return _REAL.get(first.dtype) or _first_float(module)


DEFAULT_DEVICE: Final = property(inference_device)


# Types of modules without an answer of their own, as asking a type is slow.
_ORDINARY: set[type] = set()
_MOST_TYPES: Final = 4096


def is_ordinary(subject: Any, /) -> bool:
    """Tell whether *subject* is a module that lives where its first tensor does."""
    kind = type(subject)
    if kind in _ORDINARY:
        return True
    if not issubclass(kind, nn.Module) or has_own_place(subject):
        return False
    if len(_ORDINARY) >= _MOST_TYPES:
        _ORDINARY.clear()
    _ORDINARY.add(kind)
    return True


def has_own_place(subject: Any, /) -> bool:
    """Tell whether *subject* brings an ``inference_device`` that is not the default."""
    if isinstance(subject, nn.Module):
        own = getattr(type(subject), "inference_device", DEFAULT_DEVICE)
        return own is not DEFAULT_DEVICE
    return not isinstance(subject, type) and hasattr(subject, "inference_device")


def _own_device(subject: Any) -> torch.device | None:
    device = subject.inference_device
    device = device() if callable(device) else device
    return None if device is None else _as_device(device)


def module_of(subject: Any, /) -> nn.Module | None:
    """
    Return the module behind *subject*: itself, or its ``inference_module``.

    Raises:
        PlanError: If ``inference_module`` is something else.
    """
    if isinstance(subject, nn.Module):
        return subject
    if isinstance(subject, type):
        return None
    held = getattr(subject, "inference_module", None)
    if callable(held) and not isinstance(held, (nn.Module, type)):
        held = held()
    if held is None or isinstance(held, nn.Module):
        return held
    kind, got = type(subject).__name__, type(held).__name__
    raise PlanError(f"{kind}.inference_module must be a torch.nn.Module, got a {got}")
