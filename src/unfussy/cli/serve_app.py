"""The command that serves the page of the multimodal generator."""

from __future__ import annotations

from typing import Annotated

import typer

from unfussy.cli.generate import find_generator
from unfussy.cli.seeds import read_size
from unfussy.cli.telling import device_called, readable_errors, say
from unfussy.cli.wishes import (
    Device,
    GeneratorWeights,
    OutputSize,
    Precision,
    Trial,
    Vocabulary,
)

__all__ = ["serve_app"]


def serve_app(
    *,
    checkpoint: GeneratorWeights = None,
    tokenizer: Vocabulary = None,
    trial: Trial = False,
    output_size: OutputSize = None,
    precision: Precision = "fp32",
    device: Device = "auto",
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
            device=device_called(device),
        )
        with launch(generator, host=host, port=port, opens=opens) as serving:
            typer.echo(serving.url)
            say("Ctrl+C ends it.")
            serving.wait()
