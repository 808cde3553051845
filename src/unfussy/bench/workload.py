"""
The work that is measured: a method, all of its items, and one item by hand.

It is pickled as the module, the method's name and the inputs, so that a process of
its own can do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from unfussy._arrays import from_array
from unfussy._batching.joining import join
from unfussy._compile import planned
from unfussy._devices import inference_device, inference_dtype
from unfussy._method import Method
from unfussy._options import configure
from unfussy._plan import Plan
from unfussy._proxy import Unfussed, unfuss
from unfussy._tree import tree_leaves, tree_map
from unfussy.errors import InputTypeError, InputValueError

__all__ = ["Workload", "make_workload"]

Arguments: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """
    A method of a module, with inputs.

    Attributes:
        module: The module.
        name: The method's name; ``"__call__"`` of a module whose call is not planned.
        args: All items, as the method takes them.
        n: How many items there are.
        standard: One item in plain PyTorch; None for the author's own method on it.
    """

    module: nn.Module
    name: str
    args: Arguments
    n: int
    standard: Callable[[Any, Any], Any] | None = None

    @property
    def label(self) -> str:
        """What it is called."""
        kind = type(self.module).__name__
        return f"{kind}()" if self.name == "__call__" else f"{kind}.{self.name}()"

    @property
    def device(self) -> torch.device:
        """Where the module lives."""
        return torch.device(inference_device(self.module))

    @property
    def is_planned(self) -> bool:
        """Whether the method's author has decorated it."""
        return planned(getattr(type(self.module), self.name, None)) is not None

    @property
    def method(self) -> Any:
        """What `optimize` takes."""
        if self.is_planned:
            return getattr(self.module, self.name)
        proxy: Any = unfuss(self.module)
        return proxy if self.name == "__call__" else getattr(proxy, self.name)

    def on(self, module: nn.Module) -> Workload:
        """Return the same work for another module."""
        return replace(self, module=module)

    def some(self, k: int) -> Arguments:
        """Return the first *k* items."""
        return tuple(_cut(arg, 0, k, self.n) for arg in self.args)

    def first(self, k: int) -> Workload:
        """Return the work on the first *k* items."""
        return replace(self, args=self.some(k), n=k)

    def batched(self) -> Callable[..., Any]:
        """Return the method in float32, with its batches cut as they fit."""
        method, plan = self._bound()
        size = {} if plan.batch is not None else {"batch_size": "auto"}
        return configure(method, precision="fp32", **size)

    def loop(self) -> Callable[[], list[Any]]:
        """Return what goes through all items one at a time."""
        one = self._one_by_hand() if self.standard is not None else self._one()

        def run() -> list[Any]:
            return [one(i) for i in range(self.n)]

        return run

    def joined(self, results: list[Any]) -> Any:
        """Return the results of `loop` as the method returns them."""
        return join(results, [1] * self.n)

    def _bound(self) -> tuple[Any, Plan]:
        """Return the method, planned, and its plan."""
        method: Any = self.method
        method = method.__call__ if isinstance(method, Unfussed) else method
        record = planned(method.__func__)
        return method, Plan() if record is None else record.plan

    def _one_by_hand(self) -> Callable[[int], Any]:
        standard, module, items = self.standard, self.module, self.args[0]
        assert standard is not None  # noqa: S101 - asked by `loop`
        return lambda i: standard(module, items[i])

    def _one(self) -> Callable[[int], Any]:
        """Return the author's function on one item, its arrays made tensors."""
        method, plan = self._bound()
        record = planned(method.__func__)
        raw = method.__func__ if record is None else record.raw
        skipped = () if plan.move is None else plan.move.skip
        label = Method(raw).label
        reads = [
            plan.move is not None and label(i + 1) not in skipped
            for i in range(len(self.args))
        ]
        place = inference_device(self.module), inference_dtype(self.module)

        def one(i: int) -> Any:
            args = (_cut(arg, i, i + 1, self.n) for arg in self.args)
            given = [_read(x, *place) if r else x for x, r in zip(args, reads)]
            return raw(self.module, *given)

        return one


def make_workload(
    model_or_method: Any,
    example: Any,
    standard: Callable[[Any, Any], Any] | None = None,
) -> Workload:
    """
    Return the work of calling a module, or a method of one, on *example*.

    Args:
        model_or_method: The module or the method.
        example: An input, or a tuple of positional arguments.
        standard: One item in plain PyTorch.

    Raises:
        InputTypeError: If it is neither a module nor a method of one.
        InputValueError: If the inputs do not tell how many items there are.
    """
    args = example if type(example) is tuple else (example,)
    module, name = _find(model_or_method)
    return Workload(module, name, args, _count(args), standard)


def _find(given: Any) -> tuple[nn.Module, str]:
    if isinstance(given, MethodType) and isinstance(given.__self__, nn.Module):
        module: Any = given.__self__
        return getattr(module, "__wrapped__", module), given.__name__
    if not isinstance(given, nn.Module):
        raise InputTypeError(
            "a benchmark takes the name of a family, a module or a method of one, got "
            f"{given!r}"
        )
    module = given.__wrapped__ if isinstance(given, Unfussed) else given
    is_planned = planned(type(module).forward) is not None
    return module, "forward" if is_planned else "__call__"


def _count(args: Arguments) -> int:
    sizes = {size for arg in args for size in _sizes(arg)}
    if len(sizes) != 1 or not (n := sizes.pop()):
        found = sorted(sizes) if sizes else "nothing to cut"
        raise InputValueError(
            "a benchmark takes inputs whose first dimension, or a list whose entries, "
            f"are the items, as many in each; got {found}"
        )
    return n


def _sizes(arg: Any) -> set[int]:
    if isinstance(arg, list):
        return {len(arg)}
    return {leaf.shape[0] for leaf in tree_leaves(arg) if _is_rows(leaf)}


def _is_rows(leaf: Any) -> bool:
    return isinstance(leaf, (torch.Tensor, np.ndarray)) and leaf.ndim > 0


def _cut(arg: Any, start: int, stop: int, n: int) -> Any:
    if isinstance(arg, list):
        return arg[start:stop]
    return tree_map(
        lambda leaf: (
            leaf[start:stop] if _is_rows(leaf) and leaf.shape[0] == n else leaf
        ),
        arg,
    )


def _read(arg: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return *arg* with tensors for arrays, where the module is and as precise."""

    def read(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            leaf = from_array(leaf)
            leaf = leaf.to(dtype) if leaf.is_floating_point() else leaf
        return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf

    return tree_map(read, arg)
