"""
The graph of identities: for each one, who looks most alike.

P identities, K neighbours of each. Of every identity one image is compared, so the
graph needs P rows of features and P * K numbers, and never P * P scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array
from unfussy.errors import InputValueError
from unfussy.models.adaface.gallery import Gallery
from unfussy.models.adaface.gallery_inputs import dense, on_host
from unfussy.models.adaface.matching import Matcher, nearest_by
from unfussy.models.adaface.searching import Rows
from unfussy.models.adaface.shares import Share

__all__ = ["Features", "IdentityGraph", "build_graph"]

Features: TypeAlias = Callable[[list[int]], Any]
"""Returns the features of images, by their numbers: a tensor or array of rows."""


@dataclass(frozen=True, slots=True)
class IdentityGraph:
    """
    Who looks most alike, in one epoch.

    Attributes:
        images: Which image of each identity was compared, ``(P,)``.
        neighbours: The identities most like each, nearest first, ``(P, K)``.
    """

    images: Rows
    neighbours: Rows

    def save(self, path: Path, /) -> None:
        """Write the graph as ``.npz``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=self.images, neighbours=self.neighbours)


def build_graph(
    images: Rows,
    k: int,
    features: Features,
    matcher: Matcher | None,
    *,
    share: Share,
    sizes: tuple[int, int],
) -> IdentityGraph:
    """
    Return the graph of identities by one image of each.

    Args:
        images: Their numbers, ``(P,)``.
        k: How many neighbours.
        features: Computes features of images.
        matcher: Scores of pairs; cosines if None.
        share: Processes that are together compute a part each.
        sizes: How many probes and how many gallery rows are scored at once.
    """
    mine = np.array(share.of_rows(len(images)))
    rows = share.gather(_features_of(images[mine], features, sizes[0]))
    if matcher is None:
        found = _nearest_by_cosine(rows.flatten(1), mine, k)
    else:
        found = nearest_by(matcher, rows, mine, k, sizes)
    return IdentityGraph(images, share.gather(from_array(found)).numpy())


def _features_of(images: Rows, features: Features, size: int) -> Tensor:
    parts = []
    for start in range(0, len(images), size):
        numbers = images[start : start + size].tolist()
        part = from_array(on_host(dense(features(numbers))))
        if len(part) != len(numbers):
            raise InputValueError(
                f"features() returns one row an image, got {len(part)} rows for "
                f"{len(numbers)} images"
            )
        parts.append(part)
    return torch.cat(parts)


def _nearest_by_cosine(features: Tensor, mine: Rows, k: int) -> Rows:
    found = Gallery(features).search(features[mine].numpy(), k + 1).indices
    is_self = found == mine[:, None]
    # Many equal images may have left no room for oneself: the last is too much then.
    is_self[~is_self.any(1), -1] = True
    nearest: Rows = found[~is_self].reshape(len(mine), k)
    return nearest
