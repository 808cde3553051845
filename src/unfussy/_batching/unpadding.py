"""
Results of padded or packed items, cut back to the length of each item.

Which axes of a result follow the padding is not guessed: an axis that has the padded
length in one chunk may have it by chance. Chunks of different lengths tell, and where
there is only one length, one more run of one item does, once for each kind of result.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from unfussy._batching.batch import Batch
from unfussy._batching.joining import is_array
from unfussy._tree import Tree, node_for, step, tree_paths
from unfussy.errors import AmbiguousBatchError

__all__ = ["Cutter", "Probe", "Unpadder"]

Lengths: TypeAlias = NDArray[np.intp]
Probe: TypeAlias = Callable[[frozenset[int]], tuple[Tree, int]]
"""
Runs one item, made longer: to another length than any of those.

Returns the result, and how long the item was.
"""
_Axes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Cutter:
    """
    Cuts results of chunks.

    Attributes:
        axes: Which axes of which parts of a result follow the padding.
        packs: Whether items stand one behind the other in the first axis.
    """

    axes: _Axes
    packs: bool

    def cut(self, part: Tree, lengths: Lengths) -> Tree:
        """Return *part* with what follows the padding as lists, one entry an item."""
        return self._cut(part, lengths, "") if self.axes else part

    def _cut(self, part: Tree, lengths: Lengths, path: str) -> Tree:
        if path in self.axes:
            return self._items(part, lengths, self.axes[path])
        node = None if is_array(part) else node_for(type(part))
        if node is None:
            return part
        parts = {
            key: self._cut(child, lengths, path + step(node, key))
            for key, child in node.children(part)
        }
        children = dict(node.children(part))
        changed = {key: new for key, new in parts.items() if new is not children[key]}
        if changed and node.tensors_only:
            raise AmbiguousBatchError(
                f"result{path} is a {type(part).__name__} over padded items, which "
                "cannot be cut to their lengths; return its parameters, or leave it "
                "padded with results='fixed'"
            )
        return node.replace(part, changed) if changed else part

    def _items(self, leaf: Any, lengths: Lengths, axes: tuple[int, ...]) -> list[Any]:
        counts = lengths.tolist()
        if self.packs:
            if isinstance(leaf, torch.Tensor):
                return list(torch.split(leaf, counts))
            return np.split(leaf, lengths.cumsum()[:-1])
        rows = leaf.unbind() if isinstance(leaf, torch.Tensor) else leaf
        if axes == (1,):
            return [row[:n] for row, n in zip(rows, counts)]
        return [row[_corner(axes, n)] for row, n in zip(rows, counts)]


def _corner(axes: tuple[int, ...], n: int) -> tuple[slice, ...]:
    return tuple(
        slice(n) if axis in axes else slice(None) for axis in range(1, max(axes) + 1)
    )


class Unpadder:
    """Finds out what to cut of the results of one method, and remembers it."""

    __slots__ = ("_axis", "_follows", "_packs", "_results")

    def __init__(self, batch: Batch) -> None:
        source = batch.pack if batch.ragged == "pack" else batch.pad
        self._packs = batch.ragged == "pack"
        self._axis = 0 if self._packs else 1 + (batch.pad.axis if batch.pad else 0)
        self._results = "auto" if source is None else source.results
        self._follows: dict[Hashable, bool] = {}

    def cutter(
        self,
        parts: Sequence[Tree],
        lengths: Sequence[Lengths],
        probe: Probe,
        variant: Hashable = None,
    ) -> Cutter:
        """
        Return what cuts the results of a call.

        Args:
            parts: The results of all chunks.
            lengths: The lengths of the items of each.
            probe: Runs one item made longer.
            variant: What else the form of the results may depend on.
        """
        if self._results == "fixed":
            return Cutter({}, self._packs)
        axes = self._candidates(parts, lengths)
        if self._results == "auto" and axes and not self._tells(lengths):
            axes = self._checked(axes, parts[0], lengths, probe, variant)
        return Cutter(axes, self._packs)

    def _candidates(self, parts: Sequence[Tree], lengths: Sequence[Lengths]) -> _Axes:
        """Return the axes that are as long as the padding in every chunk."""
        found: dict[str, set[int]] = {}
        for i, (part, each) in enumerate(zip(parts, lengths)):
            seen = {
                path: {*self._long_axes(leaf, each)} for path, leaf in tree_paths(part)
            }
            if not i:
                found = seen
            for path in found:
                found[path] &= seen.get(path, set())
        return {path: tuple(sorted(axes)) for path, axes in found.items() if axes}

    def _long_axes(self, leaf: Any, lengths: Lengths) -> Sequence[int]:
        if not is_array(leaf) or not leaf.ndim:
            return ()
        if self._packs:
            return (0,) if leaf.shape[0] == self._whole(lengths) else ()
        if leaf.shape[0] != len(lengths):
            return ()
        long = self._whole(lengths)
        only = (self._axis,) if self._results == "ragged" else range(1, leaf.ndim)
        return [axis for axis in only if axis < leaf.ndim and leaf.shape[axis] == long]

    def _whole(self, lengths: Lengths) -> int:
        return int(lengths.sum() if self._packs else lengths.max())

    def _tells(self, lengths: Sequence[Lengths]) -> bool:
        """Tell whether no axis can be as long as this in all chunks by chance."""
        if len({self._whole(each) for each in lengths}) == 1:
            return False
        # One row an item looks the same where all items have length one.
        return not self._packs or any(each.sum() != len(each) for each in lengths)

    # --- one more run --------------------------------------------------------------

    def _checked(
        self,
        axes: _Axes,
        part: Tree,
        lengths: Sequence[Lengths],
        probe: Probe,
        variant: Hashable,
    ) -> _Axes:
        """Return those of *axes* that get longer with the padding."""
        ranks = {path: leaf.ndim for path, leaf in tree_paths(part) if path in axes}
        keys = {
            (path, axis): (variant, path, ranks[path], axis)
            for path in axes
            for axis in axes[path]
        }
        if not self._follows.keys() >= {*keys.values()}:
            taken = frozenset(self._whole(each) for each in lengths) | {1}
            tree, long = self._probed(probe, taken, next(iter(axes)))
            longer = dict(tree_paths(tree))
            for (path, axis), key in keys.items():
                self._follows[key] = _is_long(longer.get(path), ranks[path], axis, long)
        checked = {
            path: tuple(axis for axis in axes[path] if self._follows[keys[path, axis]])
            for path in axes
        }
        return {path: found for path, found in checked.items() if found}

    def _probed(
        self, probe: Probe, taken: frozenset[int], path: str
    ) -> tuple[Tree, int]:
        try:
            return probe(taken)
        except Exception as error:
            raise AmbiguousBatchError(
                f"it cannot be told whether result{path} follows the lengths of items, "
                f"as one item made longer raises {type(error).__name__}: {error}; say "
                "so: results='ragged' or 'fixed'"
            ) from error


def _is_long(leaf: Any, rank: int, axis: int, length: int) -> bool:
    return is_array(leaf) and leaf.ndim == rank and leaf.shape[axis] == length
