"""
Inputs to where the module lives: converted, cast and moved, each at most once.

A mover is made for one `Move` setting and one `Place` and then applied to any number
of trees. A tensor that stands in two places of a tree is moved once and stays one
object, as attention layers that ask ``key is query`` expect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch

from unfussy._arrays import from_array, is_label_array
from unfussy._devices import Place
from unfussy._nodes import LEAVES
from unfussy._recording import MOVE, timed
from unfussy._tree import too_deep, visit
from unfussy.errors import NoDataError

__all__ = [
    "Float64",
    "LeafMover",
    "Move",
    "Moved",
    "Mover",
    "make_leaf_mover",
    "make_mover",
]

Float64: TypeAlias = Literal["follow", "keep", "float32"]
Moved: TypeAlias = dict[int, tuple[Any, torch.Tensor]]
"""What was moved, by identity: the original, which keeps its id taken, and the new."""
LeafMover: TypeAlias = Callable[[Any], torch.Tensor]
Mover: TypeAlias = Callable[[Any, Moved], Any]

_PLAIN: Final = frozenset({int, float, bool, str, type(None)})
_BUILT_IN: Final = frozenset({dict, list, tuple})  # to ask what is a leaf is slow
_SINGLE: Final = {torch.float64: torch.float32, torch.complex128: torch.complex64}
# Copies from the host to these may run beside the program; to others they must not:
# a result could be read before it has arrived.
_ASYNCHRONOUS: Final = frozenset({"cuda", "xpu"})
_NEVER_ASYNCHRONOUS: Final = frozenset({"cpu", "mps", "meta"})


@dataclass(frozen=True, slots=True)
class Move:
    """
    How inputs reach the module: the plan's entry of ``@auto_device``.

    Attributes:
        skip: Names of parameters whose arguments are left alone.
        float64: What becomes of double precision: ``"follow"`` the module's,
            ``"keep"`` it, or always ``"float32"``.
        non_blocking: Whether copies from the host run beside the program; ``"auto"``
            where that is safe.
        copy: Whether the method gets copies even of what need not be converted.
    """

    skip: tuple[str, ...] = ()
    float64: Float64 = "follow"
    non_blocking: bool | Literal["auto"] = "auto"
    copy: bool = False


def make_mover(move: Move, place: Place) -> Mover:
    """
    Return a function that converts, casts and moves every leaf of a tree.

    It takes the tree, and a dictionary of what was moved already, which the arguments
    of one call share.
    """
    leaf, tensor = make_leaf_mover(move, place), torch.Tensor
    # A tensor there, of another dtype than these, is left as it is at first sight.
    settled = None if move.copy else place.device
    here = not move.copy and place.type == "cpu" and place.device is not None
    doubles = frozenset() if move.float64 == "keep" else _SINGLE.keys()

    def arrive(x: Any, moved: Moved) -> torch.Tensor:
        if (known := moved.get(id(x))) is None:
            known = moved[id(x)] = x, leaf(x)
        return known[1]

    def mover(tree: Any, moved: Moved) -> Any:
        kind = type(tree)
        if (
            kind is tensor and tree.device == settled and tree.dtype not in doubles
        ) or kind in _PLAIN:
            return tree
        if kind not in _BUILT_IN and isinstance(tree, LEAVES):
            return arrive(tree, moved)

        def once(x: Any) -> Any:
            if (
                type(x) is tensor
                and (x.is_cpu if here else x.device == settled)
                and x.dtype not in doubles
            ):
                return x
            if isinstance(x, np.ndarray) and is_label_array(x):
                return x  # names or dates beside the numbers
            return arrive(x, moved)

        try:
            return visit(tree, once)
        except RecursionError as error:
            raise too_deep(tree) from error

    return mover


def make_leaf_mover(move: Move, place: Place) -> LeafMover:
    """Return a function that converts, casts and moves one tensor or array."""
    device = place.device
    of_arrays = _dtypes_of_doubles(move, place, exact=False)
    of_tensors = _dtypes_of_doubles(move, place, exact=True)

    def leaf(x: Any) -> torch.Tensor:
        tensor: torch.Tensor = x if isinstance(x, torch.Tensor) else from_array(x)
        dtype = new = tensor.dtype
        if dtype in _SINGLE:
            exact = tensor is x
            known = of_tensors if exact else of_arrays
            new = known.get(dtype) or _dtype_of_double(dtype, move, place, exact=exact)
        moved = tensor
        if device is not None and tensor.device != device:
            _check_data(tensor, device)
            ahead = _runs_ahead(move, tensor.device.type, place.type)
            moved = _sent(tensor, device, new, ahead)
        elif new is not dtype:
            moved = tensor.to(dtype=new)  # by keyword, which is parsed faster
        if moved is tensor and move.copy:
            moved = tensor.clone()
        if moved is not tensor and isinstance(x, torch.nn.Parameter):
            return _as_parameter(moved, x)
        return moved

    return leaf


def _sent(
    tensor: torch.Tensor,
    device: torch.device,
    dtype: torch.dtype,
    ahead: bool,  # noqa: FBT001 - as `to` has it
) -> torch.Tensor:
    if torch.compiler.is_compiling():
        return tensor.to(device, dtype, non_blocking=ahead)
    return timed(MOVE, tensor.to, device, dtype, non_blocking=ahead)


def _check_data(tensor: torch.Tensor, device: torch.device) -> None:
    if tensor.is_meta:
        shape = tuple(tensor.shape)
        raise NoDataError(f"a meta tensor {shape} has no data to move to {device}")


def _dtypes_of_doubles(
    move: Move, place: Place, *, exact: bool
) -> dict[torch.dtype, torch.dtype]:
    if place.dtype is None:  # torch's default decides, which may change
        return {}
    return {x: _dtype_of_double(x, move, place, exact=exact) for x in _SINGLE}


def _dtype_of_double(
    dtype: torch.dtype, move: Move, place: Place, *, exact: bool
) -> torch.dtype:
    if move.float64 == "float32":
        return _SINGLE[dtype]
    # A double tensor was chosen; a double array may just be NumPy's default.
    if move.float64 == "keep" or (exact and place.dtype is None):
        new = dtype
    else:
        new = place.complex() if dtype is torch.complex128 else place.real()
    return _SINGLE.get(new, new) if place.type == "mps" else new  # it has no doubles


def _runs_ahead(move: Move, source: str, target: str) -> bool:
    if source != "cpu":
        return False
    if move.non_blocking == "auto":
        return target in _ASYNCHRONOUS
    return move.non_blocking and target not in _NEVER_ASYNCHRONOUS


def _as_parameter(moved: torch.Tensor, original: torch.nn.Parameter) -> torch.Tensor:
    # With gradients on, the copy must stay linked to the original instead.
    if moved.requires_grad or moved.is_inference():
        return moved
    return torch.nn.Parameter(moved, requires_grad=original.requires_grad)
