"""
The multimodal model: one latent for a picture and its caption.

B batch, C channels, L size of a latent, T rows of a caption, V vocabulary.
"""

from __future__ import annotations

from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from unfussy import EasyInferenceMixin
from unfussy.errors import InputValueError
from unfussy.models._saving import save_weights
from unfussy.models.multimodal.network import (
    ImageDecoder,
    ImageEncoder,
    TextDecoder,
    n_stages_for,
)
from unfussy.models.multimodal.weights import build_filled, build_seeded, read_weights

__all__ = ["MultimodalModel"]


class MultimodalModel(
    EasyInferenceMixin, nn.Module, easy=("encode", "decode_image", "decode_text")
):
    """
    Pictures to latents, and latents to pictures and captions.

    Args:
        latent_dim: The size of a latent.
        image_channels: 3 for colour.
        vocab_size: How many words can be scored.
        max_caption_length: The most words of a caption.
        image_size: The side of a picture that is made: 32, 64, 128 and so on. 512 is
            what the official weights have.
        width: Of the layers, a multiple of 8; 512 is official.
        num_layers: Of the transformer; 4 is official.

    Raises:
        InputValueError: If there is no model of such sizes.
    """

    def __init__(
        self,
        latent_dim: int = 1024,
        image_channels: int = 3,
        vocab_size: int = 8000,
        max_caption_length: int = 100,
        *,
        image_size: int = 256,
        width: int = 512,
        num_layers: int = 4,
    ) -> None:
        super().__init__()
        if width < 8 or width % 8:  # noqa: PLR2004
            raise InputValueError(f"width is a multiple of 8, got {width}")
        self.latent_dim = latent_dim
        self.image_channels = image_channels
        self.vocab_size = vocab_size
        self.max_caption_length = max_caption_length
        self.image_size = image_size
        stages = n_stages_for(image_size)
        self.image_encoder = ImageEncoder(latent_dim, image_channels, width)
        self.image_decoder = ImageDecoder(latent_dim, image_channels, width, stages)
        self.text_decoder = TextDecoder(
            latent_dim, vocab_size, max_caption_length, width, num_layers
        )

    # --- doors ---------------------------------------------------------------------

    @classmethod
    def from_config(
        cls,
        latent_dim: int = 1024,
        image_channels: int = 3,
        vocab_size: int = 8000,
        max_caption_length: int = 100,
        *,
        image_size: int = 256,
        width: int = 512,
        num_layers: int = 4,
        seed: int = 0,
    ) -> Self:
        """
        Return a model in eval mode with random weights, the same for the same *seed*.

        The other arguments are those of the class. No global random state is touched.
        """
        return build_seeded(
            lambda: cls(
                latent_dim,
                image_channels,
                vocab_size,
                max_caption_length,
                image_size=image_size,
                width=width,
                num_layers=num_layers,
            ),
            seed,
        )

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor], /) -> Self:
        """
        Return a model in eval mode, on the CPU, with a copy of these weights.

        Its sizes and precision are those of the weights. Leading ``module.`` and
        ``model.`` are cut off the keys and ``num_batches_tracked`` may be absent; apart
        from that all keys must match.

        Raises:
            CheckpointError: If these are not the weights of a multimodal model.
        """
        return build_filled(lambda sizes: cls(**asdict(sizes)), state_dict)

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], /, checkpoint: str | int | None = None
    ) -> Self:
        """
        Return a model in eval mode, on the CPU, with the weights of a file.

        Reads ``best.pt``, the checkpoints of all epochs (weights under
        ``model_state_dict`` or ``state_dict``) and safetensors, and runs no code that
        a file carries.

        Args:
            path: A file; a folder, of which ``best.pt`` is taken; or the name of a
                repository on the Hugging Face Hub.
            checkpoint: Another file of the folder, by name or epoch.

        Raises:
            FileNotFoundError: If there is none.
            CheckpointError: If these are not the weights of a multimodal model.
        """
        state, source = read_weights(path, checkpoint)
        return build_filled(lambda sizes: cls(**asdict(sizes)), state, source)

    def save_pretrained(self, path: str | PathLike[str], /) -> Path:
        """
        Write the weights as safetensors and return the file.

        Args:
            path: A file's name ending in ``.safetensors``, or else a folder's, where
                the file becomes ``model.safetensors``.

        Raises:
            CheckpointError: If *path* ends like another format's file.
        """
        return save_weights(self, path, "MultimodalModel")

    # --- pure methods --------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """Map pictures ``(B, C, H, W)`` in [0, 1], 32 pixels or more, to latents."""
        latents: Tensor = self.image_encoder(images)
        return latents

    def decode_image(self, z: Tensor) -> Tensor:
        """Map latents ``(B, L)`` to pictures ``(B, C, S, S)`` in [-1, 1]."""
        pictures: Tensor = self.image_decoder(z)
        return pictures

    def decode_text(
        self,
        z: Tensor,
        caption_tokens: Tensor | None = None,
        *,
        rows: int | None = None,
    ) -> Tensor:
        """
        Map latents to the logits of a caption.

        Args:
            z: Latents ``(B, L)``.
            caption_tokens: Ids ``(B, T)`` of captions that are to be learnt. Without
                them the decoder chooses each next word itself.
            rows: Without *caption_tokens*, how many rows to compute; by default
                ``max_caption_length``. Fewer are the first of more, to the bit.

        Returns:
            Logits ``(B, T, V)``.

        Raises:
            InputValueError: If there are more rows than the model has places for, or
                *rows* is given along with *caption_tokens*.
        """
        if rows is not None and caption_tokens is not None:
            raise InputValueError(
                "decode_text() takes rows= or caption_tokens, not both"
            )
        wanted = rows if caption_tokens is None else caption_tokens.shape[-1]
        if wanted is not None and not 1 <= wanted <= self.max_caption_length:
            raise InputValueError(
                f"decode_text() computes 1 to {self.max_caption_length} rows, "
                f"got {wanted}"
            )
        logits: Tensor = self.text_decoder(z, caption_tokens, rows)
        return logits

    def forward(
        self, images: Tensor, caption_tokens: Tensor | None = None
    ) -> dict[str, Tensor]:
        """
        Encode pictures, and decode what they became.

        Returns:
            ``z`` ``(B, L)``, ``image_recon`` ``(B, C, S, S)`` in [-1, 1] and
            ``caption_logits`` ``(B, T, V)``.
        """
        z = self.encode(images)
        return {
            "z": z,
            "image_recon": self.decode_image(z),
            "caption_logits": self.decode_text(z, caption_tokens),
        }
