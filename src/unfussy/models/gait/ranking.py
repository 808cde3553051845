"""
Who in a gallery is closest, and how often that is right.

n probes, m embeddings of a gallery, D entries of each of P parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy import TensorLike
from unfussy.errors import InputValueError
from unfussy.models.gait.distances import Metric, as_embeddings, distance

__all__ = ["Ranking", "Scores", "evaluate", "rank"]

_Pairs: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

_ENTRIES: Final = 2**24  # of a table of distances at once
_DIMS: Final = 3  # (n, D, P)


@dataclass(frozen=True, slots=True)
class Ranking:
    """
    Who in a gallery is closest to each probe, the closest first.

    Attributes:
        indices: Rows of the gallery, ``(n, k)``, int64; ``(k,)`` of a single probe.
            Of equal distances the first row comes first.
        distances: How far these are, of the same shape.
    """

    indices: Tensor
    distances: Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """
    How well a gallery tells who probes are of; all from 0 to 1.

    Attributes:
        ranks: For each k, how often one of the k closest is of the same identity.
        mean_ap: Mean average precision (mAP).
        mean_inp: Mean inverse negative penalty (mINP): of all rows up to the last
            right one, how many are right.
        n_probes: How many probes these numbers are of.
        n_without: How many probes are of no one in the gallery, and not counted.
    """

    ranks: dict[int, float]
    mean_ap: float
    mean_inp: float
    n_probes: int
    n_without: int

    def __str__(self) -> str:
        named = {f"rank-{k}": share for k, share in self.ranks.items()}
        named |= {"mAP": self.mean_ap, "mINP": self.mean_inp}
        listed = ", ".join(f"{name} {share:.2%}" for name, share in named.items())
        beside = f", {self.n_without} without a match" if self.n_without else ""
        return f"{listed} ({self.n_probes} probes{beside})"


def rank(
    probes: TensorLike,
    gallery: TensorLike,
    /,
    k: int = 1,
    metric: Metric = "euclidean",
) -> Ranking:
    """
    Return the *k* of a gallery that are closest to each probe.

    Args:
        probes: ``(n, D, P)``, or one, ``(D, P)``.
        gallery: ``(m, D, P)``. Of fewer than *k*, all are returned.
        k: How many.
        metric: As in `distance`.

    Raises:
        InputTypeError: If these are no arrays or tensors.
        InputValueError: If their shapes differ, or *k* is below 1.

    Examples:
        >>> import torch
        >>> gallery = torch.tensor([0.0, 5.0, 2.0]).reshape(3, 1, 1)
        >>> rank(torch.ones(1, 1), gallery, k=2)
        Ranking(indices=tensor([0, 2]), distances=tensor([1., 1.]))
    """
    if k < 1:
        raise InputValueError(f"k is 1 or more, got {k}")
    rows, known = _checked(probes, "probes"), _checked(gallery, "gallery")
    found = [(d[:, :k], order[:, :k]) for d, order in _sorted(rows, known, metric)]
    distances, indices = (torch.cat(part) for part in zip(*found))
    if np.ndim(probes) < _DIMS:
        return Ranking(indices[0], distances[0])
    return Ranking(indices, distances)


def evaluate(
    probes: TensorLike,
    probe_labels: Iterable[Any],
    gallery: TensorLike,
    gallery_labels: Iterable[Any],
    *,
    metric: Metric = "euclidean",
    ks: Sequence[int] = (1, 5, 10),
    ignore: Any = None,
) -> Scores:
    """
    Return how well a *gallery* tells who *probes* are of, as Gait3D reports it.

    Args:
        probes: ``(n, D, P)``.
        probe_labels: Who each is of: numbers or strings.
        gallery: ``(m, D, P)``.
        gallery_labels: Who each of the gallery is of.
        metric: As in `distance`.
        ks: Which ranks to report.
        ignore: A table ``(n, m)`` of pairs that do not count, such as a sequence and
            itself.

    Returns:
        Means over all probes that are of someone in the gallery; NaN without any. Of
        equal distances the first row of the gallery counts as closer.

    Raises:
        InputTypeError: If embeddings are no arrays or tensors.
        InputValueError: If there are not as many labels as embeddings, or shapes do
            not fit.

    Examples:
        >>> import torch
        >>> gallery = torch.tensor([0.0, 5.0, 2.0]).reshape(3, 1, 1)
        >>> probes = torch.tensor([1.0, 4.0]).reshape(2, 1, 1)
        >>> print(evaluate(probes, "ab", gallery, "aba", ks=[1]))
        rank-1 100.00%, mAP 100.00%, mINP 100.00% (2 probes)
    """
    rows, known = _checked(probes, "probes"), _checked(gallery, "gallery")
    wanted = _labels(probe_labels, len(rows), "probe_labels")
    given = _labels(gallery_labels, len(known), "gallery_labels")
    counted = np.ones((len(rows), len(known)), dtype=bool)
    if ignore is not None:
        counted = ~_table(ignore, counted.shape)
    found: list[_Hits] = []
    for _, order in _sorted(rows, known, metric):
        for closest in order.cpu().numpy():
            i = len(found)
            kept = closest[counted[i, closest]]
            found.append(_hits(np.flatnonzero(given[kept] == wanted[i])))
    return _mean(found, ks)


@dataclass(frozen=True, slots=True)
class _Hits:
    """What one probe gives: its first right row, and its precisions."""

    first: float
    ap: float
    inp: float


def _hits(places: np.ndarray[Any, Any]) -> _Hits:
    if not len(places):
        return _Hits(np.inf, np.nan, np.nan)
    precisions = np.arange(1, len(places) + 1) / (places + 1)
    return _Hits(places[0], precisions.mean(), len(places) / (places[-1] + 1))


def _mean(found: list[_Hits], ks: Sequence[int]) -> Scores:
    good = [hits for hits in found if np.isfinite(hits.first)]
    firsts = np.array([hits.first for hits in good])
    return Scores(
        ranks={k: _average(firsts < k) for k in ks},
        mean_ap=_average(np.array([hits.ap for hits in good])),
        mean_inp=_average(np.array([hits.inp for hits in good])),
        n_probes=len(good),
        n_without=len(found) - len(good),
    )


def _average(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _sorted(
    probes: Tensor, gallery: Tensor, metric: Metric
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield distances of some probes at a time, ascending, and the rows they are of."""
    at_once = max(1, _ENTRIES // max(1, len(gallery)))
    for start in range(0, max(1, len(probes)), at_once):
        table = distance(probes[start : start + at_once], gallery, metric)
        sort = table.sort(dim=1, stable=True)
        yield sort.values, sort.indices


# --- checks --------------------------------------------------------------------------


def _checked(value: Any, name: str) -> Tensor:
    embeddings = as_embeddings(value, name)
    if embeddings.ndim > _DIMS or (name == "gallery" and embeddings.ndim != _DIMS):
        raise InputValueError(f"{name} is (n, D, P), got {tuple(embeddings.shape)}")
    return embeddings if embeddings.ndim == _DIMS else embeddings.unsqueeze(0)


def _labels(labels: Iterable[Any], n: int, name: str) -> np.ndarray[Any, Any]:
    given = labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else labels
    found = np.fromiter(given, dtype=object)
    if len(found) != n:
        raise InputValueError(f"{name} has {len(found)} labels for {n} embeddings")
    return found


def _table(ignore: Any, shape: tuple[int, int]) -> _Pairs:
    given = ignore.cpu() if isinstance(ignore, Tensor) else ignore
    table = np.asarray(given, dtype=bool)
    if table.shape != shape:
        raise InputValueError(f"ignore is a table {shape}, got {table.shape}")
    return table
