"""
The inputs of one call: found among its arguments, read, converted, moved and cut.

Everything that goes wrong with an input is raised here, and so every error names the
method and the argument's path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from unfussy._arrays import is_picture
from unfussy._devices import Place, has_own_place, module_of, place_at
from unfussy._method import Method
from unfussy._moving import (
    LeafMover,
    Move,
    Moved,
    Mover,
    make_leaf_mover,
    make_mover,
)
from unfussy._nodes import LEAVES
from unfussy._tree import node_for, pop_path
from unfussy.errors import InputTypeError, InputValueError, PlanError, TreeError

__all__ = [
    "INPUT_ERRORS",
    "Arguments",
    "InputReader",
    "apply_to_arguments",
    "check_subject",
    "describe_item",
    "named_inputs",
    "subject_first",
    "subject_of",
]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
INPUT_ERRORS: Final = (InputTypeError, InputValueError, TreeError)
_NOTHING: Final[frozenset[str]] = frozenset()
_KINDS: Final = frozenset(LEAVES)
_VALUES: Final = (
    *LEAVES,
    *(str, bytes, int, float, complex, set, frozenset, range, slice, np.generic),
    *(torch.Size, torch.dtype, torch.device, type(None)),
)


def subject_first(
    args: tuple[Any, ...], kwargs: dict[str, Any], method: Method
) -> Arguments:
    """Return the arguments with the first one by position, however it was given."""
    if args or method.first is None or method.first not in kwargs:
        return args, kwargs
    rest = dict(kwargs)
    return (rest.pop(method.first),), rest


def subject_of(
    args: tuple[Any, ...], method: Method
) -> tuple[Any, nn.Module | None, int]:
    """
    Return what is called on, the module behind it, and where the inputs begin.

    The first argument is the module, an object that holds one, a class (of a class
    method), or already an input (of a static method).

    Raises:
        PlanError: If its ``inference_module`` is no module.
    """
    if not args:
        return None, None, 0
    first = args[0]
    if isinstance(first, nn.Module):
        return first, first, 1
    if isinstance(first, type):
        return first, None, 1
    if hasattr(first, "inference_module") or has_own_place(first):
        return first, module_of(first), 1
    if method.label(0) != "self" and _is_input(first):
        return None, None, 0
    return first, None, 1


def _is_input(value: object) -> bool:
    return (
        isinstance(value, _VALUES)
        or node_for(type(value)) is not None
        or is_picture(value)
    )


def check_subject(subject: Any, method: Method) -> None:
    """
    Refuse an object of which nobody can tell where its inputs should go.

    Raises:
        PlanError: If *subject* neither is a module nor says which it holds.
    """
    if subject is None or isinstance(subject, (nn.Module, type)):
        return
    if hasattr(subject, "inference_module") or has_own_place(subject):
        return
    kind = type(subject).__name__
    raise PlanError(
        f"{method.name}: cannot tell where {kind} runs; pass a module first, or give "
        f"{kind} an attribute or property `inference_module` that returns the module "
        "it holds, or `inference_device`"
    )


class InputReader:
    """
    Converts and moves inputs as one `Move` says, with errors that name them.

    Args:
        move: What is done.
        method: The method.
        rows: Whether the rows of a list of numbers may differ in length.

    Attributes:
        reads: Whether some parameters take lists of numbers, or pictures.
    """

    __slots__ = ("_at", "_method", "_move", "_movers", "_rows", "_skip", "reads")

    def __init__(self, move: Move, method: Method, *, rows: bool = False) -> None:
        self._move, self._method, self._rows = move, method, rows
        self._skip = frozenset(move.skip)
        self.reads = not self._skip.issuperset(method.declared)
        self._movers: dict[Place, Mover] = {}
        self._at: dict[tuple[torch.device, torch.dtype], tuple[LeafMover, Mover]] = {}

    def mover(self, place: Place) -> Mover:
        """Return the function that brings one tree to *place*."""
        if (mover := self._movers.get(place)) is None:
            mover = self._movers[place] = make_mover(self._move, place)
        return mover

    def bring(self, value: Any, device: torch.device, dtype: torch.dtype) -> Any:
        """Return the one input of a common call where the module lives."""
        movers = self._at.get((device, dtype))
        if movers is None:
            place = place_at(device, dtype)
            movers = make_leaf_mover(self._move, place), self.mover(place)
            self._at[device, dtype] = movers
        leaf, mover = movers
        try:
            return leaf(value) if type(value) in _KINDS else mover(value, {})
        except INPUT_ERRORS as error:
            raise _located(error, self._method, self._method.label(1)) from None

    def read(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], start: int
    ) -> Arguments:
        """Return the arguments with numbers as arrays and pictures as tensors."""

        def read(label: str, value: Any) -> Any:
            if self.skips(label):
                return value
            return self._method.read(label, value, rows=self._rows)

        return self._apply(read, args, kwargs, start)

    def move(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        start: int,
        place: Place,
        leave: frozenset[str] = _NOTHING,
    ) -> Arguments:
        """Return the arguments at *place*, but for those called *leave*."""
        mover: Mover = self.mover(place)
        moved: Moved = {}
        try:
            if not self._skip and not leave:
                positional = [mover(x, moved) for x in args[start:]]
                named = {name: mover(x, moved) for name, x in kwargs.items()}
                return (*args[:start], *positional), named
        except INPUT_ERRORS:
            moved.clear()  # and once more, to find out which argument it is

        def bring(label: str, value: Any) -> Any:
            if label in leave or self.skips(label):
                return value
            return mover(value, moved)

        return self._apply(bring, args, kwargs, start)

    def skips(self, label: str) -> bool:
        """Tell whether the argument called *label* is left alone."""
        return label in self._skip or self._method.parameter_of(label) in self._skip

    def _apply(
        self,
        fn: Callable[[str, Any], Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        start: int,
    ) -> Arguments:
        method, label, new, named = self._method, "", list(args), {}
        try:
            for i in range(start, len(args)):
                label = method.label(i)
                new[i] = fn(label, args[i])
            for label, value in kwargs.items():
                named[label] = fn(label, value)
        except INPUT_ERRORS as error:
            raise _located(error, method, label) from error.__cause__
        return tuple(new), named


def _located(error: Exception, method: Method, label: str) -> Exception:
    path = label + pop_path(error)
    error.args = (f"{method.name}: argument {path}: {error}",)
    return error


def named_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any], start: int, method: Method
) -> dict[str, Any]:
    """Return the inputs of a call by the names of their parameters."""
    positional = {method.label(i): args[i] for i in range(start, len(args))}
    return {**positional, **kwargs}


def apply_to_arguments(
    fn: Callable[[str, Any], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    method: Method,
) -> Arguments:
    """Return the arguments, each as *fn* of its label and itself says."""
    positional = tuple(fn(method.label(i), value) for i, value in enumerate(args))
    return positional, {name: fn(name, value) for name, value in kwargs.items()}


def describe_item(inputs: Mapping[str, Any], names: frozenset[str], i: int) -> str:
    """Tell what item *i* of the batch looks like."""
    return ", ".join(f"{name}: {_describe(inputs[name], i)}" for name in sorted(names))


def _describe(value: Any, i: int) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"{tuple(value.shape[1:])} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list):
        item = value[i]
        shape = getattr(item, "shape", None)
        return type(item).__name__ if shape is None else f"{tuple(shape)}"
    return type(value).__name__
