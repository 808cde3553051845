"""What several commands can be told, with the same words everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AsJson",
    "Checkpoint",
    "Config",
    "Device",
    "GeneratorWeights",
    "OutputSize",
    "Precision",
    "Progress",
    "Trial",
    "Vocabulary",
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Checkpoint: TypeAlias = Annotated[
    Path | None, typer.Option(help="The weights: a file, or a folder.")
]
Config: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="name=value for the model; repeatable.")
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Progress: TypeAlias = Annotated[
    bool | None, typer.Option(help="Show a bar; by default where a terminal is.")
]

# Of the generator of pictures and captions.

GeneratorWeights: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="The weights: a file, or a folder; by default checkpoints/best.pt."
    ),
]
Vocabulary: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="The words; by default tokenizer.json beside the weights."),
]
Trial: TypeAlias = Annotated[
    bool, typer.Option("--trial", help="Random weights and made-up words.")
]
OutputSize: TypeAlias = Annotated[
    str | None, typer.Option(help="Of pictures: 256, or 320x240.")
]
Precision: TypeAlias = Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")]
