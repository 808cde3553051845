"""
Pictures with captions from a folder, to train and to measure with.

``metadata.json`` is a list of entries, each with a ``caption`` and the name of a
picture. C channels, H height, W width, N pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unfussy._arrays import from_picture
from unfussy._pillow import pillow
from unfussy.errors import InputValueError

__all__ = ["EngravingDataset", "Item", "NoSuchPictureError", "Split", "collate"]

Split: TypeAlias = Literal["train", "val"]
Item: TypeAlias = dict[str, Any]
"""``image``, ``caption``, ``filename`` and ``id``."""

_NAMES: Final = ("filename", "image_path", "file_name", "image")
_SHOWN: Final = 3
_LEVELS: Final = 255


class NoSuchPictureError(InputValueError, FileNotFoundError):
    """A list of captions, or a picture that it names, is not there."""


class EngravingDataset(Dataset[Item]):
    """
    Captioned pictures of a folder, cut into those to train with and the others.

    Entries without a caption are left out; the others are shuffled by *seed*, which
    touches no global random state. Pictures are read when they are asked for. Also
    what `generate_to` wrote can be read.

    An item has ``image``, float32 ``(C, H, W)`` in [0, 1]; ``caption``; ``filename``;
    and ``id``, that of the entry, or its place in the list if it has no number.

    Args:
        metadata_path: The list, as JSON. The picture of an entry is its ``filename``
            or ``image_path``.
        images_dir: Where the pictures are.
        split: ``"train"`` for the first part, ``"val"`` for the rest.
        train_ratio: The share of the first part.
        seed: Of the order.
        transform: Called with each picture, RGB; returns a picture or a tensor.
        max_samples: The most items, or None for all.

    Raises:
        FileNotFoundError: If there is no list, or a picture is not there.
        InputValueError: If it is no list, no entry of it has a caption, or an
            argument makes no sense.
    """

    def __init__(  # noqa: PLR0917 - the order that scripts pass them in
        self,
        metadata_path: str | PathLike[str],
        images_dir: str | PathLike[str],
        split: Split = "train",
        train_ratio: float = 0.9,
        seed: int = 42,
        transform: Callable[[Any], Any] | None = None,
        max_samples: int | None = None,
    ) -> None:
        if split not in ("train", "val"):
            raise InputValueError(f"split is 'train' or 'val', got {split!r}")
        if not 0 <= train_ratio <= 1:
            raise InputValueError(f"train_ratio is from 0 to 1, got {train_ratio}")
        if max_samples is not None and max_samples < 0:
            raise InputValueError(f"max_samples is 0 or more, got {max_samples}")
        self.images_dir = Path(images_dir).expanduser()
        self.transform = transform
        entries = _captioned(Path(metadata_path).expanduser())
        order = np.random.RandomState(seed).permutation(len(entries))
        n_train = int(len(entries) * train_ratio)
        part = order[:n_train] if split == "train" else order[n_train:]
        self.entries = [entries[i] for i in part[:max_samples]]
        _check_files(self.images_dir, [entry["filename"] for entry in self.entries])

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.entries)

    def __getitem__(self, index: int) -> Item:
        """
        Return an item.

        Raises:
            InputValueError: If its picture cannot be read.
            MissingExtraError: Without Pillow (extra ``images``).
        """
        entry = self.entries[index]
        picture = _opened(self.images_dir / entry["filename"])
        made = picture if self.transform is None else self.transform(picture)
        return {"image": _to_tensor(made), **entry}

    @property
    def captions(self) -> list[str]:
        """The captions of all items; reads no pictures."""
        return [entry["caption"] for entry in self.entries]


def collate(items: Sequence[Item], /) -> dict[str, Any]:
    """
    Return a batch of items, for ``DataLoader(dataset, collate_fn=collate)``.

    Args:
        items: What the dataset gave.

    Returns:
        ``images`` ``(N, C, H, W)``, ``captions`` and ``filenames`` as lists, and
        ``ids`` ``(N,)``, whole numbers.

    Raises:
        InputValueError: If the pictures differ in shape.
    """
    images = [item["image"] for item in items]
    first = next((item for item in items if item["image"].shape != images[0].shape), {})
    if first:
        raise InputValueError(
            f"pictures of a batch have one shape; {items[0]['filename']} has "
            f"{tuple(images[0].shape)} and {first['filename']} "
            f"{tuple(first['image'].shape)}: resize them with transform="
        )
    return {
        "images": torch.stack(images),
        "captions": [item["caption"] for item in items],
        "filenames": [item["filename"] for item in items],
        "ids": torch.tensor([item["id"] for item in items], dtype=torch.int64),
    }


# --- the list ----------------------------------------------------------------------


def _captioned(path: Path) -> list[Item]:
    """Return caption, name and number of each entry that has a caption."""
    if not path.is_file():
        raise NoSuchPictureError(f"there is no list of captions {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputValueError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, list):
        kind = type(content).__name__
        raise InputValueError(f"{path} is a list of entries, got a {kind}")
    kept = [_entry(path, i, e) for i, e in enumerate(content) if _has_caption(e)]
    if not kept:
        raise InputValueError(f"none of {len(content)} entries in {path} has a caption")
    return kept


def _has_caption(entry: Any) -> bool:
    caption = entry.get("caption") if isinstance(entry, Mapping) else None
    return isinstance(caption, str) and bool(caption.strip())


def _entry(path: Path, index: int, entry: Mapping[str, Any]) -> Item:
    name = next((entry[key] for key in _NAMES if entry.get(key)), None)
    if not isinstance(name, str):
        raise InputValueError(
            f"entry {index} of {path} names no picture; it needs a 'filename' and has "
            f"{', '.join(map(repr, entry))}"
        )
    own = entry.get("id")
    number = own if isinstance(own, int) and not isinstance(own, bool) else index
    return {"caption": entry["caption"], "filename": name, "id": number}


def _check_files(folder: Path, names: list[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        listed = ", ".join(missing[:_SHOWN]) + (" ..." if missing[_SHOWN:] else "")
        raise NoSuchPictureError(
            f"{len(missing)} of {len(names)} pictures are not in {folder}: {listed}; "
            "is images_dir right? Else remove their entries"
        )


# --- the pictures ------------------------------------------------------------------


def _opened(path: Path) -> Any:
    try:
        with pillow().open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise InputValueError("it has more than 8 bits a channel")
            return pillow("ImageOps").exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputValueError(f"the picture {path} cannot be read: {error}") from error


def _to_tensor(picture: Any) -> Tensor:
    if isinstance(picture, Tensor):
        return picture
    return from_picture(picture).float() / _LEVELS
