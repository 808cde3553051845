"""
What the page makes of its fields, and the files in which it is kept.

A picture is a PNG that carries its caption and its metadata, so that they are not lost
when it is passed on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZipFile

from unfussy.errors import InputValueError
from unfussy.models.multimodal import MultimodalGenerator
from unfussy.models.multimodal.folder_files import name_of
from unfussy.models.multimodal.picture_files import save_png
from unfussy.models.multimodal.seeds import LARGEST, checked_seed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Made", "from_one_seed", "on_the_way", "save", "save_all"]

_RANGE: Final = f"a whole number from 0 to {LARGEST}"


@dataclass(frozen=True)
class Made:
    """
    One picture.

    Attributes:
        name: Of its file.
        image: The picture.
        caption: Its words.
        metadata: What it was made of.
    """

    name: str
    image: Image
    caption: str
    metadata: dict[str, Any]


def from_one_seed(
    generator: MultimodalGenerator, seed: Any, count: float, temperature: float
) -> list[Made]:
    """
    Return *count* pictures, of *seed* and of those that follow it.

    Raises:
        InputTypeError: If *seed* is no number.
        InputValueError: If there is no such seed, or not as many.
    """
    first = _seed(seed, "a seed")
    last = first + int(count) - 1
    if last > LARGEST:
        raise InputValueError(
            f"{int(count)} pictures counting up from seed {first} end at {last}, "
            f"but the largest seed is {LARGEST}"
        )
    samples = generator.generate_batch(range(first, last + 1), temperature=temperature)
    return [Made(name_of(sample[2]["seed"]), *sample) for sample in samples]


def on_the_way(
    generator: MultimodalGenerator,
    seed_a: Any,
    seed_b: Any,
    steps: float,
    temperature: float,
) -> list[Made]:
    """
    Return *steps* pictures on the way from one seed to another.

    Raises:
        InputTypeError: If a seed is no number.
        InputValueError: If there is no such seed.
    """
    a, b = _seed(seed_a, "where to begin"), _seed(seed_b, "where to end")
    samples = generator.interpolate(a, b, int(steps), temperature=temperature)
    return [
        Made(
            f"from_{a:03d}_to_{b:03d}_{step:02d}.png",
            image,
            caption,
            metadata | {"from": a, "to": b, "step": step},
        )
        for step, (image, caption, metadata) in enumerate(samples)
    ]


def save(made: Made, folder: Path, /) -> Path:
    """Write a picture into *folder*, and return where it is."""
    path = folder / made.name
    save_png(path, made.image, made.caption, {"sample": made.metadata})
    return path


def save_all(made: Sequence[Made], folder: Path, /) -> Path:
    """
    Write an archive of pictures that are in *folder*, and return where it is.

    With them is ``metadata.json``, a list of what they are.
    """
    first, last = (Path(each.name).stem for each in (made[0], made[-1]))
    path = folder / f"{first}_to_{last.rpartition('_')[2]}.zip"
    listed = [{"image_path": each.name, **each.metadata} for each in made]
    with ZipFile(path, "w") as archive:  # not compressed, as a PNG is already
        for each in made:
            archive.write(folder / each.name, each.name)
        text = json.dumps(listed, ensure_ascii=False, indent=2)
        archive.writestr("metadata.json", text)
    return path


def _seed(value: Any, what: str) -> int:
    if value is None:  # an empty field
        raise InputValueError(f"type {what}: {_RANGE}")
    return checked_seed(value)
