"""The example that a method is tried with: copies of it, and one of another size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from unfussy._method import Method
from unfussy._optimizing.deviation import deviation_of
from unfussy._plan import Plan
from unfussy._tree import tree_leaves, tree_map

__all__ = ["Example", "copied"]

Arguments = tuple[Any, ...]


class Example:
    """
    Positional arguments that a method can be called with again and again.

    Args:
        args: The arguments, which stay as they are.

    Attributes:
        is_written: Whether the method writes into its arguments, so that each call
            needs a copy of them.
    """

    def __init__(self, args: Arguments) -> None:
        self.args, self.is_written = args, False

    def fresh(self) -> Arguments:
        """Return arguments for one call."""
        return copied(self.args) if self.is_written else self.args

    def note_writing(self, used: Arguments) -> None:
        """Find out from *used*, copies that one call got, whether they are written."""
        self.is_written = deviation_of(used, self.args).value > 0

    def of_another_size(self, raw: Callable[..., Any], plan: Plan) -> Example | None:
        """
        Return half of the batch, or twice one item; None if there is no batch.

        Args:
            raw: The method, called with the module first.
            plan: Its plan, which may name the arguments that carry the batch.
        """
        over = None if plan.batch is None else plan.batch.over
        label = Method(raw).label
        cut = [over is None or label(i + 1) in over for i in range(len(self.args))]
        batched = [arg for arg, is_cut in zip(self.args, cut) if is_cut]
        sizes = {len(x) for x in tree_leaves(batched) if _is_batch(x)}
        if len(sizes) != 1 or not (size := sizes.pop()):
            return None
        resize = partial(_resized, size=size)
        args = (
            tree_map(resize, x) if is_cut else x for x, is_cut in zip(self.args, cut)
        )
        other = Example(tuple(args))
        other.is_written = self.is_written
        return other


def copied(tree: Any) -> Any:
    """Return *tree* with copies of its tensors and arrays."""
    return tree_map(_copied, tree)


def _copied(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _is_batch(leaf: Any) -> bool:
    return isinstance(leaf, (torch.Tensor, np.ndarray)) and leaf.ndim > 0


def _resized(leaf: Any, size: int) -> Any:
    if not _is_batch(leaf):
        return leaf
    if size > 1:
        return leaf[: size // 2]
    join = torch.cat if isinstance(leaf, torch.Tensor) else np.concatenate
    return join([leaf, leaf])
