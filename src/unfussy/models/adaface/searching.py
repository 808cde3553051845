"""
Exact search for the most similar rows, in blocks of memory.

Q queries, N rows, D features, K results, B rows of a block, P pairs. A product in
single precision finds who may be among the best; only those are compared exactly. So
the result depends on neither blocks nor device, and equal scores are ordered by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import to_array

__all__ = ["Nearest", "Rows", "cosines", "find_nearest", "row_norms"]

Rows: TypeAlias = np.ndarray[Any, Any]

_BLOCK: Final = 1 << 20  # numbers in a block of rows, so that it stays in the cache
_PAIRS: Final = 1 << 11  # compared exactly at once
_WAITING: Final = 1 << 17  # candidates that may wait for that


@dataclass(frozen=True, slots=True)
class Nearest:
    """
    The best rows for each query, the best first.

    Attributes:
        scores: ``(Q, K)``, float32, from -1 to 1.
        rows: ``(Q, K)``, int64.
    """

    scores: Rows
    rows: Rows


def find_nearest(
    queries: Rows,
    features: Rows,
    norms: Rows,
    k: int,
    *,
    device: torch.device,
    block_size: int | None = None,
) -> Nearest:
    """
    Return the *k* rows of *features* most similar to each query, or all there are.

    Args:
        queries: ``(Q, D)``, finite.
        features: ``(N, D)``, finite; may be mapped into memory.
        norms: The length of each row, ``(N,)``, float64.
        k: How many.
        device: Where the products are computed.
        block_size: How many rows are compared at once.
    """
    queries = np.asarray(queries, np.float64)
    best = _Best(queries, features, norms, min(k, len(features)))
    if best.k * len(queries) == 0:
        return best.nearest()
    product = _Product(queries, device)
    floors = _Floors(len(queries), best.k, product.error, device)
    for block in _slices(features, block_size):
        scores = product.of(features[block], norms[block])  # (Q, B)
        best.add(block.start, floors.select(scores))
        if best.n_waiting > _WAITING:
            best.settle(floors.now())
    best.settle(floors.now())
    return best.nearest()


def cosines(
    queries: Rows, features: Rows, norms: Rows, pairs: tuple[Rows, Rows]
) -> Rows:
    """
    Return the cosines of pairs of a query and a row, ``(P,)``, float32.

    They are computed in double precision and rounded. Zero vectors are like nothing:
    their cosines are 0.

    Args:
        queries: ``(Q, D)``, float64.
        features: ``(N, D)``.
        norms: The length of each row, ``(N,)``, float64.
        pairs: Which query and which row, both ``(P,)``.
    """
    lengths = _lengths(queries)
    scores = np.empty(len(pairs[0]), np.float32)
    for start in range(0, len(scores), _PAIRS):
        piece = slice(start, start + _PAIRS)
        query, row = pairs[0][piece], pairs[1][piece]
        chosen = np.asarray(features[row], np.float64)
        dots = np.einsum("pd,pd->p", queries[query], chosen)
        scores[piece] = dots / _or_one(lengths[query] * norms[row])
    return scores


def row_norms(features: Rows, /) -> Rows:
    """Return the length of each row, ``(N,)``, float64."""
    lengths = [_lengths(features[block]) for block in _slices(features)]
    return np.concatenate([np.empty(0), *lengths])


def _slices(rows: Rows, size: int | None = None) -> Iterator[slice]:
    size = size or max(1, _BLOCK // max(1, rows.shape[1]))
    return (slice(i, i + size) for i in range(0, len(rows), size))


def _lengths(rows: Rows) -> Rows:
    exact = np.asarray(rows, np.float64)
    lengths: Rows = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    return lengths


def _or_one(lengths: Rows) -> Rows:
    ones: Rows = np.where(lengths == 0, 1.0, lengths)
    return ones


class _Found(NamedTuple):
    """Pairs of a query and a row, and their scores in single precision."""

    query: Rows
    row: Rows
    score: Rows


class _Product:
    """Cosines of all queries and a block of rows, in single precision."""

    def __init__(self, queries: Rows, device: torch.device) -> None:
        units = queries / _or_one(_lengths(queries))[:, None]
        self._units = units.astype(np.float32)
        self._moved = torch.from_numpy(self._units).to(device)
        on_cpu = device.type == "cpu"
        # Accelerators may be set to multiply in TF32, with 10 bits of mantissa.
        self.error = (queries.shape[1] + 8) * 2.0**-24 if on_cpu else 2.0**-9
        self._multiply = self._by_numpy if on_cpu else self._by_torch

    def of(self, block: Rows, norms: Rows) -> Tensor:
        scales = (1 / _or_one(norms)).astype(np.float32)
        return self._multiply(np.asarray(block, np.float32), scales)

    # NumPy: no global setting of PyTorch lowers its precision.
    def _by_numpy(self, block: Rows, scales: Rows) -> Tensor:
        scores = self._units @ block.T
        scores *= scales
        return torch.from_numpy(scores)

    def _by_torch(self, block: Rows, scales: Rows) -> Tensor:
        device = self._moved.device
        rows = torch.from_numpy(block.copy()).to(device)
        with torch.autocast(device.type, enabled=False):
            return (self._moved @ rows.T) * torch.from_numpy(scales).to(device)


class _Floors:
    """The fast score from which on a row may be among the best of its query."""

    def __init__(self, n: int, k: int, error: float, device: torch.device) -> None:
        self._best = torch.full((n, k), -torch.inf, device=device)
        self._margin = 2 * error  # that of the row, and that of the last of the best

    def select(self, scores: Tensor) -> _Found:
        """Return who of a block ``(Q, B)`` may be among the best; rows are columns."""
        peaks = scores.amax(1)
        rising = (peaks > self._best[:, -1]).nonzero()[:, 0]
        if len(rising):
            known = torch.cat((self._best[rising], scores[rising]), 1)
            self._best[rising] = known.topk(self._best.shape[1]).values
        floors = self._best[:, -1] - self._margin
        hot = (peaks >= floors).nonzero()[:, 0]
        chosen = scores[hot]
        at, column = (chosen >= floors[hot, None]).nonzero(as_tuple=True)
        return _Found(*map(to_array, (hot[at], column, chosen[at, column])))

    def now(self) -> Rows:
        return to_array(self._best[:, -1] - self._margin)


class _Best:
    """The best rows of each query, compared exactly, and candidates that wait."""

    def __init__(self, queries: Rows, features: Rows, norms: Rows, k: int) -> None:
        self.k = k
        self._compared = queries, features, norms
        # Ordered by query, then from the best to the worst.
        self._query, self._row = np.empty((2, 0), np.int64)
        self._score = np.empty(0, np.float32)
        self._waiting: list[_Found] = []
        self.n_waiting = 0

    def add(self, start: int, found: _Found) -> None:
        """Let candidates wait whose columns begin at row *start*."""
        self._waiting.append(_Found(found.query, found.row + start, found.score))
        self.n_waiting += len(found.row)

    def settle(self, floors: Rows) -> None:
        """Compare those who wait, if they are still above their *floors*."""
        query, row, fast = map(np.concatenate, zip(*self._waiting))
        hopeful = fast >= floors[query]
        pairs = query[hopeful], row[hopeful]
        self._keep(*pairs, cosines(*self._compared, pairs))
        self._waiting, self.n_waiting = [], 0

    def _keep(self, query: Rows, row: Rows, score: Rows) -> None:
        query = np.concatenate((self._query, query))
        row = np.concatenate((self._row, row))
        score = np.concatenate((self._score, score))
        order = np.lexsort((row, -score, query))
        query = query[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        order, self._query = order[place < self.k], query[place < self.k]
        self._row, self._score = row[order], score[order]

    def nearest(self) -> Nearest:
        shape = len(self._compared[0]), self.k
        return Nearest(self._score.reshape(shape), self._row.reshape(shape))
