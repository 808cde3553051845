"""
A picture and a caption from a seed, alone or in batches, the same every time.

L size of a latent, N samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from os import PathLike
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import torch
from torch import Tensor

from unfussy import DeviceLike, TensorLike, configure, stream
from unfussy._progress import Progress
from unfussy.models.multimodal.between import Way, between
from unfussy.models.multimodal.checking import (
    checked_device,
    checked_latents,
    checked_output_size,
    checked_sizes,
    paired_seeds,
)
from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.pictures import to_pictures
from unfussy.models.multimodal.running import NO_WORD, Job, RngDevice, run
from unfussy.models.multimodal.sampling import CaptionRules
from unfussy.models.multimodal.seeds import checked_seed, start
from unfussy.models.multimodal.tokenizer import FALLBACK, CaptionTokenizer
from unfussy.models.multimodal.trial import trial_parts

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MultimodalGenerator", "Sample"]

Sample: TypeAlias = "tuple[Image, str, dict[str, Any]]"
"""A picture, its caption, and what they were made of."""

_Path: TypeAlias = str | PathLike[str]
_FEWEST = 2  # words of a caption


class MultimodalGenerator:
    """
    Pictures with captions from seeds.

    Weights and vocabulary come from files, or ready as *model* and *tokenizer*. Results
    depend on the seed alone, not on what was made before or beside it; batches differ
    from single samples by rounding at most. No global random state is touched.

    Args:
        checkpoint_path: The weights, as `MultimodalModel.from_pretrained` takes them.
        tokenizer_path: The vocabulary, as `CaptionTokenizer.from_file` takes it.
        latent_dim: The size of a latent that the weights must have, or None for any.
        vocab_size: How many words the weights must score, or None for any.
        device: Where to run; by default the best device, or where *model* is.
        model: Used instead of a file. It is not copied; *device* moves it.
        tokenizer: Used instead of a file.
        temperature: As in `CaptionRules`, like the next two.
        repetition_penalty: What saying a word twice is divided by.
        max_words: The most words of a caption.
        precision: As in `autocast_policy`; by default float32.
        output_size: The size of pictures, one number or width and height; by default
            what the model makes. Others are area means of it.
        rng_device: Where random numbers are drawn: ``"cpu"`` gives the same on every
            device; ``"model"`` gives what the official code gives on CUDA.
        batch_size: The most samples at once, or ``"auto"``.

    Raises:
        FileNotFoundError: If a file is not there.
        CheckpointError: If a file is not what it should be, or of other sizes.
        DeviceError: If there is no such device.
        InputValueError: If a setting makes no sense.
    """

    def __init__(
        self,
        checkpoint_path: _Path = "checkpoints/best.pt",
        tokenizer_path: _Path = "checkpoints/tokenizer.json",
        latent_dim: int | None = 1024,
        vocab_size: int | None = 1266,
        device: DeviceLike | None = None,
        *,
        model: MultimodalModel | None = None,
        tokenizer: CaptionTokenizer | None = None,
        temperature: float = 0.7,
        repetition_penalty: float = 1.2,
        max_words: int = 30,
        precision: str | None = None,
        output_size: int | tuple[int, int] | None = None,
        rng_device: RngDevice = "cpu",
        batch_size: int | Literal["auto"] = "auto",
    ) -> None:
        self.rules = CaptionRules(temperature, repetition_penalty, max_words)
        self.output_size = checked_output_size(output_size)
        self.rng_device: RngDevice = rng_device
        self.precision = precision or "fp32"
        self._options = {"batch_size": batch_size, "precision": self.precision}
        place = checked_device(device, model)
        # The small file first: who has neither learns it at once.
        self.tokenizer = tokenizer or CaptionTokenizer.from_file(tokenizer_path)
        loaded = model or MultimodalModel.from_pretrained(checkpoint_path)
        source = str(checkpoint_path) if model is None else "the model"
        is_ready = model is not None
        checked_sizes(loaded, source, latent_dim, vocab_size, is_ready=is_ready)
        self.model = loaded.to(place)
        self._words = self.tokenizer.spoken_ids()
        self._remarks: dict[str, Any] = {}

    @classmethod
    def from_config(
        cls, *, seed: int = 0, image_size: int = 256, width: int = 512, **settings: Any
    ) -> Self:
        """
        Return a generator with random weights and made-up words, for a trial.

        What it makes means nothing, and its metadata say so.

        Args:
            seed: Of the weights.
            image_size: As in `MultimodalModel`.
            width: The same; less is faster.
            **settings: Keyword options of the class.
        """
        model, tokenizer = trial_parts(seed, image_size=image_size, width=width)
        generator = cls(model=model, tokenizer=tokenizer, **settings)
        generator._remarks = {"weights": f"random, from seed {seed}: a trial only"}
        return generator

    # --- what it is ----------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return self.model.inference_device

    @property
    def latent_dim(self) -> int:
        """The size of a latent."""
        return self.model.latent_dim

    @property
    def vocab_size(self) -> int:
        """How many words the model scores."""
        return self.model.vocab_size

    @property
    def is_trial(self) -> bool:
        """Whether the weights are random."""
        return bool(self._remarks)

    # --- from seeds ----------------------------------------------------------------

    def generate(
        self,
        seed: Any = 42,
        *,
        z: TensorLike | None = None,
        temperature: float | None = None,
    ) -> tuple[Image, str]:
        """
        Return a picture and its caption.

        Args:
            seed: A whole number from 0 to 2**32 - 1.
            z: A latent ``(L,)`` to use instead of the seed's own; the words of the
                caption are still drawn from *seed*.
            temperature: Instead of the generator's own.

        Raises:
            InputTypeError: If *seed* is no number.
            InputValueError: If it is out of range.
        """
        image, caption, _ = self.generate_with_metadata(
            seed, z=z, temperature=temperature
        )
        return image, caption

    def generate_with_metadata(
        self,
        seed: Any = 42,
        *,
        z: TensorLike | None = None,
        temperature: float | None = None,
    ) -> Sample:
        """
        Return a picture, its caption and their metadata, which JSON can hold.

        The arguments are those of `generate`. The metadata are ``seed``, ``caption``,
        ``latent_dim``, ``temperature``, ``image_size`` (width, height) and ``device``;
        with weights for a trial also ``weights``, which says so.
        """
        latents = self.latents([seed]) if z is None else z
        return self.from_latents(latents, [seed], temperature=temperature)[0]

    def generate_batch(
        self,
        seeds: Iterable[Any],
        *,
        temperature: float | None = None,
        progress: Progress = False,
    ) -> list[Sample]:
        """
        Return what `generate_with_metadata` returns for each seed, in their order.

        Args:
            seeds: Any number of seeds, also the same one more than once.
            temperature: Instead of the generator's own.
            progress: As in `batched`.
        """
        numbers = [checked_seed(seed) for seed in seeds]
        return self.from_latents(
            self.latents(numbers), numbers, temperature=temperature, progress=progress
        )

    def generate_iter(
        self,
        seeds: Iterable[Any],
        *,
        temperature: float | None = None,
        progress: Progress = False,
    ) -> Generator[Sample, None, None]:
        """
        Yield what `generate_batch` returns, one after the other, as chunks are done.

        What was yielded is yours, whatever happens next. *seeds* may be endless; only
        some of them are read ahead.
        """
        rules, waiting = self._rules(temperature), deque[int]()
        results = stream(
            configure(MethodType(run, self.model), **self._options),
            self._items(seeds, waiting),
            job=self._job(rules),
            progress=progress,
        )
        with closing(results):
            for found in results:
                yield self._sample(
                    waiting.popleft(), found["pixels"], found["ids"], rules
                )

    # --- from latents --------------------------------------------------------------

    def latents(self, seeds: Iterable[Any]) -> Tensor:
        """Return the latents ``(N, L)`` of *seeds*, float32, where they are drawn."""
        rows = [start(checked_seed(s), self.latent_dim, self._rng())[0] for s in seeds]
        return torch.stack(rows) if rows else torch.empty(0, self.latent_dim)

    def from_latents(
        self,
        z: TensorLike,
        seeds: Iterable[Any] | None = None,
        *,
        temperature: float | None = None,
        progress: Progress = False,
    ) -> list[Sample]:
        """
        Return pictures, captions and metadata for latents.

        Args:
            z: Latents ``(N, L)``, or one ``(L,)``.
            seeds: One for each, to draw its words from; by default 42 for all.
            temperature: Instead of the generator's own.
            progress: As in `batched`.

        Raises:
            InputValueError: If *z* has another shape, or there are not as many seeds.
        """
        rows = checked_latents(z, self.latent_dim)
        numbers = paired_seeds(seeds, len(rows))
        if not numbers:
            return []
        rules = self._rules(temperature)
        found = configure(run, progress=progress, **self._options)(
            self.model, rows, torch.tensor(numbers)[:, None], self._job(rules)
        )
        triples = zip(numbers, found["pixels"], found["ids"])
        return [self._sample(*each, rules) for each in triples]

    def interpolate(
        self,
        seed_a: Any,
        seed_b: Any,
        steps: int = 8,
        *,
        way: Way = "spherical",
        temperature: float | None = None,
    ) -> list[Sample]:
        """
        Return samples on the way from one seed to another, both ends included.

        The first and the last are those of the seeds themselves. The words of the
        first half are drawn from *seed_a*, of the second half from *seed_b*.

        Args:
            seed_a: Where to begin.
            seed_b: Where to end.
            steps: How many samples, two or more.
            way: ``"spherical"`` or ``"linear"``.
            temperature: Instead of the generator's own.
        """
        a, b = self.latents([seed_a, seed_b])
        path = between(a, b, steps, way)
        first = (steps + 1) // 2
        seeds = [seed_a] * first + [seed_b] * (steps - first)
        return self.from_latents(path, seeds, temperature=temperature)

    # --- parts ---------------------------------------------------------------------

    def _items(
        self, seeds: Iterable[Any], waiting: deque[int]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for seed in seeds:
            number = checked_seed(seed)
            waiting.append(number)
            (latent,) = self.latents([number])
            yield latent, torch.tensor([number])

    def _rules(self, temperature: float | None) -> CaptionRules:
        if temperature is None:
            return self.rules
        return replace(self.rules, temperature=temperature)

    def _job(self, rules: CaptionRules) -> Job:
        return Job(rules, self._words, self.rng_device, self.output_size)

    def _rng(self) -> torch.device:
        return self.device if self.rng_device == "model" else torch.device("cpu")

    def _sample(
        self, seed: int, pixels: Tensor, ids: Tensor, rules: CaptionRules
    ) -> Sample:
        (image,) = to_pictures(pixels[None])
        caption = self._caption(ids)
        metadata = {
            "seed": seed,
            "caption": caption,
            "latent_dim": self.latent_dim,
            "temperature": rules.temperature,
            "image_size": [image.width, image.height],
            "device": str(self.device),
        }
        return image, caption, metadata | self._remarks

    def _caption(self, ids: Tensor) -> str:
        words = [self.tokenizer.idx2word[i] for i in ids.tolist() if i != NO_WORD]
        return " ".join(words) if len(words) >= _FEWEST else FALLBACK
