"""A conversation about seeds: one is typed, its picture is made, and kept or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import typer

from unfussy.cli.telling import say
from unfussy.errors import UnfussyError

__all__ = ["converse"]

_ENDS: Final = frozenset({"q", "quit", "exit"})


def converse(generator: Any, folder: Path) -> None:
    """
    Ask for seeds until somebody has enough; what goes wrong is told, and goes on.

    Args:
        generator: What makes a picture of a seed.
        folder: Where pictures go that are to be kept.
    """
    say("A seed is a whole number from 0 to 4294967295; q ends.")
    while (typed := _asked("seed")) is not None:
        try:
            _answer(generator, typed, folder)
        except (UnfussyError, OSError) as error:
            say(f"Error: {error}", "red")


def _answer(generator: Any, typed: str, folder: Path) -> None:
    from unfussy.models.multimodal.folder_files import (  # noqa: PLC0415 - this family
        name_of,
    )
    from unfussy.models.multimodal.picture_files import save_png  # noqa: PLC0415

    if (seed := _number(typed)) is None:
        say(f"a seed is a whole number, and {typed!r} is none; q ends", "red")
        return
    image, caption, facts = generator.generate_with_metadata(seed)
    typer.echo(f"{caption}  ({image.width} x {image.height})")
    file = folder / name_of(seed)
    if (_asked(f"save as {file}? [Y/n]", default="y") or "n").lower() in {"y", "yes"}:
        folder.mkdir(parents=True, exist_ok=True)
        save_png(file, image, caption, {"sample": facts})
        typer.echo(f"saved: {file}")


def _number(typed: str) -> int | None:
    try:
        return int(typed)
    except ValueError:
        return None


def _asked(what: str, default: str = "") -> str | None:
    """Return what is typed, or None where somebody has enough."""
    typer.echo(f"{what}: ", nl=False, err=True)
    try:
        typed = input().strip() or default
    except (EOFError, KeyboardInterrupt):
        say("")
        return None
    return None if typed.lower() in _ENDS else typed
