"""The command that makes pictures with captions from seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from unfussy.cli.conversing import converse
from unfussy.cli.seeds import read_seeds, read_size
from unfussy.cli.telling import device_called, readable_errors, say
from unfussy.cli.wishes import (
    Device,
    GeneratorWeights,
    OutputSize,
    Precision,
    Progress,
    Trial,
    Vocabulary,
)
from unfussy.errors import InputValueError

if TYPE_CHECKING:
    from unfussy.models.multimodal import MultimodalGenerator

__all__ = ["find_generator", "generate"]

_FEW: Final = 8  # pictures, which a CPU makes hardly faster if they are more
_BEST: Final = Path("checkpoints/best.pt")


def generate(
    *,
    seed: Annotated[int | None, typer.Option(help="Of one picture.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Of many: 0:100 for 0 to 99, 0:100:5, 3,1,4, or a mixture."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask for seeds, one by one.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A .png for one picture; a folder for many, or to ask for."),
    ] = None,
    checkpoint: GeneratorWeights = None,
    tokenizer: Vocabulary = None,
    trial: Trial = False,
    temperature: Annotated[
        float, typer.Option(help="Of captions: 0 takes the best word each time.")
    ] = 0.7,
    output_size: OutputSize = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The most pictures at once, and what a kill costs at most; by default "
            "8 on a CPU, and as many as are fast elsewhere.",
        ),
    ] = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    restart: Annotated[
        bool, typer.Option("--restart", help="Remove the pictures in the folder first.")
    ] = False,
    progress: Progress = None,
) -> None:
    """
    Make pictures with captions from seeds, the same each time.

    With --seed one picture, whose caption is printed. With --seeds a folder of them,
    with metadata.json; the same command goes on after a kill, and other seeds join
    those that are there.
    """
    with readable_errors(OSError):
        _check(seed, seeds, out, interactive=interactive)
        many = None if seeds is None else read_seeds(seeds)
        place = device_called(device)
        generator = find_generator(
            checkpoint,
            tokenizer,
            trial=trial,
            temperature=temperature,
            output_size=None if output_size is None else read_size(output_size),
            batch_size=batch_size or (_FEW if place.type == "cpu" else "auto"),
            precision=precision,
            device=place,
        )
        if interactive:
            converse(generator, out or Path())
        elif many is None:
            _make_one(generator, seed, out)
        else:
            shows = sys.stderr.isatty() if progress is None else progress
            _make_many(generator, many, out, restarts=restart, shows=shows)


def find_generator(
    checkpoint: Path | None, tokenizer: Path | None, *, trial: bool, **settings: Any
) -> MultimodalGenerator:
    """
    Return a generator with the weights that were asked for, or those that are here.

    Args:
        checkpoint: The weights, or None for ``checkpoints/best.pt``.
        tokenizer: The words, or None for those beside the weights.
        trial: Whether to take random weights, and say so.
        **settings: As `MultimodalGenerator` takes them.

    Raises:
        CheckpointError: If a file is not what it should be.
        InputValueError: If there are no weights and no trial is wanted.
    """
    from unfussy.models.multimodal import (  # noqa: PLC0415 - this family alone
        MultimodalGenerator,
    )

    if trial:
        if checkpoint or tokenizer:
            raise InputValueError(
                "--trial has weights and words of its own; leave it out, or leave out "
                "--checkpoint and --tokenizer"
            )
        say(
            "No checkpoint: random weights from seed 0. Results mean nothing.", "yellow"
        )
        return MultimodalGenerator.from_config(**settings)
    if checkpoint is None and not _BEST.exists():
        raise InputValueError(
            f"there is no {_BEST} here; say where the weights are with --checkpoint, "
            "or take random ones with --trial"
        )
    weights = _BEST if checkpoint is None else checkpoint
    beside = weights if weights.is_dir() else weights.parent
    words = beside / "tokenizer.json" if tokenizer is None else tokenizer
    return MultimodalGenerator(weights, words, None, None, **settings)


# --- what it does ------------------------------------------------------------------


def _check(
    seed: int | None, seeds: str | None, out: Path | None, *, interactive: bool
) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    if [seed is not None, seeds is not None, interactive].count(True) != 1:
        raise InputValueError(
            "say what to make: one of --seed 42, --seeds 0:100 and --interactive"
        )
    if out is None and not interactive:
        what = "--out FILE.png" if seeds is None else "--out FOLDER"
        raise InputValueError(f"say where the result goes: {what}")
    if seed is not None and out is not None and out.suffix.lower() != ".png":
        raise InputValueError(f"one picture goes to a .png: --out FILE.png, got {out}")
    if seed is not None and out is not None and not out.absolute().parent.is_dir():
        raise InputValueError(f"there is no folder {out.absolute().parent}")
    if seeds is not None and out is not None and out.suffix:
        raise InputValueError(f"--out is a folder, whose name has no dot: {out}")


def _make_one(generator: Any, seed: int | None, out: Path | None) -> None:
    from unfussy.models.multimodal.picture_files import (  # noqa: PLC0415 - as above
        save_png,
    )

    assert out is not None  # noqa: S101 - checked above
    image, caption, facts = generator.generate_with_metadata(seed)
    save_png(out, image, caption, {"sample": facts})
    typer.echo(f"{out}: {caption}")


def _make_many(
    generator: Any, seeds: Any, out: Path | None, *, restarts: bool, shows: bool
) -> None:
    from unfussy.models.multimodal import generate_to  # noqa: PLC0415 - as above

    assert out is not None  # noqa: S101 - checked above
    try:
        typer.echo(
            generate_to(out, generator, seeds, resume=not restarts, progress=shows)
        )
    except InputValueError as error:
        text = str(error).replace("resume=False", "--restart")
        raise InputValueError(text) from error
    except BaseException:
        say(f"what is made is in {out}; the same command goes on there")
        raise
