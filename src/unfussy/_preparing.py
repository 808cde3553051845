"""
The items of a window as inputs of a method: stacked, or in lists, and on its device.

Whatever takes time before a call is here, for a thread to do it beside another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from unfussy._arrays import from_array
from unfussy._batching import Batch, Collation, Uploader, collate, lay_out, take
from unfussy._batching.joining import is_array
from unfussy._recording import MOVE, timed
from unfussy._sources import Items
from unfussy._targets import Target
from unfussy._tree import tree_map
from unfussy.errors import InputValueError

__all__ = ["Inputs", "Places", "Window", "prepare"]

Places: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]
"""Which items of a window."""
Inputs: TypeAlias = dict[str, Any]
"""Arguments by the names that `Target.call` knows."""
_STACKED: Final = Collation("stack")


@dataclass(frozen=True, slots=True)
class Window:
    """
    Items that are ready.

    Attributes:
        start: The index of the first in the source.
        n: How many they are.
        inputs: Inputs of the method, and which items of the window are in each.
    """

    start: int
    n: int
    inputs: list[tuple[Places, Inputs]]


def prepare(
    target: Target, uploader: Uploader | None, pulled: tuple[int, Items]
) -> Window:
    """
    Return a window that was *pulled* as inputs of *target*.

    Raises:
        InputValueError: If an item does not make the arguments that it should.
    """
    start, items = pulled
    made = list(_put_together(target, items, start))
    if uploader is not None:
        made = [
            (places, timed(MOVE, _sent, inputs, target, uploader))
            for places, inputs in made
        ]
    return Window(start, len(items), made)


def _put_together(
    target: Target, items: Items, start: int
) -> Iterator[tuple[Places, Inputs]]:
    n, names = len(items), target.names
    if is_array(items) and len(names) == 1:
        # A part of a file is read here, beside the computation.
        rows = np.array(items) if isinstance(items, np.memmap) else items
        yield np.arange(n), {names[0]: rows}
        return
    columns = _columns(items, names, start, target.name)
    stacked = [
        column for name, column in columns.items() if not target.keeps_list(name)
    ]
    for work in lay_out(stacked, n, Batch(), target.name).works:
        yield (
            np.asarray(work.indices),
            {
                name: take(column, work.indices)
                if target.keeps_list(name)
                else collate([column[i] for i in work.indices], _STACKED)
                for name, column in columns.items()
            },
        )


def _columns(
    items: Sequence[Any], names: tuple[str, ...], start: int, method: str
) -> dict[str, list[Any]]:
    """Return *items* as a list for each argument that they make."""
    if len(names) == 1:
        return {names[0]: list(items)}
    rows = [_row(item, names) for item in items]
    if None in rows:
        i, wanted = rows.index(None), ", ".join(names)
        raise InputValueError(
            f"{method}: an item is a tuple, or a mapping, of ({wanted}); item "
            f"{start + i} of the source is not, but a {type(items[i]).__name__}"
        )
    return {name: [row[i] for row in rows if row] for i, name in enumerate(names)}


def _row(item: Any, names: tuple[str, ...]) -> list[Any] | None:
    """Return the arguments that an item makes; None if it does not."""
    if isinstance(item, Mapping):
        return [item[name] for name in names] if item.keys() >= {*names} else None
    fits = isinstance(item, (tuple, list)) or (is_array(item) and item.ndim)
    return [*item] if fits and len(item) == len(names) else None


def _sent(inputs: Inputs, target: Target, uploader: Uploader) -> Inputs:
    """Return *inputs* with what may be on the device before the call sent there."""

    def tensor(leaf: Any) -> Any:
        return from_array(leaf) if isinstance(leaf, np.ndarray) else leaf

    return {
        name: uploader.upload(tree_map(tensor, value))
        if target.takes_ahead(name)
        else value
        for name, value in inputs.items()
    }
