"""
Many pictures into a folder, with a run that is killed going on where it was.

A picture is named by its seed, written whole, and holds its own metadata: so it is
finished if it is there. ``metadata.json`` lists all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from types import MethodType
from typing import Any

from unfussy import configure
from unfussy._jobs import describe_job
from unfussy._progress import Progress, Tick, ticker
from unfussy._targets import make_target
from unfussy.models.multimodal.folder_files import PictureFolder, open_folder
from unfussy.models.multimodal.generator import MultimodalGenerator, Sample
from unfussy.models.multimodal.running import run
from unfussy.models.multimodal.sampling import CaptionRules
from unfussy.models.multimodal.seeds import checked_seed

__all__ = ["Generated", "generate_to"]


@dataclass(frozen=True, slots=True)
class Generated:
    """
    What generating into a folder did; prints as a line.

    Attributes:
        folder: Where the pictures are.
        count: How many seeds were asked for.
        n_resumed: Of how many of them the picture was there before.
    """

    folder: Path
    count: int
    n_resumed: int

    def __str__(self) -> str:
        before = f", {self.n_resumed} of them made before"
        return f"{self.folder}: {self.count} pictures{before * bool(self.n_resumed)}"


def generate_to(
    folder: str | PathLike[str],
    generator: MultimodalGenerator,
    seeds: Iterable[Any],
    /,
    *,
    temperature: float | None = None,
    resume: bool = True,
    progress: Progress = None,
) -> Generated:
    """
    Write the picture of each seed into a folder, and their metadata beside them.

    A picture is ``seed_042.png``. ``metadata.json`` is a list in the order of seeds,
    with ``seed``, ``caption``, ``image_path`` and the rest of what
    `MultimodalGenerator.generate_with_metadata` tells. It is whole at any moment, and
    complete when the call ends, however that comes.

    A run that ends early, even killed, loses at most the chunk in work (the
    generator's ``batch_size``), and the same call goes on there. Other seeds join
    those that are there.

    Args:
        folder: Where to; it is made if it is not there.
        generator: What makes them.
        seeds: Any number of seeds. One that comes twice is made once.
        temperature: Instead of the generator's own.
        resume: Whether to go on with what is there; else all pictures in it
            that are called so are removed.
        progress: As in `batched`.

    Raises:
        InputTypeError: If a seed is no number.
        InputValueError: If one is out of range, or the folder holds pictures by
            other weights, words or settings, or not by this function.
        OSError: If nothing can be written. What was written before stays.
    """
    path, rules = Path(folder).expanduser(), _rules(generator, temperature)
    n_all = len(seeds) if isinstance(seeds, Sized) else None
    ticking = ticker(progress, total=n_all, label="generate")
    with open_folder(path, _job(generator, rules), resume=resume) as kept:
        asked = _Asked(seeds, kept)
        samples = generator.generate_iter(asked.missing(), temperature=temperature)
        with closing(samples), ticking as tick:
            _keep(samples, kept, asked, tick)
    return Generated(path, asked.count, asked.n_resumed)


@dataclass(slots=True)
class _Asked:
    """Seeds as they are asked for, and how many pictures of them were there."""

    seeds: Iterable[Any]
    kept: PictureFolder
    count: int = 0
    n_resumed: int = 0

    def missing(self) -> Iterator[int]:
        seen = set()
        for seed in self.seeds:
            number = checked_seed(seed)
            if number in seen:
                continue
            seen.add(number)
            self.count += 1
            if self.kept.has(number):
                self.n_resumed += 1
            else:
                yield number


def _keep(
    samples: Iterable[Sample], kept: PictureFolder, asked: _Asked, tick: Tick
) -> None:
    n_made = n_told = 0
    for image, _, metadata in samples:
        kept.add(image, metadata)
        n_made += 1
        done = n_made + asked.n_resumed
        tick(done - n_told)
        n_told = done
    tick(n_made + asked.n_resumed - n_told)


def _job(generator: MultimodalGenerator, rules: CaptionRules) -> str:
    """Return a line that tells apart what gives other pictures or captions."""
    method = configure(MethodType(run, generator.model), precision=generator.precision)
    words = generator.tokenizer.idx2word
    spoken = [(i, words[i]) for i in sorted(generator.tokenizer.spoken_ids())]
    parts = {
        **asdict(rules),
        "rng_device": generator.rng_device,
        "output_size": generator.output_size,
    }
    told = "".join(f"; {name}: {value}" for name, value in parts.items())
    return describe_job(make_target(method, None), (), {"words": spoken}) + told


def _rules(generator: MultimodalGenerator, temperature: float | None) -> CaptionRules:
    if temperature is None:
        return generator.rules
    return replace(generator.rules, temperature=temperature)
