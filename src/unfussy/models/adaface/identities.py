"""
Which images are of whom, and fair draws from the images of one identity.

P identities; identities are numbered in the order in which their labels come first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface.searching import Rows

__all__ = ["Decks", "Identities"]


@dataclass(frozen=True, slots=True)
class Identities:
    """
    The images of each identity.

    Attributes:
        labels: Who they are, P of them.
        images: The numbers of all images, identity by identity.
        starts: Where in *images* those of an identity begin, ``(P + 1,)``.
    """

    labels: tuple[Hashable, ...]
    images: Rows
    starts: Rows

    @classmethod
    def of(cls, data_source: Any, labels: Iterable[Hashable] | None) -> Identities:
        """
        Return the identities of a data set.

        Args:
            data_source: Its ``targets``, or else the second entries of its items, say
                who is on an image.
            labels: Says it instead, one for each image.

        Raises:
            InputTypeError: If items have no second entry.
            InputValueError: If there are more or fewer labels than images.
        """
        known: dict[Hashable, int] = {}
        named = _labels_in(data_source, labels)
        of_image = np.array([known.setdefault(x, len(known)) for x in named], np.int64)
        counts = np.bincount(of_image, minlength=len(known))
        starts = np.concatenate(([0], np.cumsum(counts)))
        return cls(tuple(known), np.argsort(of_image, kind="stable"), starts)

    def __len__(self) -> int:
        return len(self.labels)

    def draw_one_each(self, random: np.random.Generator) -> Rows:
        """Return a random image of each identity, ``(P,)``."""
        place = random.integers(self.starts[:-1], self.starts[1:])
        return self.images[place]


class Decks:
    """
    The images of each identity as a shuffled deck, dealt from the top.

    Every image is dealt once before any is dealt again. A deal holds none twice if
    there are enough, and else each about as often as any other.
    """

    def __init__(self, identities: Identities, random: np.random.Generator) -> None:
        self._images = identities.images.copy()
        self._starts = identities.starts
        self._next = np.diff(identities.starts)  # used up: the first deal shuffles
        self._random = random

    def deal(self, identity: int, n: int) -> Rows:
        """Return *n* images of an identity."""
        deck = self._images[self._starts[identity] : self._starts[identity + 1]]
        dealt: list[Rows] = []
        while n > 0:
            if self._next[identity] == len(deck):
                self._shuffle(deck, dealt)
                self._next[identity] = 0
            top = self._next[identity]
            dealt.append(deck[top : top + n].copy())
            self._next[identity] += len(dealt[-1])
            n -= len(dealt[-1])
        return np.concatenate(dealt)

    def _shuffle(self, deck: Rows, dealt: Sequence[Rows]) -> None:
        self._random.shuffle(deck)
        if dealt:  # in this deal already, so they come last
            again = np.isin(deck, dealt[0])
            deck[:] = np.concatenate((deck[~again], deck[again]))


def _labels_in(data_source: Any, labels: Iterable[Any] | None) -> list[Hashable]:
    if labels is None:
        labels = getattr(data_source, "targets", None)
    if labels is None:
        return [_second(item) for item in data_source]
    listed = getattr(labels, "tolist", None)
    named = list(labels) if listed is None else listed()
    if len(named) != len(data_source):
        raise InputValueError(
            f"there are {len(named)} labels for {len(data_source)} images; give one "
            "for each"
        )
    return named


def _second(item: Any) -> Hashable:
    try:
        label = item[1]
    except (TypeError, IndexError, KeyError) as error:
        raise InputTypeError(
            "items of a data source are (image, identity, ...), got a "
            f"{type(item).__name__}; pass labels=, one for each image"
        ) from error
    plain: Hashable = label.item() if hasattr(label, "item") else label
    return plain
