"""
Groups of identities made into batches of their images, a share of them on each rank.

P identities, G of them in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from torch.utils.data import Sampler

from unfussy.errors import InputValueError
from unfussy.models.adaface.identities import Decks, Identities
from unfussy.models.adaface.searching import Rows
from unfussy.models.adaface.shares import Share

__all__ = ["Design", "IdentityBatches"]

_DEALING: Final = 1  # its random numbers are others than those that shuffle batches


@dataclass(frozen=True, slots=True)
class Design:
    """
    What batches look like.

    Attributes:
        batch_size: Images in a batch.
        num_instance: Images of each identity in it.
        seed: With the epoch it decides everything random.
        rank: Which process this is; None for that of the process group.
        world_size: How many there are; None likewise.

    Raises:
        InputValueError: If a batch cannot be divided so, or there is no such rank.
    """

    batch_size: int
    num_instance: int
    seed: int = 0
    rank: int | None = None
    world_size: int | None = None

    def __post_init__(self) -> None:
        n, m = self.batch_size, self.num_instance
        if m < 1 or n % m or n < 2 * m:
            raise InputValueError(
                "a batch holds num_instance images of each of two identities or more: "
                f"batch_size={n} is no such multiple of num_instance={m}"
            )
        if self.seed < 0:
            raise InputValueError(f"seed is a whole number from 0, got {self.seed}")
        self.share()

    @property
    def n_identities(self) -> int:
        """How many identities are in a batch, G."""
        return self.batch_size // self.num_instance

    def share(self) -> Share:
        """Return which batches are this process's, now."""
        return Share.of(self.rank, self.world_size)

    def check(self, identities: Identities) -> None:
        """
        Make sure that there are enough *identities* for a batch.

        Raises:
            InputValueError: If there are not.
        """
        if len(identities) < self.n_identities:
            raise InputValueError(
                f"a batch of {self.batch_size} takes {self.n_identities} identities, "
                f"the data have {len(identities)}"
            )


class IdentityBatches(Sampler[list[int]]):
    """
    The batches of a sampler, for ``DataLoader(batch_sampler=sampler.batches)``.

    On each rank they are others, and as many. Not made by hand: `RandomIdentitySampler`
    and `GraphSampler` have one each, and count their epochs with it.

    Attributes:
        epoch: Which epoch the next iteration is.
    """

    def __init__(
        self,
        identities: Identities,
        groups: Callable[[int], Rows],
        n_groups: int,
        design: Design,
    ) -> None:
        self._identities, self._design = identities, design
        self._groups, self._n_groups = groups, n_groups
        self.epoch = 0

    def set_epoch(self, epoch: int, /) -> None:
        """Make the next iteration that of *epoch*; those after it count on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(epoch)

    def __len__(self) -> int:
        n_ranks = self._design.share().n
        if n_ranks > self._n_groups:
            raise InputValueError(
                f"{self._n_groups} batches an epoch are too few for {n_ranks} ranks"
            )
        return self._n_groups // n_ranks

    def _batches(self, epoch: int) -> Iterator[list[int]]:
        share, n = self._design.share(), self._design.num_instance
        # As many on each rank: one that had more would wait for the others for ever.
        n_mine = len(self)
        mine = self._groups(epoch)[share.rank :: share.n][:n_mine]
        random = np.random.default_rng((self._design.seed, epoch, share.rank, _DEALING))
        decks = Decks(self._identities, random)
        for group in mine.tolist():
            yield np.concatenate([decks.deal(i, n) for i in group]).tolist()
