"""PNG files of generated pictures, each with what it was made of inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unfussy._batching.sinks import disk
from unfussy._pillow import pillow

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["facts_in", "save_png"]

_KEY: Final = "unfussy"


def save_png(path: Path, image: Image, caption: str, facts: Mapping[str, Any]) -> None:
    """
    Write *image* to *path*, which is there whole or not at all.

    That holds when the process is killed. When the power fails, `facts_in` tells a
    damaged file.

    Args:
        path: Where to.
        image: The picture.
        caption: Shown by programs that show a picture's description.
        facts: What JSON can hold, for `facts_in`.
    """
    from PIL import PngImagePlugin  # noqa: PLC0415 - an extra, which made the picture

    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Description", caption)
    texts.add_itxt(_KEY, json.dumps(facts))
    partial = disk.beside(path, ".tmp")
    try:
        image.save(partial, "PNG", pnginfo=texts)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def facts_in(path: Path) -> dict[str, Any]:
    """
    Return the facts that `save_png` wrote into a picture.

    Of a file that it did not write, or that is damaged, there are none.

    Raises:
        MissingExtraError: Without Pillow (extra ``images``).
    """
    try:
        with pillow().open(path) as picture:
            picture.load()
            facts = json.loads(picture.info[_KEY])
    except (OSError, SyntaxError, KeyError, TypeError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
