"""
The results of chunks as the result of the call.

Joined in the caller's order, cut to the lengths of padded items first. What chunks
alone do not tell is found out by one more run of very few items.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from unfussy._batching import Done, Draws, Indices, Layout, emptied, items_of, take
from unfussy._batching.sizes import lists_in, tensors_in
from unfussy._cutting import Cutting
from unfussy._inputs import Arguments
from unfussy._joined import join_somewhere, order_of
from unfussy._learnt import Learnt
from unfussy._tree import Tree
from unfussy.errors import InputValueError

__all__ = ["Results"]

_Cut: TypeAlias = Callable[[Tree, Indices], Tree]
_SHAPE_ERRORS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Results:
    """
    What becomes of the results of one call's chunks.

    Attributes:
        known: What the calls of the method have taught.
        module: What it is a call of, or None.
        inputs: All its inputs, by name.
        values: Those that carry the batch.
        layout: What the items look like.
        cutting: How arguments are cut.
        called: Calls the method with the arguments of a chunk.
        draws: The generators among the arguments.
    """

    known: Learnt
    module: nn.Module | None
    inputs: Mapping[str, Tree]
    values: Mapping[str, Tree]
    layout: Layout
    cutting: Cutting
    called: Callable[[Arguments], Any]
    draws: Draws

    def joined(self, done: list[Done]) -> Any:
        """
        Return the results of all chunks as one; *done* is emptied.

        Raises:
            AmbiguousBatchError: If they cannot be joined, or not be cut.
            DoesNotFitError: If the device has no room for the result.
        """
        indices, order = [each.indices for each in done], order_of(done)
        sizes = [*map(len, indices)]
        parts = [each.result for each in done]
        cut = self._cutter(parts, indices)
        parts = [cut(part, each) for part, each in zip(parts, indices)]
        done.clear()
        if self.known.batch.join == "items":
            parts = [items_of(part, n) for part, n in zip(parts, sizes)]
            return join_somewhere(parts, sizes, order)

        def ask() -> tuple[Any, int] | None:
            return self._another(indices, cut)

        def alike() -> bool:
            return self._are_alike(indices)

        result = join_somewhere(parts, sizes, order, ask, alike)
        if self.module is not None and self._has_lists:
            self.known.templates[self.module] = emptied(result, sum(sizes))
        return result

    def empty(self, run: Callable[[Indices], Any]) -> Any:
        """
        Return the result for no items.

        Raises:
            InputValueError: If nothing says what it would look like.
        """
        if self.known.batch.join == "items":
            return []
        module = self.module
        template = None if module is None else self.known.templates.get(module)
        if template is not None and self._has_lists:
            return emptied(template, 0)
        try:
            return run(range(0))
        except _SHAPE_ERRORS as error:
            if not self._has_lists:
                raise
            raise InputValueError(
                f"{self.known.method.name}: an empty list does not say what its items "
                "would look like; give an empty tensor, such as torch.empty(0, 3)"
            ) from error

    @property
    def _has_lists(self) -> bool:
        return any(True for value in self.values.values() for _ in lists_in(value))

    # --- one more run --------------------------------------------------------------

    def _cutter(self, parts: list[Any], indices: list[Indices]) -> _Cut:
        """Return what cuts results to the lengths of their items, where lists came."""
        real = self.layout.real
        if real is None or not self._has_lists:
            return lambda part, _: part
        lengths = [real[np.asarray(each)] for each in indices]
        unpadder = self.known.unpadder
        cutter = unpadder.cutter(parts, lengths, self._longer, self._variant())
        return lambda part, indices: cutter.cut(part, real[np.asarray(indices)])

    def _variant(self) -> Hashable:
        """Return the settings of the call, on which the form of results may depend."""
        return tuple(
            (name, value)
            for name, value in self.inputs.items()
            if isinstance(value, (str, int, float, type(None)))
        )

    def _longer(self, taken: frozenset[int]) -> tuple[Any, int]:
        """Run the shortest item, made longer to a length that is not *taken*."""
        assert self.layout.real is not None  # noqa: S101 - with a Pad or a Pack
        lengths = np.where(self.layout.real > 0, self.layout.real, np.inf)
        i = int(np.argmin(lengths))
        short = int(self.layout.real[i])
        long = next(
            n for n in range(short + 1, short + len(taken) + 2) if n not in taken
        )
        with self.draws.undone(always=True):
            return self.called(self.cutting.longer(i, long - short)), long

    def _another(self, done: list[Indices], cut: _Cut) -> tuple[Any, int] | None:
        """Run fewer items than all these chunks of one size have; or two, for one."""
        n = 2 if len(done[0]) == 1 else 1
        placed = np.concatenate([np.asarray(each) for each in done])
        for work in self.layout.works:
            indices = np.asarray(work.indices)
            few = np.sort(indices[np.isin(indices, placed)][:n])
            if len(few) == n:
                with suppress(Exception), self.draws.undone(always=True):
                    return cut(self.called(self.cutting.of(few)), few), n
        return None

    def _are_alike(self, done: list[Indices]) -> bool:
        """Tell whether the first two chunks had equal items, as far as is seen."""
        if self._has_lists:
            return False
        tensors = [each for value in self.values.values() for each in tensors_in(value)]
        return all(
            np.array_equal(take(x, done[0]), take(x, done[1]))
            if isinstance(x, np.ndarray)
            else torch.equal(take(x, done[0]), take(x, done[1]))
            for x in tensors
        )
