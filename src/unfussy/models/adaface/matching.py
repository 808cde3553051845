"""
QAConv, and neighbours by any matcher: scores of pairs, in blocks.

p probes, g gallery rows, C channels, H rows and W columns of a feature map. After Liao
and Shao, "Interpretable and Generalizable Person Re-Identification with Query-Adaptive
Convolution and Temporal Lifting", 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from unfussy import auto_device, inference
from unfussy.errors import InputValueError
from unfussy.models.adaface.searching import Rows

__all__ = ["Matcher", "QAConv", "nearest_by"]

Matcher: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Scores ``(p, g)`` of probes ``(p, ...)`` and gallery ``(g, ...)``; more is liker."""


class QAConv(nn.Module):
    """
    Scores how well two feature maps match, place by place.

    Each place of one map finds its best match in the other, in both directions; two
    normalisations and a linear layer make one score of those. Keys are the official
    ones.

    Args:
        num_features: Channels of the feature maps, C.
        height: Their rows, H.
        width: Their columns, W.

    Examples:
        >>> QAConv(8, 2, 2).eval()(torch.ones(3, 8, 2, 2), torch.ones(5, 8, 2, 2)).shape
        torch.Size([3, 5])
    """

    def __init__(self, num_features: int, height: int, width: int) -> None:
        super().__init__()
        self.num_features, self.height, self.width = num_features, height, width
        self.bn = nn.BatchNorm1d(1)
        self.fc = nn.Linear(height * width, 1)
        self.logit_bn = nn.BatchNorm1d(1)
        nn.init.constant_(self.fc.weight, 1 / (height * width))
        nn.init.zeros_(self.fc.bias)

    def forward(self, probe: Tensor, gallery: Tensor) -> Tensor:
        """
        Return scores ``(p, g)`` of feature maps ``(p, C, H, W)`` and ``(g, C, H, W)``.

        Raises:
            InputValueError: If a feature map has another shape.
        """
        for maps in (probe, gallery):
            self._check(maps)
        dots = torch.einsum("pcs,gcr->pgsr", probe.flatten(2), gallery.flatten(2))
        places = self.height * self.width
        best = torch.stack((dots.amax(2), dots.amax(3)), 2)  # (p, g, 2, H * W)
        best = self.bn(best.reshape(-1, 1, places)).reshape(-1, places)
        scores = self.fc(best).reshape(-1, 2).sum(1, keepdim=True)
        logits: Tensor = self.logit_bn(scores)
        return logits.reshape(len(probe), len(gallery))

    def _check(self, maps: Tensor) -> None:
        wanted = self.num_features, self.height, self.width
        if tuple(maps.shape[1:]) != wanted:
            raise InputValueError(
                f"QAConv takes feature maps (n, {', '.join(map(str, wanted))}), got "
                f"{tuple(maps.shape)}"
            )


def nearest_by(
    matcher: Matcher, features: Tensor, probes: Rows, k: int, sizes: tuple[int, int]
) -> Rows:
    """
    Return for some rows the *k* others that match best, ``(p, k)``, the best first.

    Equal scores are in the order of rows.

    Args:
        matcher: Scores pairs of rows; a module is called in eval mode, without
            gradients, on its device.
        features: ``(P, ...)``.
        probes: Which rows are asked for, ``(p,)``.
        k: How many, less than P.
        sizes: How many probes and how many others are scored at once.

    Raises:
        InputValueError: If scores have another shape, or hold NaN or infinity.
    """
    nearest = [np.empty((0, k), np.int64)]
    for start in range(0, len(probes), sizes[0]):
        rows = torch.from_numpy(probes[start : start + sizes[0]])
        nearest.append(_nearest(matcher, features, rows, k, sizes[1]))
    return np.concatenate(nearest)


def _nearest(
    matcher: Matcher, features: Tensor, probes: Tensor, k: int, size: int
) -> Rows:
    best = torch.full((len(probes), 0), 0.0)
    rows = torch.empty(best.shape, dtype=torch.int64)
    for start in range(0, len(features), size):
        block = features[start : start + size]
        scores = _scores(matcher, features[probes], block)
        numbers = torch.arange(start, start + len(block)).expand(scores.shape)
        scores = scores.masked_fill(numbers == probes[:, None], -torch.inf)
        best, rows = torch.cat((best, scores), 1), torch.cat((rows, numbers), 1)
        best, order = best.sort(dim=1, descending=True, stable=True)
        best, rows = best[:, :k], rows.gather(1, order[:, :k])
    return rows.numpy()


def _scores(matcher: Matcher, probe: Tensor, gallery: Tensor) -> Tensor:
    with torch.no_grad():
        if isinstance(matcher, nn.Module):
            scores = _called(matcher, probe, gallery)
        else:
            scores = matcher(probe, gallery)
    if scores.shape != (len(probe), len(gallery)) or not scores.isfinite().all():
        raise InputValueError(
            f"a matcher returns finite scores ({len(probe)}, {len(gallery)}), got "
            f"{tuple(scores.shape)} with {int((~scores.isfinite()).sum())} others"
        )
    return scores.float().cpu()


@inference
@auto_device
def _called(matcher: nn.Module, probe: Any, gallery: Any) -> Tensor:
    scores: Tensor = matcher(probe, gallery)
    return scores
