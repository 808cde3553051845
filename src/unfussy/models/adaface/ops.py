"""
Embeddings and their norms: taken apart, and put together from several views.

B batch, D size of an embedding, N views of one face. Everything is computed in
float32 or finer, as squares of what a network gives overflow in float16.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

__all__ = ["fuse_features_with_norm", "l2_norm", "project", "without_autocast"]


def l2_norm(input: Tensor, axis: int = 1) -> tuple[Tensor, Tensor]:  # noqa: A002
    """
    Divide vectors by their length, and return both.

    Args:
        input: ``(B, D)``, or any shape.
        axis: Along which the vectors lie.

    Returns:
        Unit vectors of the shape of *input*, and their former lengths, with *axis* of
        one. A vector of zeros stays zeros, with a length of zero.

    Examples:
        >>> unit, norm = l2_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        >>> unit.tolist(), norm.tolist()
        ([[0.6, 0.8], [0.0, 0.0]], [[5.0], [0.0]])
    """
    vectors = _at_least_float32(input)
    norm = torch.linalg.vector_norm(vectors, dim=axis, keepdim=True)
    return vectors / torch.where(norm == 0, 1.0, norm), norm


def fuse_features_with_norm(
    stacked_embeddings: Tensor, stacked_norms: Tensor
) -> tuple[Tensor, Tensor]:
    """
    Fuse views of the same faces, each weighed by its norm.

    The vectors before they were normalised are added. The norm of a sum is larger than
    that of its parts (twice as large, where two views agree), so thresholds for norms
    of single views do not hold for it.

    Args:
        stacked_embeddings: ``(N, B, D)``, unit vectors.
        stacked_norms: ``(N, B, 1)``.

    Returns:
        Unit vectors ``(B, D)``, and the norms of the sums, ``(B, 1)``. Views that
        cancel each other give zeros.

    Examples:
        >>> views = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> fuse_features_with_norm(views, torch.tensor([[[3.0]], [[4.0]]]))
        (tensor([[0.6000, 0.8000]]), tensor([[5.]]))
    """
    embeddings, norms = map(_at_least_float32, (stacked_embeddings, stacked_norms))
    return l2_norm((embeddings * norms).sum(0), axis=1)


def project(layers: nn.Sequential, features: Tensor, /) -> Tensor:
    """Run the last *layers* in float32 or finer, whatever their own precision is."""
    own = next(layers.parameters()).dtype
    finer = torch.promote_types(own, torch.float32)
    with without_autocast(features.device):
        # Copies would keep the running statistics of training for themselves.
        if own == finer or layers.training:
            projected: Tensor = layers(features.to(own))
            return projected
        weights = {key: _at_least_float32(x) for key, x in layers.state_dict().items()}
        inputs = (features.to(finer),)
        exact: Tensor = torch.func.functional_call(layers, weights, inputs)
        return exact


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Suspend an active autocast on *device*; do nothing where there is none."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _at_least_float32(values: Tensor) -> Tensor:
    if not values.is_floating_point():
        return values
    return values.to(torch.promote_types(values.dtype, torch.float32))
