"""
How far apart embeddings are: the mean over parts of the distance of each part.

Not the distance of all parts in one vector. ... any leading dimensions, D entries of
each of P parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy import TensorLike
from unfussy._arrays import from_array
from unfussy.errors import InputTypeError, InputValueError

__all__ = ["Metric", "as_embeddings", "check_metric", "distance"]

Metric: TypeAlias = Literal["euclidean", "cosine"]

_TILE: Final = 2048  # rows of either side at once
_PRODUCTS: Final = "use_mm_for_euclid_dist"


@torch.no_grad()
def distance(a: TensorLike, b: TensorLike, /, metric: Metric = "euclidean") -> Tensor:
    """
    Return the distance of every embedding in *a* to every one in *b*.

    Args:
        a: ``(..., D, P)``, on any device, an array or a tensor.
        b: ``(..., D, P)``.
        metric: ``"euclidean"``, as in the official evaluations, or ``"cosine"``: one
            minus the cosine.

    Returns:
        The leading dimensions of *a*, then those of *b*; in float32 or finer, without
        gradients. Computed in double precision and tile by tile: equal embeddings are
        no further apart than 1e-7 of their length, and beside the result little memory
        is needed.

    Raises:
        InputTypeError: If these are no arrays or tensors.
        InputValueError: If they differ in D, P or device, or there is no such metric.

    Examples:
        >>> import torch
        >>> gallery = torch.eye(3).reshape(3, 3, 1)
        >>> distance(gallery[0], gallery)
        tensor([0.0000, 1.4142, 1.4142])
    """
    check_metric(metric)
    left, right = as_embeddings(a, "a"), as_embeddings(b, "b")
    if left.shape[-2:] != right.shape[-2:] or left.device != right.device:
        raise InputValueError(
            f"embeddings to compare have one size and device, got "
            f"{tuple(left.shape)} on {left.device} and {tuple(right.shape)} on "
            f"{right.device}"
        )
    dtype = torch.promote_types(
        torch.promote_types(left.dtype, right.dtype), torch.float32
    )
    rows, columns = _flat(left), _flat(right)
    found = torch.empty(len(rows), len(columns), dtype=dtype, device=left.device)
    for i in range(0, len(rows), _TILE):
        for j in range(0, len(columns), _TILE):
            tile = _METRICS[metric](rows[i : i + _TILE], columns[j : j + _TILE])
            found[i : i + _TILE, j : j + _TILE] = tile
    return found.reshape(left.shape[:-2] + right.shape[:-2])


def as_embeddings(value: Any, /, name: str) -> Tensor:
    """
    Return embeddings as a tensor ``(..., D, P)``.

    Raises:
        InputTypeError: If they are no array or tensor of real numbers.
        InputValueError: If they have fewer than two dimensions.
    """
    if isinstance(value, np.ndarray):
        value = from_array(value)
    if not isinstance(value, Tensor) or value.is_complex():
        kind = getattr(value, "dtype", type(value).__name__)
        raise InputTypeError(f"{name} is an array or a tensor of numbers, got {kind}")
    if value.ndim < 2:  # noqa: PLR2004 - (D, P)
        raise InputValueError(
            f"{name} holds embeddings (..., D, P), got {tuple(value.shape)}"
        )
    return value


def check_metric(metric: object, /) -> None:
    """
    Check that there is such a metric.

    Raises:
        InputValueError: If there is none.
    """
    if metric not in _METRICS:
        raise InputValueError(f"metric is 'euclidean' or 'cosine', got {metric!r}")


def _flat(embeddings: Tensor) -> Tensor:
    shape = embeddings.shape
    return embeddings.reshape(prod(shape[:-2]), *shape[-2:])


def _by_part(embeddings: Tensor) -> Tensor:
    """Return ``(n, D, P)`` as ``(P, n, D)`` in the finest precision there is."""
    finest = torch.float32 if embeddings.device.type == "mps" else torch.float64
    return embeddings.permute(2, 0, 1).to(finest)


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    by_part = zip(_by_part(a), _by_part(b))
    distances = (torch.cdist(*pair, compute_mode=_PRODUCTS) for pair in by_part)
    return sum(distances, start=torch.zeros((), device=a.device)) / a.shape[-1]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    left, right = (F.normalize(_by_part(x), dim=-1) for x in (a, b))
    # All parts in one product: the sum over them is that of all entries.
    flat = [x.transpose(0, 1).flatten(1) for x in (left, right)]
    return 1 - flat[0] @ flat[1].T / a.shape[-1]


_METRICS: Final[Mapping[object, Callable[[Tensor, Tensor], Tensor]]] = {
    "euclidean": _euclidean,
    "cosine": _cosine,
}
