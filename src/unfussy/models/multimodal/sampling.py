"""
Captions drawn from logits, word by word, as the official generator draws them.

Always in float32. R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from unfussy.errors import InputValueError

__all__ = ["CaptionRules", "CaptionWriter", "sample_caption"]

_STOPS = frozenset((0, 2))  # <PAD> and <END>
_SKIPPED = frozenset((1, 3))  # <START> and <UNK>


@dataclass(frozen=True)
class CaptionRules:
    """
    How captions are drawn from logits.

    Attributes:
        temperature: What logits are divided by; 0 takes the best word each time.
        repetition_penalty: What the logit of the last word is divided by as well.
        max_words: How many rows of logits are used at most.

    Raises:
        InputValueError: If one of them makes no sense.
    """

    temperature: float = 0.7
    repetition_penalty: float = 1.2
    max_words: int = 30

    def __post_init__(self) -> None:
        if not (isfinite(self.temperature) and self.temperature >= 0):
            raise InputValueError(
                f"temperature is 0 (the best word each time) or more, "
                f"got {self.temperature}"
            )
        if not (isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise InputValueError(
                f"repetition_penalty is more than 0, got {self.repetition_penalty}"
            )
        if self.max_words < 1:
            raise InputValueError(f"max_words is 1 or more, got {self.max_words}")


class CaptionWriter:
    """
    One caption in the making.

    Attributes:
        ids: The words so far.
        has_stopped: Whether no row can add to them.
    """

    def __init__(
        self, rules: CaptionRules, words: AbstractSet[int], generator: torch.Generator
    ) -> None:
        self.ids: list[int] = []
        self.has_stopped = False
        self._rules = rules
        self._words = words
        self._generator = generator

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn."""
        return self._generator.device

    def read(self, rows: Iterable[Tensor], /) -> None:
        """Draw one word from each row ``(V,)`` until one says stop."""
        for row in rows:
            if self.has_stopped:
                return  # without a draw
            self._take(self._draw(row))

    def _draw(self, row: Tensor) -> int:
        scores = row.to(self._generator.device, torch.float32, copy=True)
        if self.ids:
            scores[self.ids[-1]] /= self._rules.repetition_penalty
        if self._rules.temperature == 0:
            return int(scores.argmax())
        chances = (scores / self._rules.temperature).softmax(-1)
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def _take(self, word: int) -> None:
        if word in _STOPS:
            self.has_stopped = True
        elif word not in _SKIPPED and word in self._words:
            self.ids.append(word)


def sample_caption(
    logits: Tensor,
    /,
    words: AbstractSet[int],
    *,
    generator: torch.Generator,
    rules: CaptionRules | None = None,
) -> list[int]:
    """
    Return the ids of a caption that is drawn from *logits*.

    Args:
        logits: One row ``(V,)`` for each word, ``(R, V)``.
        words: The ids that may be said; others are drawn and dropped. What
            `CaptionTokenizer.spoken_ids` gives.
        generator: Where the numbers come from, one draw a row.
        rules: Temperature and the like; by default the official ones.

    Examples:
        >>> best = CaptionRules(temperature=0)
        >>> logits = torch.eye(8)[[5, 1, 6, 2, 7]]
        >>> sample_caption(
        ...     logits, {5, 6, 7}, generator=torch.Generator(), rules=best
        ... )
        [5, 6]
    """
    rules = rules or CaptionRules()
    writer = CaptionWriter(rules, words, generator)
    writer.read(logits[: rules.max_words])
    return writer.ids
