"""
Known faces: their features, who they are of, and the search for the most similar.

Q queries, N features, D numbers each, K results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unfussy import TensorLike, batched, returns
from unfussy._arrays import from_array
from unfussy.errors import InputValueError
from unfussy.models.adaface.gallery_files import collect, read, write
from unfussy.models.adaface.gallery_inputs import (
    check_count,
    check_lengths,
    dense,
    like,
    on_host,
    plain_labels,
    spread_labels,
)
from unfussy.models.adaface.searching import Rows, cosines, find_nearest, row_norms

__all__ = ["Gallery", "Matches"]

_QUERIES: Final = 1024  # compared at once
_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Matches:
    """
    Who in a gallery is most similar, the best first.

    Scores and indices are tensors where the queries were, else arrays; K is what was
    asked for, or the size of the gallery if that is less. For one query ``(D,)`` the
    first dimension is missing.

    Attributes:
        scores: Cosines ``(Q, K)``, float32, from -1 to 1.
        indices: Rows of the gallery, ``(Q, K)``, int64; equal scores are in the order
            of rows.
        labels: Who they are, an array of objects ``(Q, K)``.
    """

    scores: Any
    indices: Any
    labels: Rows


class Gallery:
    """
    Features of known faces, each with a label.

    Features are kept as they are, not copied, and may be mapped into memory: searching
    a file needs no more memory than a block of it. Leave the array alone meanwhile.

    Args:
        features: ``(N, D)``, a tensor on any device or an array; of any length, since
            cosines are compared. A zero vector is like nothing.
        labels: One for each feature, strings or whole numbers, also repeated; by
            default the numbers of the rows.

    Attributes:
        features: ``(N, D)``, read-only.
        labels: ``(N,)``, an array of objects, read-only.
        norms: The length of each feature, ``(N,)``, float64.

    Raises:
        InputTypeError: If features are no real numbers, or a label is neither string
            nor whole number.
        InputValueError: If there are not as many labels as features, or a feature
            holds NaN or infinity.

    Examples:
        >>> import numpy
        >>> gallery = Gallery(numpy.eye(3), ["ann", "bob", "eve"])
        >>> found = gallery.search(numpy.array([0.6, 0.8, 0.0]), k=2)
        >>> found.labels.tolist(), found.scores.tolist()
        (['bob', 'ann'], [0.8, 0.6])
        >>> gallery.verify(numpy.array([0.6, 0.8, 0.0]), "ann").item()
        0.6
    """

    def __init__(
        self, features: TensorLike, labels: Sequence[Any] | Rows | None = None
    ) -> None:
        rows = on_host(dense(features))
        if rows.ndim != 2:  # noqa: PLR2004 - (N, D)
            raise InputValueError(f"a gallery takes features (N, D), got {rows.shape}")
        rows = rows if rows.dtype.kind == "f" else rows.astype(np.float32)
        norms = row_norms(rows)
        check_lengths(norms, "feature")
        self._hold(rows, norms, range(len(rows)) if labels is None else labels)

    def _hold(self, rows: Rows, norms: Rows, labels: Sequence[Any] | Rows) -> None:
        if len(labels) != len(rows):
            raise InputValueError(
                f"a gallery takes one label a feature, got {len(labels)} labels and "
                f"{len(rows)} features"
            )
        self.features = _read_only(rows)
        self.norms = _read_only(norms)
        self.labels = _read_only(_objects(plain_labels(labels)))

    @classmethod
    def load(cls, folder: str | PathLike[str], /) -> Gallery:
        """
        Return the gallery that `save` wrote, its features mapped into memory.

        Raises:
            InputValueError: If there is none, or only part of it.
        """
        gallery = cls.__new__(cls)
        gallery._hold(*read(Path(folder)))  # noqa: SLF001 - of this class
        return gallery

    @classmethod
    def from_folder(
        cls,
        folder: str | PathLike[str],
        /,
        *,
        label: Callable[[Path], str | int] | None = None,
    ) -> Gallery:
        """
        Return a gallery of all ``.npy`` files below a folder.

        Args:
            folder: Its files hold one feature ``(D,)`` or several ``(n, D)``; they are
                taken in the order of their paths.
            label: Names the features of a file by its path; by default the path below
                *folder*, without the suffix.

        Raises:
            InputValueError: If there are no files, or features differ in length.
        """
        root = Path(folder)
        inside = label or (
            lambda path: path.relative_to(root).with_suffix("").as_posix()
        )
        return cls(*collect(root, inside))

    def save(self, folder: str | PathLike[str], /) -> Path:
        """
        Write features and labels into a folder of their own, and return it.

        A gallery that is there is replaced at the very end, and at once: who is killed
        leaves the old one. Searching what `load` returns gives the same results.
        """
        return write(Path(folder), self.features, self.norms, self.labels.tolist())

    def search(
        self, queries: TensorLike, k: int = 5, *, block_size: int | None = None
    ) -> Matches:
        """
        Return the *k* most similar features for each query.

        The search is exact: the result is that of comparing everything in double
        precision, whatever the block size, and deterministic.

        Args:
            queries: ``(Q, D)`` or ``(D,)``; a tensor, array or list. Where a tensor
                lives, products are computed.
            k: How many; all, if the gallery has fewer.
            block_size: How many features are compared at once. The default suits the
                caches of a CPU.

        Raises:
            InputTypeError: If *queries* are no real numbers.
            InputValueError: If they have another length or hold NaN or infinity, or
                *k* or *block_size* is less than 1.
        """
        check_count("k", k)
        check_count("block_size", 1 if block_size is None else block_size)
        found = self._search(self._checked(queries), k, block_size)
        labels = self.labels[on_host(found["indices"])]
        return Matches(**found, labels=labels)

    @batched(size=_QUERIES, over="queries", item=1)
    @returns("mirror", device="input")
    def _search(
        self, queries: Any, k: int, block_size: int | None
    ) -> dict[str, Tensor]:
        found = find_nearest(
            on_host(queries),
            self.features,
            self.norms,
            k,
            device=queries.device if isinstance(queries, Tensor) else _CPU,
            block_size=block_size,
        )
        scores, rows = from_array(found.scores), from_array(found.rows)
        return {"scores": scores, "indices": rows}

    def verify(self, queries: TensorLike, labels: Any) -> Any:
        """
        Return how similar each query is to the person it is claimed to be of.

        That is the cosine with the most similar of this person's features; which
        score is enough is for the data to say.

        Args:
            queries: ``(Q, D)`` or ``(D,)``; a tensor, array or list.
            labels: Whom each query claims to be: one label for all, or Q of them.

        Returns:
            ``(Q,)`` or ``()``, float32, a tensor if *queries* are one, else an array.

        Raises:
            InputValueError: If the gallery knows no such label, or there are neither
                one nor Q of them.
        """
        queries = self._checked(queries)
        rows = np.atleast_2d(on_host(queries)).astype(np.float64)
        found = [self._rows_of(label) for label in spread_labels(labels, len(rows))]
        pairs = (
            np.repeat(np.arange(len(rows)), list(map(len, found))),
            np.concatenate([np.empty(0, np.int64), *found]),
        )
        scores = cosines(rows, self.features, self.norms, pairs)
        starts = np.cumsum([0, *map(len, found)])[:-1]
        best = np.maximum.reduceat(scores, starts) if len(scores) else scores
        return like(best.reshape(queries.shape[:-1]), queries)

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        n, size = self.features.shape
        return f"Gallery of {n} features of {size} numbers, {len(self._known)} labels"

    @cached_property
    def _known(self) -> dict[Hashable, list[int]]:
        """The rows of each label."""
        known: dict[Hashable, list[int]] = {}
        for row, label in enumerate(self.labels.tolist()):
            known.setdefault(label, []).append(row)
        return known

    def _rows_of(self, label: Any) -> Rows:
        try:
            return np.asarray(self._known[label])
        except KeyError:
            raise InputValueError(
                f"nobody in this gallery has the label {label!r}"
            ) from None

    def _checked(self, queries: Any) -> Any:
        """Return *queries* as a tensor or an array ``(..., D)`` of finite numbers."""
        rows = dense(queries)
        shape, size = tuple(rows.shape), self.features.shape[1]
        if len(shape) not in (1, 2) or shape[-1] != size:
            raise InputValueError(
                f"this gallery takes queries (Q, {size}) or ({size},), got {shape}"
            )
        check_lengths(row_norms(np.atleast_2d(on_host(rows))), "query")
        return rows


def _read_only(array: Rows) -> Rows:
    view = array.view()
    view.flags.writeable = False
    return view


def _objects(labels: list[str | int]) -> Rows:
    array = np.empty(len(labels), object)
    array[:] = labels
    return array
