"""
The arguments of each chunk: the batch cut, everything else as it came.

Beside padded or concatenated items, the method gets where they end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from unfussy._batching import Batch, Collation, Form, Indices, Layout, take
from unfussy._batching.sealing import has_sealed, seal, unsealed
from unfussy._batching.stacking import as_arrays, lengthened
from unfussy._inputs import Arguments
from unfussy._method import Method
from unfussy._tree import Tree, tree_leaves

__all__ = ["Cutting", "collations", "prepared"]

_Hows: TypeAlias = Mapping[str, Collation]

_CPU: Final = torch.device("cpu")


def collations(names: Mapping[str, int], batch: Batch, method: Method) -> _Hows:
    """Return what becomes of the items of each batch argument."""
    return {name: _collation(name, batch, method) for name in names}


def _collation(name: str, batch: Batch, method: Method) -> Collation:
    form: Form = "list"
    if batch.makes_arrays:
        form = "pad" if batch.ragged == "pad" else "pack"
    elif batch.ragged == "equal" and method.parameter_of(name) in method.declared:
        form = "stack"
    return Collation(form) if batch.pad is None else Collation(form, batch.pad)


def prepared(inputs: Mapping[str, Tree], hows: _Hows, batch: Batch) -> dict[str, Tree]:
    """
    Return the batch arguments, ready to be cut.

    Numbers are arrays where they become tensors; what is shared among items is sealed.
    """
    declared, nested = batch.over is not None, batch.ragged != "equal"
    found = {
        name: seal(inputs[name], declared=declared, nested=nested) for name in hows
    }
    return {
        name: found[name] if how.form == "list" else as_arrays(found[name])
        for name, how in hows.items()
    }


class Cutting:
    """
    How the arguments of one call are cut.

    Args:
        values: The batch arguments by name.
        hows: What becomes of their items.
        shared: All arguments; those of *values* are replaced.
        layout: What the items look like.
        batch: How they are cut.
        method: The method.
        n: How many items there are.
    """

    __slots__ = (
        "_args",
        "_at",
        "_batch",
        "_device",
        "_injected",
        "_kwargs",
        "_layout",
        "_method",
        "_n",
        "_sealed",
        "_values",
    )

    def __init__(  # noqa: PLR0917 - all from one call
        self,
        values: Mapping[str, Tree],
        hows: _Hows,
        shared: Arguments,
        layout: Layout,
        batch: Batch,
        method: Method,
        n: int,
    ) -> None:
        self._values = [(name, value, hows[name]) for name, value in values.items()]
        self._args, self._kwargs = shared
        self._at = {method.label(i): i for i in range(len(self._args))}
        self._layout, self._batch, self._method, self._n = layout, batch, method, n
        self._injected = {
            name: kind for name, kind in batch.injected().items() if name not in values
        }
        self._sealed = {name for name, value in values.items() if has_sealed(value)}
        self._device = _device_of(values.values()) if self._injected else _CPU

    def of(self, indices: Indices) -> Arguments:
        """Return the arguments of one chunk."""
        whole = isinstance(indices, range) and len(indices) == self._n
        parts = {
            name: value if whole and how.form == "list" else take(value, indices, how)
            for name, value, how in self._values
        }
        if self._injected:
            assert self._layout.real is not None  # noqa: S101 - with a Pad or a Pack
            places = np.asarray(indices, dtype=np.intp)
            parts |= self._beside(self._layout.real[places], self._layout.width)
        return self._with(parts)

    def longer(self, i: int, extra: int) -> Arguments:
        """Return the arguments of one item alone, made longer by *extra*."""
        assert self._layout.real is not None  # noqa: S101 - with a Pad or a Pack
        length, pad = int(self._layout.real[i]), self._batch.pad
        axis, filler = (0, 0.0) if pad is None else (1 + pad.axis, pad.value)
        parts = {
            name: lengthened(
                take(value, range(i, i + 1), how), axis, length, extra, filler
            )
            for name, value, how in self._values
        }
        # A packed item is as long as it came; a padded one keeps its own length.
        real = length + extra if self._batch.ragged == "pack" else length
        beside = self._beside(np.array([real], dtype=np.intp), length + extra)
        return self._with(parts | beside)

    def _with(self, parts: Mapping[str, Any]) -> Arguments:
        args, kwargs = list(self._args), dict(self._kwargs)
        for name, cut in parts.items():
            part = unsealed(cut) if name in self._sealed else cut
            i = self._at.get(name)
            if i is None:
                kwargs[name] = part
            else:
                args[i] = part
        return tuple(args), kwargs

    def _beside(
        self, counts: np.ndarray[Any, Any], width: int | None
    ) -> dict[str, torch.Tensor | None]:
        """Return what the method gets beside the padded or concatenated items."""
        lengths = torch.from_numpy(counts)
        longest = int(counts.max(initial=0)) if width is None else width
        made: dict[str, torch.Tensor | None] = {}
        for name, kind in self._injected.items():
            if (
                kind == "mask"
                and counts.min(initial=longest) == longest
                and self._method.is_optional(name)
            ):
                made[name] = None
            else:
                made[name] = _MADE[kind](lengths, longest).to(self._device)
        return made


def _device_of(values: Iterable[Tree]) -> torch.device:
    """Return where the first tensor is, if there are any."""
    leaves = (leaf for value in values for leaf in tree_leaves(value))
    tensors = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
    first = next(tensors, None)
    return _CPU if first is None else first.device


def _mask(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    return torch.arange(longest) < lengths[:, None]


def _offsets(lengths: torch.Tensor, longest: int) -> torch.Tensor:  # noqa: ARG001
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


_MADE: Final[Mapping[str, Callable[[torch.Tensor, int], torch.Tensor]]] = {
    "mask": _mask,
    "offsets": _offsets,
    "lengths": lambda lengths, longest: lengths,  # noqa: ARG005
}
