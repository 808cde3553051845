"""
Mixed precision for the length of a call, by policy.

A policy names a precision; what it means depends on where the module lives and on its
own precision, and is worked out once per `Place`. The state is switched through
autocast's own flags, skipped where it already is as wanted, and always put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

import torch
from torch.utils.hooks import RemovableHandle

from unfussy._tree import visit
from unfussy.errors import PlanError

__all__ = [
    "Autocast",
    "OnNonFinite",
    "Precision",
    "PrecisionName",
    "Weights",
    "autocast_for",
    "canonical_precision",
    "is_any_autocast_enabled",
    "kept_in_float32",
    "needs_switch",
    "to_float32",
]

PrecisionName: TypeAlias = Literal["auto", "fp32", "fp16", "bf16", "inherit"]
Weights: TypeAlias = Literal["per_call", "cast_once"]
OnNonFinite: TypeAlias = Literal["ignore", "warn", "retry"]
Target: TypeAlias = torch.dtype | Literal[False] | None
"""What autocast does in a call: a dtype, off, or (None) whatever the caller set."""

LOW: Final = frozenset({torch.float16, torch.bfloat16})
_DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}
_NAMES: Final[dict[object, PrecisionName]] = {
    "auto": "auto",
    "inherit": "inherit",
    "fp32": "fp32",
    "float32": "fp32",
    torch.float32: "fp32",
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    torch.float16: "fp16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    torch.bfloat16: "bf16",
}


def _any_enabled() -> bool:
    kinds = ("cpu", "cuda", "mps", "xpu")
    return any(torch.is_autocast_enabled(kind) for kind in kinds)


is_any_autocast_enabled: Callable[[], bool] = getattr(
    torch._C,  # noqa: SLF001 - one question for all kinds of devices
    "_is_any_autocast_enabled",
    _any_enabled,
)


@dataclass(frozen=True, slots=True)
class Precision:
    """
    The precision of a call: the plan's entry of ``@autocast_policy``.

    Attributes:
        precision: The policy's canonical name.
        outputs: Whether results that autocast left in low precision come back as
            ``"float32"``, or are kept.
        keep_fp32: Names of submodules that run in float32 all the same.
        weights: Whether weights are cast in every call, or a copy is kept.
        on_nonfinite: What becomes of results that hold infinities or NaN.
    """

    precision: PrecisionName = "auto"
    outputs: Literal["float32", "keep"] = "float32"
    keep_fp32: tuple[str, ...] = ()
    weights: Weights = "per_call"
    on_nonfinite: OnNonFinite = "ignore"

    @property
    def looks(self) -> bool:
        """Whether results are looked at."""
        return self.on_nonfinite != "ignore"


def canonical_precision(name: object, /) -> PrecisionName:
    """
    Return the short name of a precision: ``"bfloat16"`` is ``"bf16"``.

    Raises:
        PlanError: If there is no such precision.
    """
    try:
        return _NAMES[name]
    except (KeyError, TypeError):
        raise PlanError(
            f"precision is one of 'auto', 'fp32', 'fp16', 'bf16', 'inherit' or a "
            f"torch dtype, got {name!r}"
        ) from None


def autocast_for(
    precision: PrecisionName, kind: str, dtype: torch.dtype | None
) -> Target:
    """
    Work out what *precision* means for a module on a *kind* of device.

    Args:
        precision: The policy.
        kind: The device's type.
        dtype: The module's own precision, or None if it has none.
    """
    if precision == "inherit" or not torch.amp.is_autocast_available(kind):
        return None
    if precision == "fp32":
        return False
    if dtype is torch.float64:
        return None
    if precision != "auto":
        return _DTYPES[precision]
    return _best_cuda_dtype() if kind == "cuda" and dtype is torch.float32 else None


def _best_cuda_dtype() -> torch.dtype:
    if not torch.cuda.is_available():  # a fake device, in a test
        return torch.bfloat16
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def needs_switch(target: Target, kind: str, *, automatic: bool) -> bool:
    """
    Tell whether autocast's state differs from *target*.

    An *automatic* choice gives way to one that the caller made.
    """
    if target is None:
        return False
    enabled = is_any_autocast_enabled() and torch.is_autocast_enabled(kind)
    if target is False:
        return enabled
    return not (enabled and (automatic or torch.get_autocast_dtype(kind) is target))


# Autocast's cache of weights is one for all threads, and knows no dtypes: threads that
# cast to another one than those before them do without.
_RUNNING: Final[dict[int, torch.dtype]] = {}
"""What autocast casts to, by the thread."""


# Looked up in torch, they would cost a tenth more.
_is_enabled: Final = torch.is_autocast_enabled
_enable: Final = torch.set_autocast_enabled
_dtype_of: Final = torch.get_autocast_dtype
_set_dtype: Final = torch.set_autocast_dtype
_enter: Final = torch.autocast_increment_nesting
_leave: Final = torch.autocast_decrement_nesting
_clear: Final = torch.clear_autocast_cache


class Autocast:
    """``torch.autocast`` as a context, at a third of its price; not re-entrant."""

    __slots__ = ("_around", "_before", "_caches", "_kind", "_target")

    def __init__(self, kind: str, target: torch.dtype | Literal[False]) -> None:
        self._kind = kind
        self._target: torch.dtype | Literal[False] = target

    def __enter__(self) -> None:
        """Switch autocast in this thread."""
        kind, target = self._kind, self._target
        self._before = _is_enabled(kind), _dtype_of(kind)
        _enable(kind, target is not False)
        if target is not False:
            thread, self._caches = get_ident(), False
            self._around = _RUNNING.get(thread)
            _RUNNING[thread] = target  # before looking, so that one of two sees it
            if len(_RUNNING) > 1:
                self._step_aside(target)
            if target is not self._before[1]:
                # Weights that an outer autocast has cast are kept without their dtype.
                _clear()
                _set_dtype(kind, target)
        _enter()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put autocast back, and drop the cast weights that nobody can use."""
        kind, (enabled, dtype) = self._kind, self._before
        _enable(kind, enabled)
        switched = self._target is not False and self._target is not dtype
        if self._target is not False:
            if self._around is None:
                del _RUNNING[get_ident()]
            else:
                _RUNNING[get_ident()] = self._around
            if self._caches:
                torch.set_autocast_cache_enabled(True)
        if switched:
            _set_dtype(kind, dtype)
        if _leave() == 0 or switched:
            _clear()

    def _step_aside(self, target: torch.dtype) -> None:
        if any(dtype is not target for dtype in list(_RUNNING.values())):
            self._caches = torch.is_autocast_cache_enabled()
            torch.set_autocast_cache_enabled(False)


def to_float32(tree: Any, /) -> Any:
    """Return *tree* with every float16 and bfloat16 tensor as float32."""
    if type(tree) is torch.Tensor:
        return tree.float() if tree.dtype in LOW else tree
    casts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def cast(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.dtype not in LOW:
            return leaf
        if id(leaf) not in casts:  # the leaf too: its id must stay taken
            casts[id(leaf)] = leaf, leaf.float()
        return casts[id(leaf)][1]

    return visit(tree, cast)


@contextmanager
def kept_in_float32(module: Any, names: tuple[str, ...], kind: str) -> Iterator[None]:
    """
    Run the submodules of *module* called *names* with autocast off, in this call.

    Raises:
        PlanError: If *module* has no such submodule.
    """
    parts = [_submodule(module, name) for name in names]
    with ExitStack() as stack:
        for part in parts:
            guard = _Float32Guard(kind)
            stack.callback(guard.close)
            guard.attach(part)
        yield


def _submodule(module: Any, name: str) -> torch.nn.Module:
    try:
        part: torch.nn.Module = module.get_submodule(name)
    except AttributeError as error:
        raise PlanError(
            f"keep_fp32 names {name!r}, which {type(module).__name__} does not have"
        ) from error
    return part


class _Float32Guard:
    """Hooks that switch autocast off while one submodule runs in this thread."""

    __slots__ = ("_handles", "_kind", "_open", "_thread")

    def __init__(self, kind: str) -> None:
        self._kind, self._thread = kind, get_ident()
        self._open: list[Autocast | None] = []
        self._handles: list[RemovableHandle] = []

    def attach(self, part: torch.nn.Module) -> None:
        """Put the hooks on *part*."""
        enter, leave = self._enter, self._leave
        self._handles += [part.register_forward_pre_hook(enter, with_kwargs=True)]
        self._handles += [part.register_forward_hook(leave, always_call=True)]

    def close(self) -> None:
        """Take the hooks off, and end what an interrupted call left open."""
        for handle in self._handles:
            handle.remove()
        while self._open:
            self._end()

    # Another thread that sees the hook while it is put on or taken off gives no kwargs.
    def _enter(self, part: torch.nn.Module, args: Any, kwargs: Any = None) -> Any:  # noqa: ARG002
        if get_ident() != self._thread:  # another thread's call
            return None
        # Where autocast is off, weights and inputs have one precision already.
        if not torch.is_autocast_enabled(self._kind):
            self._open.append(None)
            return None
        off = Autocast(self._kind, target=False)
        off.__enter__()
        self._open.append(off)
        return to_float32(args), to_float32(kwargs)

    def _leave(self, part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ARG002
        if get_ident() == self._thread and self._open:
            self._end()

    def _end(self) -> None:
        context = self._open.pop()
        if context is not None:
            context.__exit__(None, None, None)
