"""
Weights cast once: calls in which functions get kept copies for the casts of autocast.

While a call runs, weights are swapped on their way into the functions that autocast
would give a cast of them; the module itself is never touched. What a copy is and how
long it is good `_low_copies` knows, and which functions are meant `_lowered`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

import torch
from torch import nn
from torch._C._functorch import peek_interpreter_stack
from torch.overrides import TorchFunctionMode

from unfussy._low_copies import Kept, Store, may_be_kept, store_of
from unfussy._lowered import LOWERED, Replace, is_lowered

__all__ = ["CastOnce"]


class CastOnce:
    """
    A context in which the weights of *module* are cast once; not re-entrant.

    It does nothing where gradients are wanted or where a program is recorded.

    Args:
        module: The module.
        kind: The kind of device that autocast is on for.
        method: The name of the method; its first call decides whether this pays.
    """

    __slots__ = ("_kind", "_method", "_mode", "_module")

    def __init__(self, module: nn.Module, kind: str, method: str) -> None:
        self._module, self._kind, self._method = module, kind, method
        self._mode: _Swapping | None = None

    def __enter__(self) -> None:
        """Swap weights in this thread from now on."""
        if torch.is_grad_enabled():
            return
        store = store_of(self._module)
        verdict = store.verdicts.get(self._method)
        if verdict is False or _is_recorded() or _sees_modes(self._module, self._kind):
            return
        self._mode = (_Learning if verdict is None else _Swapping)(store, self._kind)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give weights as they are again."""
        mode, self._mode = self._mode, None
        if mode is None:
            return
        mode.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if isinstance(mode, _Learning) and error is None:
            mode.decide(self._method)


def _is_recorded() -> bool:
    return bool(torch.jit.is_tracing()) or any(  # type: ignore[attr-defined, no-untyped-call]
        torch._C._get_dispatch_mode(mode) is not None  # noqa: SLF001
        for mode in _RECORDERS
    )


_RECORDERS: Final = (
    torch._C._TorchDispatchModeKey.FAKE,  # noqa: SLF001 - tensors without values
    torch._C._TorchDispatchModeKey.PROXY,  # noqa: SLF001 - of make_fx
)


def _sees_modes(module: nn.Module, kind: str) -> bool:
    """
    Tell whether some part of *module* would run otherwise, or be compiled anew.

    Attention has a fast path, which it leaves where functions are watched. On CUDA
    autocast closes that path by itself.
    """
    parts, seen, quick = [module], {id(module)}, kind != "cuda"
    for part in parts:
        children = part._modules  # noqa: SLF001 - modules() costs ten times as much
        if part._compiled_call_impl is not None or "_orig_mod" in children:  # noqa: SLF001
            return True
        if quick and isinstance(part, nn.MultiheadAttention) and part.batch_first:
            return True
        for child in children.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                parts.append(child)
    return False


# --- swapping ----------------------------------------------------------------------

_REPLACES: Final[dict[tuple[str, torch.dtype], dict[Any, Replace | None]]] = {}
"""What was found out of the functions, by the kind of device and the dtype."""


class _Swapping(TorchFunctionMode):
    """Gives functions the copies of one module's weights, in one call."""

    def __init__(self, store: Store, kind: str) -> None:
        super().__init__()
        self._store, self._kind = store, kind
        self._weights: dict[int, nn.Parameter] | None = None
        self._dtype: torch.dtype | None = None
        self._copies: dict[int, Kept] = {}
        self._replaces: dict[Any, Replace | None] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call *func*, with copies of its weights where autocast casts them."""
        if func in LOWERED and self._is_on():
            replaces = self._replaces
            replace = replaces[func] if func in replaces else self._find_out(func)
            if replace is not None:
                args, kwargs = replace(args, kwargs or {}, self.swap)
        return func(*args, **kwargs) if kwargs else func(*args)

    def _is_on(self) -> bool:
        kind = self._kind
        if (
            torch.compiler.is_dynamo_compiling()
            or torch.is_grad_enabled()
            or not torch.is_autocast_enabled(kind)
            or peek_interpreter_stack() is not None  # under vmap there is no autocast
        ):
            return False
        dtype = torch.get_autocast_dtype(kind)
        if dtype is not self._dtype:
            self._dtype = dtype
            self._copies = self._store.copies.setdefault(dtype, {})
            self._replaces = _REPLACES.setdefault((kind, dtype), {})
        return True

    def _find_out(self, func: Any) -> Replace | None:
        assert self._dtype is not None  # noqa: S101 - set by _is_on
        device = torch.device(self._kind)
        casts = is_lowered(func, device, self._dtype)
        self._replaces[func] = found = LOWERED[func].replace if casts else None
        return found

    def swap(self, weight: nn.Parameter) -> torch.Tensor:
        """Return the copy of *weight*, or itself where none may be kept."""
        kept = self._copies.get(id(weight))
        try:
            if kept is not None and kept.fits(weight):
                return kept.low
        except RuntimeError:  # an inference tensor by now: it has no version
            return weight
        return self._cast(weight)

    def _cast(self, weight: nn.Parameter) -> torch.Tensor:
        if self._weights is None:
            self._weights = self._store.weights()
        own = self._weights.get(id(weight)) is weight
        if not own or not may_be_kept(weight) or weight.device.type != self._kind:
            return weight
        if weight.is_cuda and torch.cuda.is_current_stream_capturing():
            return weight
        assert self._dtype is not None  # noqa: S101 - set by _is_on
        return self._store.keep(weight, self._dtype)


# Nanoseconds, with what is saved on the low side: of a cast, of one of its elements;
# of a function that is watched, and of asking whether a copy still fits.
_SAVED_NS: Final = {"cpu": (1_500.0, 0.05)}
_SAVED_ELSEWHERE_NS: Final = 5_000.0, 0.002
_WATCH_NS: Final = 2_000.0
_USE_NS: Final = 1_200.0


class _Learning(_Swapping):
    """Finds out besides whether the casts that are saved are worth the trouble."""

    def __init__(self, store: Store, kind: str) -> None:
        super().__init__(store, kind)
        self._cost = self._gain = 0.0
        self._shared: set[int] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call *func* as any other call does, and count."""
        self._cost += _WATCH_NS
        return super().__torch_function__(func, types, args, kwargs)

    def swap(self, weight: nn.Parameter) -> torch.Tensor:
        """Return the copy of *weight*, and count what that saves."""
        low = super().swap(weight)
        self._cost += _USE_NS
        shares = weight.requires_grad and not torch.is_inference_mode_enabled()
        if low is weight or (shares and id(weight) in self._shared):
            return low  # autocast itself would cast a shared one once for the call
        self._shared.add(id(weight))
        cast, element = _SAVED_NS.get(self._kind, _SAVED_ELSEWHERE_NS)
        self._gain += cast + weight.numel() * element
        return low

    def decide(self, method: str) -> None:
        """Settle for all calls of *method* whether its weights are kept."""
        if not self._shared:  # nothing was cast: there may have been no items
            return
        store = self._store
        store.verdicts[method] = self._gain > self._cost
        if not any(store.verdicts.values()):
            store.copies.clear()
