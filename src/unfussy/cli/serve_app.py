"""The command that serves the page of the multimodal generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unfussy.cli.generate import find_generator
from unfussy.cli.seeds import read_size
from unfussy.cli.telling import device_called, readable_errors, say

__all__ = ["serve_app"]


def serve_app(
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The weights: a file, or a folder; by default checkpoints/best.pt."
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="The words; by default tokenizer.json beside the weights."),
    ] = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Random weights and made-up words.")
    ] = False,
    output_size: Annotated[
        str | None, typer.Option(help="Of pictures: 256, or 320x240.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    host: Annotated[
        str, typer.Option(help="Whom to listen to: by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where; 0 is any that is free.")
    ] = 0,
    opens: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """
    Serve a page that makes pictures with captions, until Ctrl+C.

    Its address is printed. It is for this machine alone, and needs no network.
    """
    from unfussy.app import launch  # noqa: PLC0415 - this command alone
    from unfussy.app.page import load_gradio  # noqa: PLC0415

    with readable_errors(OSError):
        load_gradio()  # who lacks it need not wait for the weights
        generator = find_generator(
            checkpoint,
            tokenizer,
            trial=trial,
            output_size=None if output_size is None else read_size(output_size),
            precision=precision,
            device=None if device == "auto" else device_called(device),
        )
        with launch(generator, host=host, port=port, opens=opens) as serving:
            typer.echo(serving.url)
            say("Ctrl+C ends it.")
            serving.wait()
