"""The command that says whether a folder of checkpoints can be generated from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unfussy.cli.telling import device_called, readable_errors
from unfussy.cli.wishes import AsJson, Device

__all__ = ["verify"]


def verify(
    folder: Annotated[
        Path, typer.Argument(help="Where best.pt and tokenizer.json are.")
    ] = Path("checkpoints"),
    *,
    save: Annotated[
        Path | None, typer.Option(help="A .png for the picture of seed 42.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """
    Check the files in FOLDER, the packages and the device, and generate a picture.

    The exit status is 1 if something failed; warnings leave it 0.
    """
    from unfussy.models.multimodal import (  # noqa: PLC0415 - this family alone
        verify as look_at,
    )

    with readable_errors():
        place = device_called(device)
        found = look_at(folder, device=place, save=save)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    if not found.is_ok:
        raise typer.Exit(1)
