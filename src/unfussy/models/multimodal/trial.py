"""A model with random weights and a vocabulary that is made up, to try things with."""

from __future__ import annotations

from typing import Final

from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.tokenizer import CaptionTokenizer

__all__ = ["trial_parts"]

_WORDS: Final = (
    "a an the of with in on engraving portrait landscape tree river bridge castle "
    "ship horse bird lion garden mountain old fine dark light detailed small large "
    "intricate seated standing woman man child city harbour forest sky cloud tower"
)


def trial_parts(
    seed: int, /, *, image_size: int, width: int
) -> tuple[MultimodalModel, CaptionTokenizer]:
    """Return a model and a tokenizer of the same, small vocabulary."""
    tokenizer = CaptionTokenizer.build([_WORDS])
    model = MultimodalModel.from_config(
        vocab_size=len(tokenizer), image_size=image_size, width=width, seed=seed
    )
    return model, tokenizer
