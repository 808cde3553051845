"""
Results of low precision that hold infinities or NaN: found, told, computed again.

All tensors of a result are looked at in one reduction each, and there is one wait for
the device. Only where something is found are the inputs looked at too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final
from warnings import warn
from weakref import WeakKeyDictionary

import numpy as np
import torch

from unfussy._batching import Draws
from unfussy._devices import FLOATS, Place, place_of
from unfussy._drivers import driver_for
from unfussy._inputs import named_inputs, subject_of
from unfussy._method import Method
from unfussy._precision import (
    LOW,
    Autocast,
    OnNonFinite,
    Precision,
    is_any_autocast_enabled,
    to_float32,
)
from unfussy._tree import Tree, tree_paths

__all__ = ["NonFiniteWarning", "guarded", "nonfinite_path"]


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class NonFiniteWarning(RuntimeWarning):
    """Results hold infinities or NaN."""


class _Guard:
    """
    A method that looks at its results, where autocast is on.

    Args:
        fn: The author's function.
        policy: What to do about infinities and NaN.
        method: What is known of it.
    """

    __slots__ = ("_fn", "_method", "_retries", "_told")

    def __init__(
        self, fn: Callable[..., Any], policy: OnNonFinite, method: Method
    ) -> None:
        self._fn, self._method, self._retries = fn, method, policy == "retry"
        self._told = _TOLD.setdefault(fn, set())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method, and again in float32 if that is wanted and may help."""
        subject, module, start = subject_of(args, self._method)
        place = place_of(module, subject)
        if not (is_any_autocast_enabled() and torch.is_autocast_enabled(place.type)):
            return self._fn(*args, **kwargs)
        inputs = named_inputs(args, kwargs, start, self._method)
        # A module that is itself in low precision has no float32 to run in.
        if not self._retries or place.dtype in LOW:
            return self.look(self._fn(*args, **kwargs), inputs)
        rewind = _rewinder(place)
        try:
            with Draws(inputs.values()).undone():
                return self._if_finite(self._fn(*args, **kwargs), inputs)
        except _AgainError:
            rewind()
        # Outside the except block, so that nothing of the first run is alive.
        return self._in_float32(args, kwargs, place)

    def look(self, result: Tree, inputs: Mapping[str, Any] = _NONE) -> Tree:
        """Return *result*, with a warning if it holds infinities or NaN."""
        path = nonfinite_path(result)
        if path is not None and not self._is_excused(path, inputs):
            self._tell(
                f"result{path} of low precision holds infinities or NaN; use "
                "on_nonfinite='retry', keep_fp32 or precision='fp32'"
            )
        return result

    def _if_finite(self, result: Tree, inputs: Mapping[str, Any]) -> Tree:
        path = nonfinite_path(result)
        if path is None or self._is_excused(path, inputs):
            return result
        raise _AgainError

    def _is_excused(self, path: str, inputs: Mapping[str, Any]) -> bool:
        """Tell whether an input is to blame."""
        for name, value in inputs.items():
            within = nonfinite_path(value)
            if within is not None:
                self._tell(
                    f"result{path} holds infinities or NaN, and so does the input "
                    f"{name}{within}, which no precision mends"
                )
                return True
        return False

    def _in_float32(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], place: Place
    ) -> Any:
        with Autocast(place.type, target=False):
            result = self._fn(*to_float32(args), **to_float32(kwargs))
        path = nonfinite_path(result)
        if path is not None:
            self._tell(f"result{path} holds infinities or NaN in float32 too")
        return result

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warn(f"{self._method.name}: {text}", NonFiniteWarning, stacklevel=3)


def guarded(
    fn: Callable[..., Any], precision: Precision | None, method: Method
) -> tuple[Callable[..., Any], Callable[[Tree], Tree]]:
    """Return *fn* as *precision* asks for it, and what looks at single results."""
    if precision is None or not precision.looks:
        return fn, _as_it_is
    guard = _Guard(fn, precision.on_nonfinite, method)
    return (fn if driver_for(fn) else guard), guard.look


def _as_it_is(result: Tree) -> Tree:
    return result


_TOLD: Final[MutableMapping[Callable[..., Any], set[str]]] = WeakKeyDictionary()
"""What has been said of each function, also where options have made a variant."""


class _AgainError(Exception):
    """Raised within, so that generators take back what they gave."""


def _rewinder(place: Place) -> Callable[[], None]:
    """Return what puts PyTorch's own generators back to where they are now."""
    here = torch.get_rng_state()
    device = torch.accelerator.current_accelerator()
    if device is None or device.type != place.type:
        return lambda: torch.set_rng_state(here)
    own = torch.get_device_module(device)
    there = own.get_rng_state()

    def rewind() -> None:
        torch.set_rng_state(here)
        own.set_rng_state(there)

    return rewind


# --- looking -----------------------------------------------------------------------


def nonfinite_path(tree: Tree, /) -> str | None:
    """
    Return where in *tree* the first infinity or NaN is, or None.

    Sparse, quantised and fake tensors are not looked at.

    Examples:
        >>> nonfinite_path({"a": [1.0, torch.tensor([1.0, float("nan")])]})
        "['a'][1]"
    """
    if type(tree) is torch.Tensor:
        return "" if _can_be_looked_at(tree) and not _flag(tree) else None
    flags: dict[torch.device, list[tuple[str, torch.Tensor]]] = {}
    for path, leaf in tree_paths(tree):
        if isinstance(leaf, np.ndarray):
            if leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
                return path
        elif isinstance(leaf, torch.Tensor) and _can_be_looked_at(leaf):
            flags.setdefault(leaf.device, []).append((path, _flag(leaf)))
    for found in flags.values():  # one wait for each device
        finite = torch.stack([flag for _, flag in found]).tolist()
        if not all(finite):
            return found[finite.index(False)][0]
    return None


_PLAIN: Final[Any] = getattr(torch.Tensor, "__torch_dispatch__", None)


def _can_be_looked_at(leaf: torch.Tensor) -> bool:
    return (
        (leaf.dtype in FLOATS or leaf.is_complex())
        and leaf.layout is torch.strided
        and leaf.numel() > 0
        and not leaf.is_meta
        and getattr(type(leaf), "__torch_dispatch__", _PLAIN) is _PLAIN
    )


def _flag(leaf: torch.Tensor) -> torch.Tensor:
    """Return whether all of *leaf* is finite, in one reduction: NaN spreads."""
    leaf = leaf.detach()
    if leaf.is_complex():
        leaf = torch.view_as_real(leaf.resolve_conj())
    return torch.isfinite(torch.stack(torch.aminmax(leaf))).all()
