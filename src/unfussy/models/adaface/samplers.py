"""
Samplers of identities for metric learning: random ones, and ones that look alike.

P identities, G of them in a batch, each with ``num_instance`` images.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import nn
from torch.utils.data import Sampler

from unfussy.distributed import get_rank
from unfussy.errors import InputValueError
from unfussy.models.adaface.batches import Design, IdentityBatches
from unfussy.models.adaface.graph import Features, IdentityGraph, build_graph
from unfussy.models.adaface.identities import Identities
from unfussy.models.adaface.image_features import features_by
from unfussy.models.adaface.matching import Matcher
from unfussy.models.adaface.searching import Rows

__all__ = ["GraphSampler", "RandomIdentitySampler"]

_CHOOSING: Final = 2  # its random numbers are others than those that shuffle batches


class RandomIdentitySampler(Sampler[int]):
    """
    Batches of random identities, each identity at most once in an epoch.

    A batch has ``batch_size // num_instance`` identities; those left over at the end
    of an epoch wait for another one. No image is twice in a batch if its identity has
    enough. Pass the sampler to a ``DataLoader`` with the same ``batch_size``, or its
    ``batches`` as ``batch_sampler``.

    Every rank of a process group gets other batches, and as many. Nothing global is
    read or advanced: *seed* and epoch decide all. Epochs are counted by themselves.

    Args:
        data_source: The data set, of items ``(image, identity, ...)``.
        batch_size: Images in a batch.
        num_instance: Images of each identity in it.
        labels: Who is on each image, if items do not say it, or are slow to make.
        seed: A whole number.
        rank: Which process this is, if not that of the process group.
        world_size: How many there are, if not those of the process group.

    Attributes:
        batches: Its batches, as lists.

    Raises:
        InputTypeError: If items do not say who is on them.
        InputValueError: If there are too few identities for a batch, or it cannot be
            divided so.

    Examples:
        >>> labels = ["ann", "ann", "bob", "bob", "eve", "eve"]
        >>> sampler = RandomIdentitySampler(range(6), 4, 2, labels=labels)
        >>> len(sampler), len(sampler.batches)
        (4, 1)
        >>> [len({labels[i] for i in batch}) for batch in sampler.batches]
        [2]
    """

    def __init__(
        self,
        data_source: Any,
        batch_size: int = 64,
        num_instance: int = 4,
        *,
        labels: Iterable[Hashable] | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._design = Design(batch_size, num_instance, seed, rank, world_size)
        self._identities = Identities.of(data_source, labels)
        self._design.check(self._identities)
        n_groups = len(self._identities) // self._design.n_identities
        self.batches = IdentityBatches(
            self._identities, self._groups, n_groups, self._design
        )

    def set_epoch(self, epoch: int, /) -> None:
        """Make the next iteration that of *epoch*; those after it count on."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.batches)

    def __len__(self) -> int:
        return len(self.batches) * self._design.batch_size

    def _groups(self, epoch: int) -> Rows:
        random = np.random.default_rng((self._design.seed, epoch))
        size = self._design.n_identities
        order = random.permutation(len(self._identities))
        return order[: len(order) // size * size].reshape(-1, size)


class GraphSampler(Sampler[int]):
    """
    Batches of an identity and those who look most like it, one for each identity.

    Before an epoch one image of each identity is chosen, its features are computed,
    and the nearest ``batch_size // num_instance - 1`` identities are found. A batch
    holds them, the nearest first, and last the identity itself, each with
    *num_instance* images; whole batches are shuffled. After Liao and Shao, "Graph
    Sampling Based Deep Metric Learning for Generalizable Person Re-Identification",
    2022.

    All ranks of a process group compute a part of the graph each; every one gets
    other batches of it, and as many. Apart from that it is as `RandomIdentitySampler`.

    Args:
        data_source: The data set, of items ``(image, identity, ...)``, where an image
            may be the path of one.
        img_path: The folder that paths are below.
        transformer: Makes of a picture or image what *model* takes; without one, files
            are aligned faces.
        model: Computes features; called in eval mode, on its device. Of several
            results the first counts.
        matcher: Scores feature maps, probes ``(p, ...)`` against others ``(g, ...)``,
            as ``(p, g)``: a `QAConv`, any module, any function. Without one, cosines
            are compared.
        batch_size: Images in a batch.
        num_instance: Images of each identity in it.
        gal_batch_size: How many others *matcher* scores at once.
        prob_batch_size: How many probes it scores at once, and how many images go
            through *model* at once.
        save_path: A folder; each graph is written there as ``graph-<epoch>.npz``.
        labels: Who is on each image, if items do not say it, or are slow to make.
        features: Computes features instead of *model*: called with a list of numbers
            of images, returns their rows.
        seed: A whole number.
        rank: Which process this is, if not that of the process group.
        world_size: How many there are, if not those of the process group.
        refresh_every: For how many epochs a graph is used.

    Attributes:
        batches: Its batches, as lists.
        graph: The `IdentityGraph` of the last epoch that was begun, or None.

    Raises:
        InputTypeError: If items do not say who is on them.
        InputValueError: If there are too few identities for a batch, it cannot be
            divided so, or there are neither *model* nor *features*, or both.
    """

    def __init__(  # noqa: PLR0917 - the official order
        self,
        data_source: Any,
        img_path: str | PathLike[str] | None = None,
        transformer: Callable[[Any], Any] | None = None,
        model: nn.Module | None = None,
        matcher: Matcher | None = None,
        batch_size: int = 64,
        num_instance: int = 4,
        gal_batch_size: int = 256,
        prob_batch_size: int = 256,
        save_path: str | PathLike[str] | None = None,
        *,
        labels: Iterable[Hashable] | None = None,
        features: Features | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        refresh_every: int = 1,
    ) -> None:
        self._design = Design(batch_size, num_instance, seed, rank, world_size)
        self._sizes = prob_batch_size, gal_batch_size
        _check_counts(*self._sizes, refresh_every)
        self._identities = Identities.of(data_source, labels)
        self._design.check(self._identities)
        if features is None and model is not None:
            self._features = features_by(
                model, data_source, img_path, transformer, batch_size=prob_batch_size
            )
        elif features is not None and model is None:
            self._features = features
        else:
            raise InputValueError("GraphSampler takes model= or features=, one of both")
        self._matcher, self._refresh_every = matcher, refresh_every
        self._save_path = None if save_path is None else Path(save_path)
        self._graph_of: tuple[int, IdentityGraph] | None = None
        self.batches = IdentityBatches(
            self._identities, self._groups, len(self._identities), self._design
        )

    @property
    def graph(self) -> IdentityGraph | None:
        """The graph of the last epoch that was begun, or None."""
        return None if self._graph_of is None else self._graph_of[1]

    def set_epoch(self, epoch: int, /) -> None:
        """Make the next iteration that of *epoch*; those after it count on."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.batches)

    def __len__(self) -> int:
        return len(self.batches) * self._design.batch_size

    def _groups(self, epoch: int) -> Rows:
        of_graph = epoch // self._refresh_every
        if self._graph_of is None or self._graph_of[0] != of_graph:
            self._graph_of = of_graph, self._built(epoch, of_graph)
        neighbours = self._graph_of[1].neighbours
        itself = np.arange(len(neighbours))[:, None]
        random = np.random.default_rng((self._design.seed, epoch))
        return random.permutation(np.hstack((neighbours, itself)), axis=0)

    def _built(self, epoch: int, of_graph: int) -> IdentityGraph:
        random = np.random.default_rng((self._design.seed, of_graph, 0, _CHOOSING))
        graph = build_graph(
            self._identities.draw_one_each(random),
            self._design.n_identities - 1,
            self._features,
            self._matcher,
            share=self._design.share(),
            sizes=self._sizes,
        )
        if self._save_path is not None and get_rank() == 0:
            graph.save(self._save_path / f"graph-{epoch:04}.npz")
        return graph


def _check_counts(*counts: int) -> None:
    if min(counts) < 1:
        raise InputValueError(
            "gal_batch_size, prob_batch_size and refresh_every are whole numbers from "
            f"1, got {min(counts)}"
        )
