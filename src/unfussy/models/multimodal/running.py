"""
The planned call behind the generator: latents and seeds in, pixels and words out.

Its caption decoder goes on only while a caption goes on. Random numbers are those of
each sample's own seed, drawn anew by each attempt, so that a chunk which is cut for
want of memory gives the same.

B batch, L size of a latent, R rows of a caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from unfussy import auto_device, autocast_policy, batched, inference
from unfussy.models.multimodal.decoding import free_logits, free_rows
from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.pictures import resized, to_pixels
from unfussy.models.multimodal.sampling import CaptionRules, CaptionWriter
from unfussy.models.multimodal.seeds import start

__all__ = ["NO_WORD", "Job", "RngDevice", "run"]

RngDevice: TypeAlias = Literal["cpu", "model"]

NO_WORD: Final = -1
"""What stands behind the last word of a caption."""

_BLOCK: Final = 5  # rows between two looks at whether all captions have stopped


@dataclass(frozen=True)
class Job:
    """What is the same for all samples of a call."""

    rules: CaptionRules
    words: frozenset[int]
    rng_device: RngDevice
    output_size: tuple[int, int] | None


@batched(over=("z", "seeds"), keep="cpu")
@inference(mode="inference")
@autocast_policy(precision="fp32")
@auto_device(skip="seeds")
def run(
    model: MultimodalModel, z: Tensor, seeds: Tensor, job: Job
) -> dict[str, Tensor]:
    """
    Return a picture and a caption for each latent.

    Args:
        model: Decodes.
        z: Latents ``(B, L)``.
        seeds: Of the captions, ``(B, 1)``, whole numbers.
        job: What else there is to know.

    Returns:
        ``pixels`` ``(B, H, W, C)`` from 0 to 255, and ``ids`` ``(B, R)``, filled up
        with `NO_WORD`.
    """
    z = z.to(model.inference_dtype)
    device = z.device if job.rng_device == "model" else torch.device("cpu")
    writers = [
        CaptionWriter(job.rules, job.words, start(seed, model.latent_dim, device)[1])
        for seed in seeds.flatten().tolist()
    ]
    length = min(job.rules.max_words, model.max_caption_length)
    _write(model, z, writers, length)
    pixels = to_pixels(resized(model.decode_image(z).float(), job.output_size))
    return {"pixels": pixels, "ids": _table(writers, length).to(z.device)}


def _write(
    model: MultimodalModel, z: Tensor, writers: list[CaptionWriter], length: int
) -> None:
    decoder = model.text_decoder
    rows, done = decoder.fc_latent(z)[:, None], 0
    while done < length and not all(writer.has_stopped for writer in writers):
        rows = free_rows(decoder, rows, min(done + _BLOCK, length))
        logits = free_logits(decoder, rows)[:, done:].float()
        if writers[0].device.type == "cpu":
            logits = logits.cpu()  # once, not row by row
        for writer, own in zip(writers, logits):
            writer.read(own)
        done = rows.shape[1]


def _table(writers: list[CaptionWriter], length: int) -> Tensor:
    ids = [w.ids + [NO_WORD] * (length - len(w.ids)) for w in writers]
    return torch.tensor(ids, dtype=torch.int64)
