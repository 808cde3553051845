"""
Fast forms kept beside the modules they are of, as long as these do not change.

Nothing is kept in a module: copies, pickles and state dicts know nothing of it, and a
form goes when its module does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from unfussy.errors import InputValueError
from unfussy.models.gait.fast.building import STRIDES, build_form
from unfussy.models.gait.fast.forms import Form

__all__ = ["Precision", "fast_form", "find_form"]

Precision: TypeAlias = Literal["fp32", "bf16"]

_Mark: TypeAlias = tuple[object, ...]


@dataclass
class _Kept:
    """The forms of a module, by whether they are in bfloat16, and of which weights."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    forms: dict[bool, tuple[_Mark, Form]] = field(default_factory=dict)


_OURS: Final = ("torch.nn.modules.", "unfussy.models.gait.")

_kept: Final[WeakKeyDictionary[nn.Module, _Kept]] = WeakKeyDictionary()
_lock: Final = threading.Lock()


def fast_form(
    source: nn.Module | Mapping[str, Tensor], /, precision: Precision = "fp32"
) -> Form:
    """
    Return the fast form of a model, or of its weights under official keys.

    That of a model is made once, and again when its weights have changed. It is that
    of eval mode, and carries no gradients.

    Args:
        source: A model of the family, or its state dict.
        precision: ``"bf16"`` is faster and errs by up to 1 % of an embedding's length.
            Where the processor has no instructions for it, it means ``"fp32"``: the
            precision of the weights, float32 or finer.

    Raises:
        CheckpointError: If the weights are not of one of the four models.
        InputValueError: If there is no such *precision*.
    """
    if precision not in {"fp32", "bf16"}:
        raise InputValueError(f"precision is 'fp32' or 'bf16', got {precision!r}")
    bf16 = precision == "bf16" and _has_bf16()
    if not isinstance(source, nn.Module):
        return build_form(source, bf16=bf16)
    with _lock:
        kept = _kept.setdefault(source, _Kept())
    with kept.lock:
        mark = _mark(source)
        old, form = kept.forms.get(bf16, (None, None))
        if form is None or old != mark:
            kept.forms.pop(bf16, None)  # two at once would need twice the memory
            strides = getattr(source, "strides", STRIDES)
            form = build_form(source.state_dict(), bf16=bf16, strides=strides)
            kept.forms[bf16] = mark, form
        return form


def find_form(module: nn.Module, frames: Tensor, /) -> Form | None:
    """
    Return the fast form of *module* if it is right for *frames* here and now.

    Else return None: where gradients are wanted, in training mode, on accelerators, in
    half precision, while something is traced or compiled, where hooks or
    parametrizations want to see each layer, and where a layer has a class or a
    ``forward`` of its own. Autocast decides on the precision.
    """
    if not _is_plain(module, frames):
        return None
    bf16 = torch.is_autocast_enabled("cpu")
    if bf16 and torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return None
    return fast_form(module, "bf16" if bf16 else "fp32")


def _is_plain(module: nn.Module, frames: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    weights = list(module.parameters())
    wants_grad = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (frames, *weights)
    )
    return (
        not wants_grad
        and type(frames) is Tensor
        and all(tensor.device.type == "cpu" for tensor in (frames, *weights))
        and all(w.dtype in {torch.float32, torch.float64} for w in weights)
        and not any(map(_is_special, module.modules()))
    )


def _is_special(part: nn.Module) -> bool:
    hooks: Any = (part._forward_hooks, part._forward_pre_hooks)  # noqa: SLF001 - no other way
    if part.training or any(hooks) or is_parametrized(part):
        return True
    # What is somebody else's may do something else with the same weights.
    replaced = vars(part).keys() & {"embed_frames", "forward"}
    return bool(replaced) or not type(part).__module__.startswith(_OURS)


def _mark(module: nn.Module) -> _Mark:
    """Return what changes when the weights that a form copies do."""
    return (
        getattr(module, "strides", None),
        *(
            (name, *_mark_of(tensor))
            for name, tensor in module.state_dict(keep_vars=True).items()
            if not name.startswith("BNNecks") and tensor.is_floating_point()
        ),
    )


def _mark_of(tensor: Tensor) -> _Mark:
    version = None if tensor.is_inference() else tensor._version  # noqa: SLF001 - public in C++ only
    tensor = tensor.detach()
    # What is written through `.data` counts no version, so values are looked at too.
    rows = tensor.reshape(len(tensor), -1).sum(1)
    order = torch.arange(1, len(rows) + 1, dtype=rows.dtype, device=rows.device)
    total = repr((rows * order).sum().item())  # of NaN, too, equal if the same
    pointer = tensor.data_ptr()
    return version, pointer, tuple(tensor.shape), tensor.dtype, tensor.device, total


def _has_bf16() -> bool:
    kinds = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, kind, bool)() for kind in kinds)
