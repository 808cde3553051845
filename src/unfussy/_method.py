"""
What is known of a function once it is decorated: its name and its parameters.

Parameters annotated as `TensorLike`, `ImageLike` or a tensor take lists of numbers
too, those annotated as `ImageLike` pictures; for all others a list of numbers may be
a size or a set of labels, and is left alone.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    MutableSequence,
    Sequence,
)
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import torch

from unfussy._arrays import (
    array_from_numbers,
    from_picture,
    is_numbers,
    is_picture,
)
from unfussy._tree import too_deep
from unfussy._types import IMAGE, TENSOR

__all__ = ["Method"]

_NAMES: Final = {"TensorLike": TENSOR, "ImageLike": IMAGE, "Tensor": TENSOR}
_LEGACY: Final = type(torch.FloatTensor)  # and of LongTensor, which are no subclasses
_LISTS: Final = re.compile(r"(?:\w+\.)*(?:list|List|Sequence|Iterable|Collection)\b")
_LIST_TYPES: Final = (list, Sequence, Iterable, Collection, MutableSequence)
_OPTIONS: Final = re.compile(r"(?:\w+\.)*(?:Optional|Union)\[(.*)\]")


class Method:
    """
    A function's name and parameters.

    Attributes:
        name: How errors call it.
        declared: The names of parameters that are meant as tensors or pictures.
        first: The name of the first parameter, if that can be given by name.
        only: The name of the one behind it, if that can be given either way.
    """

    __slots__ = (
        "_lists",
        "_named",
        "_optional",
        "_positional",
        "_rest",
        "declared",
        "first",
        "name",
        "only",
    )

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.name = _short_name(fn)
        parameters = _parameters(fn)
        self._positional = [p.name for p in parameters if p.kind in _POSITIONAL]
        self._named = frozenset(p.name for p in parameters if p.kind not in _VARIADIC)
        self._rest = {p.kind: p.name for p in parameters if p.kind in _VARIADIC}
        self.first, self.only = (_either_way(parameters[i : i + 1]) for i in (0, 1))
        self._optional = frozenset(p.name for p in parameters if p.default is None)
        self._lists = frozenset(p.name for p in parameters if _is_list(p.annotation))
        marks = {p.name: _mark(p.annotation, fn) for p in parameters}
        self.declared = {name: mark for name, mark in marks.items() if mark}

    def label(self, i: int) -> str:
        """Return what the positional argument number *i* is called."""
        if i < len(self._positional):
            return self._positional[i]
        rest = self._rest.get(inspect.Parameter.VAR_POSITIONAL, "args")
        return f"{rest}[{i - len(self._positional)}]"

    def is_optional(self, name: str) -> bool:
        """Tell whether None is the default of a parameter."""
        return name in self._optional

    def takes_list(self, i: int) -> bool:
        """Tell whether the parameter number *i* is annotated as a list."""
        return i < len(self._positional) and self._positional[i] in self._lists

    def parameter_of(self, label: str) -> str:
        """Return the parameter that takes the argument called *label*."""
        name, is_item, _ = label.partition("[")
        if is_item or name in self._named:
            return name
        return self._rest.get(inspect.Parameter.VAR_KEYWORD, name)

    def read(self, label: str, value: Any, *, rows: bool = False) -> Any:
        """
        Return *value* with numbers as arrays and pictures as tensors, where declared.

        Args:
            label: The argument's name.
            value: The argument.
            rows: Whether the rows of a list of numbers may differ in length, and
                become a list of arrays then.

        Raises:
            InputTypeError: If a list holds numbers and something else.
            InputValueError: If the rows of a list of numbers differ in length, or a
                picture cannot be read.
            TreeError: If a list holds itself.
        """
        if (mark := self.declared.get(self.parameter_of(label))) is None:
            return value
        try:
            if rows and _has_uneven_rows(value):
                return [array_from_numbers(row) for row in value]
            return _read(value, pictures=mark == IMAGE)
        except RecursionError as error:
            raise too_deep(value) from error


_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_VARIADIC: Final = (
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
)


def _short_name(fn: Callable[..., Any]) -> str:
    qualified = getattr(fn, "__qualname__", None) or type(fn).__name__
    return f"{qualified.rpartition('<locals>.')[2]}()"


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have none
        return []


def _either_way(parameters: list[inspect.Parameter]) -> str | None:
    return next((p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD), None)


def _has_uneven_rows(value: Any) -> bool:
    if type(value) is not list or not is_numbers(value):
        return False
    rows = all(type(row) in (list, tuple) for row in value)
    return rows and len({len(row) for row in value}) > 1


def _read(value: Any, *, pictures: bool) -> Any:
    if is_numbers(value):
        return array_from_numbers(value)
    if pictures and is_picture(value):
        return from_picture(value)
    if type(value) in (list, tuple):
        items = [_read(item, pictures=pictures) for item in value]
        same = all(map(operator.is_, items, value))
        return value if same else type(value)(items)
    if type(value) is dict:
        read = {key: _read(item, pictures=pictures) for key, item in value.items()}
        same = all(read[key] is item for key, item in value.items())
        return value if same else read
    return value


def _mark(annotation: Any, fn: Callable[..., Any]) -> str | None:
    """Return what an annotation says an argument is meant as, or None."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, fn)
    if isinstance(annotation, str):
        return _widest(map(_mark_of_name, _parts(annotation)))
    annotation = getattr(annotation, "__value__", annotation)  # of a `type` statement
    if get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        return _widest(filter(_is_mark, marks)) or _mark(kind, fn)
    if get_origin(annotation) in (Union, UnionType):
        return _widest(_mark(part, fn) for part in get_args(annotation))
    if isinstance(annotation, _LEGACY):
        return TENSOR
    is_tensor = isinstance(annotation, type) and issubclass(annotation, torch.Tensor)
    return TENSOR if is_tensor else None


def _widest(marks: Iterable[str | None]) -> str | None:
    found = set(marks)
    return next((mark for mark in (IMAGE, TENSOR) if mark in found), None)


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and value in (IMAGE, TENSOR)


def _is_list(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return _LISTS.match(annotation) is not None
    origin = get_origin(annotation) or annotation
    return origin in _LIST_TYPES


def _parts(text: str) -> list[str]:
    """Split what could not be evaluated: ``"Optional[x.A]"``, ``"A | B"``."""
    wrapped = _OPTIONS.fullmatch(text)
    return re.split(r"[|,]", text if wrapped is None else wrapped[1])


def _mark_of_name(name: str) -> str | None:
    return _NAMES.get(name.strip().rpartition(".")[2])


def _evaluated(text: str, fn: Callable[..., Any]) -> Any:
    try:
        return eval(text, getattr(fn, "__globals__", {}))  # noqa: S307 - author's own
    except Exception:  # noqa: BLE001 - names for type checkers only, or not yet there
        return text
