"""
The awkward inputs that people do pass, with what becomes of each.

Parametrise a test of a method with `AWKWARD_INPUTS` to see that it takes what it can
and refuses the rest with an error that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import torch

__all__ = ["AWKWARD_INPUTS", "AwkwardInput"]


@dataclass(frozen=True, slots=True)
class AwkwardInput:
    """
    An input of an awkward kind.

    Attributes:
        make: Makes one; those that are arrays of numbers have shape ``(2, 3)``.
        becomes: What a method under `auto_device` is given: a ``"tensor"``, the
            ``"same"`` object, or nothing, because it is ``"refused"``.
        nested: The same for one that stands in a container.
    """

    make: Callable[[], Any]
    becomes: Literal["tensor", "same", "refused"]
    nested: Literal["tensor", "same", "refused"]


def _tensor(make: Callable[[], Any]) -> AwkwardInput:
    return AwkwardInput(make, "tensor", "tensor")


def _same(make: Callable[[], Any]) -> AwkwardInput:
    return AwkwardInput(make, "same", "same")


def _refused(make: Callable[[], Any]) -> AwkwardInput:
    return AwkwardInput(make, "refused", "refused")


def _label(make: Callable[[], Any]) -> AwkwardInput:
    return AwkwardInput(make, "refused", "same")


def _numbers(dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.arange(6).reshape(2, 3).astype(dtype)


def _read_only() -> np.ndarray[Any, Any]:
    array = _numbers()
    array.flags.writeable = False
    return array


def _packed() -> np.ndarray[Any, Any]:
    records = np.zeros((2, 3), [("flag", "i1"), ("value", "f4")])
    return records["value"]


AWKWARD_INPUTS: Final[Mapping[str, AwkwardInput]] = MappingProxyType(
    {
        "read-only array": _tensor(_read_only),
        "array of bytes received": _tensor(
            lambda: np.frombuffer(_numbers().tobytes(), np.float32).reshape(2, 3)
        ),
        "broadcast array": _tensor(lambda: np.broadcast_to(np.arange(3.0), (2, 3))),
        "mirrored array": _tensor(lambda: _numbers()[:, ::-1]),
        "array in Fortran order": _tensor(lambda: np.asfortranarray(_numbers())),
        "array in the other byte order": _tensor(
            lambda: _numbers(np.dtype(np.float32).newbyteorder("S"))
        ),
        "field of packed records": _tensor(_packed),
        "array of long doubles": _tensor(lambda: _numbers(np.longdouble)),
        "array of doubles": _tensor(lambda: _numbers(np.float64)),
        "array of uint16": _tensor(lambda: _numbers(np.uint16)),
        "array of ulonglong": _tensor(lambda: _numbers(np.ulonglong)),
        "array of no dimensions": _tensor(lambda: np.array(1.5)),
        "empty array": _tensor(lambda: np.zeros((0, 3))),
        "array of strings": _label(lambda: np.array(["a", "b"])),
        "array of bytes": _label(lambda: np.array([b"a", b"b"])),
        "array of dates": _label(lambda: np.array(["2020-01-01"], "M8[D]")),
        "array of durations": _label(lambda: np.array([1], "m8[s]")),
        "array of objects": _refused(lambda: np.array([None, "a"])),
        "array of arrays": _refused(lambda: np.array([_numbers(), [1]], dtype=object)),
        "structured array": _refused(lambda: np.zeros(2, [("x", "f4"), ("y", "f4")])),
        "array of raw memory": _refused(lambda: np.zeros(2, "V3")),
        "masked array": _refused(lambda: np.ma.masked_less(_numbers(), 1)),
        "number of NumPy": _same(lambda: np.float64(2)),
        "image size": _same(lambda: (224, 224)),
        "list of words": _same(lambda: ["a", "b"]),
        "empty list": _same(list),
        "range": _same(lambda: range(3)),
        "bytes": _same(lambda: b"ab"),
        "set": _same(lambda: {1, 2}),
        "generator": _same(lambda: (i for i in range(2))),
        "decimal number": _same(lambda: Decimal("1.5")),
        "torch.Size": _same(lambda: torch.Size([2, 3])),
        "None": _same(lambda: None),
    }
)
"""Inputs that trouble most code, by name."""
