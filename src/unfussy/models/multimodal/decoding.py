"""
The text decoder running freely: each next word is the best one, by the transformer.

The words that are chosen so decide the logits, and the logits are nothing but a
projection of their embeddings: row 0 that of the latent, row t that of word t. So rows
can be had one after the other, and rows that nobody asks for cost nothing.

B batch, W width, T rows so far, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["FreeDecoder", "free_logits", "free_rows"]


class FreeDecoder(Protocol):
    """What of a text decoder running freely takes."""

    @property
    def token_embedding(self) -> nn.Embedding: ...  # noqa: D102

    @property
    def positional_encoding(self) -> nn.Embedding: ...  # noqa: D102

    @property
    def transformer_decoder(self) -> nn.TransformerDecoder: ...  # noqa: D102

    @property
    def output_projection(self) -> nn.Linear: ...  # noqa: D102


def free_rows(decoder: FreeDecoder, rows: Tensor, length: int, /) -> Tensor:
    """
    Return *rows* continued to *length*.

    There are no positions and no mask: earlier rows change inside the transformer with
    each one that is added, so nothing of a step can be kept for the next.

    Args:
        decoder: The text decoder.
        rows: The sequence so far, ``(B, T, W)``; its first row is the projected latent.
        length: How many rows to return.
    """
    rows = rows.to(decoder.token_embedding.weight.dtype)
    memory = rows[:, :1]
    while rows.shape[1] < length:
        last = decoder.transformer_decoder(rows, memory)[:, -1]
        words = _project(decoder, last).argmax(-1, keepdim=True)
        rows = torch.cat((rows, decoder.token_embedding(words)), 1)
    return rows


def free_logits(decoder: FreeDecoder, rows: Tensor, /) -> Tensor:
    """
    Return the logits of *rows*, the same to the bit however many there are yet.

    Args:
        decoder: The text decoder.
        rows: What `free_rows` returned, ``(B, T, W)``.
    """
    # A product of another shape may differ in its last bits. Rows of zeros keep it.
    missing = decoder.positional_encoding.num_embeddings - rows.shape[1]
    padded = nn.functional.pad(rows, (0, 0, 0, missing))
    return _project(decoder, padded)[:, : rows.shape[1]]


def _project(decoder: FreeDecoder, rows: Tensor) -> Tensor:
    # Captions are drawn from these, so never in lower precision than the weights have.
    layer = decoder.output_projection
    with torch.autocast(rows.device.type, enabled=False):
        logits: Tensor = layer(rows.to(layer.weight.dtype))
    return logits
