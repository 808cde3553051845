"""
The three parts of the multimodal model, under the keys of the official weights.

B batch, C channels of a picture, L size of a latent, W width, T words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from unfussy.errors import InputValueError
from unfussy.models.multimodal.decoding import free_logits, free_rows

__all__ = ["START_SIDE", "ImageDecoder", "ImageEncoder", "TextDecoder", "n_stages_for"]

START_SIDE: Final = 16
"""The side of the first feature map of the image decoder."""

_HEADS: Final = 8


def n_stages_for(image_size: int, /) -> int:
    """
    Return how many times the decoder doubles its map to reach *image_size*.

    Raises:
        InputValueError: If no number of doublings does.

    Examples:
        >>> n_stages_for(512)
        5
    """
    stages = max(1, (image_size // START_SIDE).bit_length() - 1)
    if image_size != START_SIDE << stages:
        raise InputValueError(
            f"image_size is 32, 64, 128, 256, 512 and so on, got {image_size}"
        )
    return stages


class ImageEncoder(nn.Module):
    """Five convolutions that halve, a mean over what is left, and two linear layers."""

    def __init__(self, latent_dim: int, channels: int, width: int) -> None:
        super().__init__()
        widths = (channels, width // 8, width // 4, width // 2, width, width)
        self.encoder = nn.Sequential(
            *(
                layer
                for n_in, n_out in pairwise(widths)
                for layer in _halving(n_in, n_out)
            )
        )
        self.fc = _two_layers(width, width, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures ``(B, C, H, W)`` in [0, 1] to latents ``(B, L)``."""
        features: Tensor = self.encoder(images)
        pooled = nn.functional.adaptive_avg_pool2d(features, 1).flatten(1)
        latents: Tensor = self.fc(pooled)
        return latents


class ImageDecoder(nn.Module):
    """Two linear layers to a map of 16 by 16, and convolutions that double it."""

    def __init__(
        self, latent_dim: int, channels: int, width: int, n_stages: int
    ) -> None:
        super().__init__()
        self.fc = _two_layers(latent_dim, width, width * START_SIDE**2)
        self.decoder = nn.Sequential(*_doublings(channels, width, n_stages))

    def forward(self, z: Tensor) -> Tensor:
        """Map latents ``(B, L)`` to pictures ``(B, C, S, S)`` in [-1, 1]."""
        start = self.fc(z).unflatten(1, (-1, START_SIDE, START_SIDE))
        pictures: Tensor = self.decoder(start)
        return pictures


class TextDecoder(nn.Module):
    """A transformer that chooses words, and the projection that scores them."""

    def __init__(
        self, latent_dim: int, vocab_size: int, max_length: int, width: int, layers: int
    ) -> None:
        super().__init__()
        self.fc_latent = _two_layers(latent_dim, width * 3 // 2, width)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_encoding = nn.Embedding(max_length, width)
        layer = nn.TransformerDecoderLayer(width, _HEADS, 4 * width, batch_first=True)
        self.transformer_decoder = nn.TransformerDecoder(layer, layers)
        self.output_projection = nn.Linear(width, vocab_size)

    def forward(
        self, z: Tensor, caption_tokens: Tensor | None = None, rows: int | None = None
    ) -> Tensor:
        """
        Score the words of a caption.

        Args:
            z: Latents ``(B, L)``.
            caption_tokens: Ids ``(B, T)`` of the caption that is to be learnt. Without
                them the decoder chooses each next word itself.
            rows: How many rows of its own to compute.

        Returns:
            Logits ``(B, T, V)``.
        """
        head = self.fc_latent(z)[:, None]  # (B, 1, W)
        if caption_tokens is None:
            length = self.positional_encoding.num_embeddings if rows is None else rows
            return free_logits(self, free_rows(self, head, length))
        places = torch.arange(caption_tokens.shape[1], device=z.device)
        words = self.token_embedding(caption_tokens) + self.positional_encoding(places)
        shifted = torch.cat((head, words[:, :-1]), 1)
        logits: Tensor = self.output_projection(shifted)
        return logits


# --- layers ------------------------------------------------------------------------


def _two_layers(n_in: int, n_inside: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, n_inside), nn.ReLU(), nn.Linear(n_inside, n_out)
    )


def _halving(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, 4, 2, 1), nn.BatchNorm2d(n_out), nn.ReLU()


def _doublings(channels: int, width: int, n_stages: int) -> Iterator[nn.Module]:
    inner = [width] * max(0, n_stages - 4) + [width // 2, width // 4, width // 8]
    widths = [width, *inner[len(inner) - n_stages + 1 :]]
    for n_in, n_out in pairwise(widths):
        yield nn.ConvTranspose2d(n_in, n_out, 4, 2, 1)
        yield nn.BatchNorm2d(n_out)
        yield nn.ReLU()
    yield nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
    yield nn.Tanh()
