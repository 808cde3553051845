"""
How far results are from a reference: the worst relative error of any leaf.

The error of a tensor is the L2 norm of the difference, divided by that of the
reference. What is no floating number has to be equal: containers, types, dtypes,
shapes, integers, booleans, and the places of what is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import torch

from unfussy._tree import node_for, step

__all__ = ["Deviation", "deviation_of"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """
    How far one result is from another.

    Attributes:
        value: The worst relative error; infinite where the two cannot be compared.
        reason: Where they cannot be compared, and why; empty if they can.
    """

    value: float
    reason: str = ""

    def __str__(self) -> str:
        return self.reason or f"{self.value:.1e}"


def deviation_of(result: Any, reference: Any, /) -> Deviation:
    """
    Return how far *result* is from *reference*, both trees.

    Examples:
        >>> print(deviation_of([torch.tensor([3.0, 4.4])], [torch.tensor([3.0, 4.0])]))
        8.0e-02
        >>> print(deviation_of([1, 2], [1, 3]))
        result[1]: 2 instead of 3
    """
    return _compare(result, reference, "result")


def _compare(result: Any, reference: Any, path: str) -> Deviation:
    kind = type(reference)
    if type(result) is not kind:
        return _differs(path, type(result).__name__, kind.__name__)
    if (node := node_for(kind)) is None:
        return _compare_leaves(result, reference, path)
    mine, theirs = dict(node.children(result)), dict(node.children(reference))
    if list(mine) != list(theirs):
        return _differs(path, f"keys {list(mine)}", f"{list(theirs)}")
    parts = [
        _compare(mine[key], theirs[key], f"{path}{step(node, key)}") for key in theirs
    ]
    return _worst(parts)


def _worst(parts: Sequence[Deviation]) -> Deviation:
    return max(parts, key=lambda part: part.value, default=Deviation(0.0))


def _compare_leaves(result: Any, reference: Any, path: str) -> Deviation:
    if isinstance(reference, torch.Tensor):
        return _compare_tensors(result, reference, path)
    if isinstance(reference, (np.ndarray, np.generic)):
        return _compare_arrays(np.asarray(result), np.asarray(reference), path)
    if isinstance(reference, (float, complex)):
        return _compare_numbers(torch.tensor(result), torch.tensor(reference), path)
    try:
        equal = bool(result == reference)
    except Exception:  # noqa: BLE001 - whatever an object of the user's says to it
        equal = False
    return Deviation(0.0) if equal else _differs(path, f"{result!r}", f"{reference!r}")


def _compare_arrays(result: Any, reference: Any, path: str) -> Deviation:
    came, wanted = (f"{x.dtype} {x.shape}" for x in (result, reference))
    if came != wanted:
        return _differs(path, came, wanted)
    if reference.dtype.kind not in "fc":
        equal = np.array_equal(result, reference)
        return Deviation(0.0) if equal else _differs(path, "other values", "equal ones")
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    mine, theirs = (torch.from_numpy(x.astype(wide)) for x in (result, reference))
    return _compare_numbers(mine, theirs, path)


def _compare_tensors(
    result: torch.Tensor, reference: torch.Tensor, path: str
) -> Deviation:
    mine, theirs = _describe(result), _describe(reference)
    if mine != theirs:
        return _differs(path, mine, theirs)
    result, reference = _dense(result), _dense(reference)
    if result.shape != reference.shape:
        return _differs(path, f"{tuple(result.shape)}", f"{tuple(reference.shape)}")
    if reference.is_floating_point() or reference.is_complex():
        return _compare_numbers(result, reference, path)
    equal = torch.equal(result, reference)
    return Deviation(0.0) if equal else _differs(path, "other values", "equal ones")


def _describe(x: torch.Tensor) -> str:
    shape = "" if x.is_nested else f" {tuple(x.shape)}"
    layout = "" if x.layout == torch.strided else f" {x.layout}"
    return f"{x.dtype}{shape} on {x.device}{layout}".removeprefix("torch.")


def _dense(x: torch.Tensor) -> torch.Tensor:
    x = x.detach()
    if x.is_nested:
        return torch.cat([part.flatten() for part in x.unbind()])
    if x.is_quantized:
        return x.dequantize()
    return (x if x.layout == torch.strided else x.to_dense()).cpu()


def _compare_numbers(
    result: torch.Tensor, reference: torch.Tensor, path: str
) -> Deviation:
    mine, theirs = _as_reals(result), _as_reals(reference)
    finite = theirs.isfinite()
    if not torch.equal(finite, mine.isfinite()):
        return _differs(path, "infinite or NaN elsewhere", "where the reference is")
    odd = torch.equal(mine[~finite].nan_to_num(), theirs[~finite].nan_to_num())
    if not odd or not torch.equal(mine.isnan(), theirs.isnan()):
        return _differs(path, "other infinite values", "equal ones")
    mine, theirs = mine[finite], theirs[finite]
    error, size = float((mine - theirs).norm()), float(theirs.norm())
    if not error:
        return Deviation(0.0)
    if not size or not isfinite(error / size):
        return Deviation(inf, f"{path}: an error of {error:.1e} where {size:.1e} is")
    return Deviation(error / size)


def _as_reals(x: torch.Tensor) -> torch.Tensor:
    x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    return x.double()


def _differs(path: str, result: str, reference: str) -> Deviation:
    return Deviation(inf, f"{path}: {result} instead of {reference}")
