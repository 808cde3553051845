"""
Results drawn on the pictures that they are of.

What is drawn is the model's to say; here the pictures get their names and files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from unfussy._batching import Failed
from unfussy._pillow import pillow
from unfussy.cli.inputs import names_of
from unfussy.errors import InputValueError

__all__ = ["drawer_of", "write_drawings"]

_ONE: Final = "drawing.png"


def drawer_of(model: Any) -> Callable[[Any, Any], Any]:
    """
    Return what draws the results of *model*: of its ``visualize(picture, result)``.

    Raises:
        InputValueError: If it has none.
    """
    found: Callable[[Any, Any], Any] | None = getattr(model, "visualize", None)
    if found is None:
        raise InputValueError(f"{type(model).__name__} has nothing to draw")
    return found


def write_drawings(
    folder: Path, draw: Callable[[Any, Any], Any], inputs: Any, result: Any
) -> str:
    """
    Draw the result of each picture on a copy of it, and return a line about that.

    Args:
        folder: Where the copies go, under the names of the pictures.
        draw: Draws the result of one picture, and returns ``(H, W, 3)``.
        inputs: One picture, or several.
        result: Of each what was found; of one that failed nothing is drawn.
    """
    names = names_of(inputs)
    pairs = [(_ONE, inputs, result)] if names is None else zip(names, inputs, result)
    n_drawn = 0
    for name, picture, found in pairs:
        if not isinstance(found, Failed):
            _save(draw(picture, found), folder / name)
            n_drawn += 1
    return f"{folder}: {n_drawn} drawings"


def _save(pixels: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow().fromarray(pixels).save(path)
