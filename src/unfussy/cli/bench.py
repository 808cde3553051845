"""The command that measures a plain loop against batches and against `optimize`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from unfussy.cli.building import build_model, read_settings
from unfussy.cli.inputs import read_input, read_whole
from unfussy.cli.telling import device_called, readable_errors, say
from unfussy.cli.wishes import AsJson, Checkpoint, Config, Device, Progress
from unfussy.errors import InputValueError

__all__ = ["bench"]


def bench(
    target: Annotated[
        str,
        typer.Argument(
            help="A family, one of its models, or package.module:Class.method."
        ),
    ],
    *,
    model: Annotated[
        str | None, typer.Option(help="The model of a family, by its name.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--sequences",
            "--items",
            min=1,
            help="How many items a family is measured with.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="Inputs for a method of your own: a .npy, .npz or .pt file, or a "
            "folder of pictures, whose first dimension are items.",
        ),
    ] = None,
    level: Annotated[
        Literal["conservative", "balanced", "aggressive"],
        typer.Option(help="How much is tried to optimise."),
    ] = "balanced",
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="How often each variant does all of the work."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(help="About how long it may take; half of it to optimise."),
    ] = 60.0,
    device: Device = "auto",
    checkpoint: Checkpoint = None,
    config: Config = None,
    seed: Annotated[
        int, typer.Option(help="Of weights, if there is no file, and of inputs.")
    ] = 0,
    memory: Annotated[
        Literal["child process", "PeakMeter", "none"],
        typer.Option(help="How peak memory is measured."),
    ] = "child process",
    save: Annotated[
        Path | None, typer.Option(help="A folder for the results, as JSON and HTML.")
    ] = None,
    as_json: AsJson = False,
    progress: Progress = None,
) -> None:
    """
    Measure TARGET: a plain loop, in batches, and optimised, in turn.

    All variants do the same work with the same weights; one whose results differ is
    left out. Families draw their inputs; a method of your own takes --input.
    """
    from unfussy.bench import (  # noqa: PLC0415 - no other command needs it
        run_comprehensive_benchmark,
        save_results,
        table_of,
    )

    with readable_errors():
        settings = read_settings(config or [])
        place = device_called(device)
        how: dict[str, Any] = {
            "level": level,
            "rounds": rounds,
            "seconds": seconds,
            "memory": memory,
            "progress": progress,
        }
        if ":" in target:
            if model is not None or count is not None:
                raise InputValueError("--model and --sequences are for families")
            built, weights = _own(target, checkpoint, settings, seed, place)
            results = run_comprehensive_benchmark(built, example=_read(source), **how)
            results["weights"] = weights
        else:
            if source is not None:
                raise InputValueError(
                    "--input is for methods of your own; a family draws its inputs"
                )
            results = run_comprehensive_benchmark(
                target,
                count,
                model=model,
                device=place,
                checkpoint=checkpoint,
                config=settings,
                seed=seed,
                **how,
            )
        if checkpoint is None:
            say(f"No checkpoint: {results['weights']}.", "yellow")
        typer.echo(json.dumps(results, indent=2) if as_json else table_of(results))
        if save is not None:
            say(f"saved: {save_results(results, save)}")


def _own(
    target: str,
    checkpoint: Path | None,
    settings: dict[str, Any],
    seed: int,
    place: torch.device,
) -> tuple[Any, str]:
    """Return the user's module or its method, and where its weights come from."""
    module, _, path = target.partition(":")
    kind, _, name = path.partition(".")
    built, weights = build_model(f"{module}:{kind}", checkpoint, settings, seed)
    if not isinstance(built, torch.nn.Module):
        raise InputValueError(f"{target} is no torch.nn.Module, but {built!r}")
    built.to(place)
    if not name:
        return built, weights
    method = getattr(built, name, None)
    if not callable(method):
        raise InputValueError(f"{kind} has no method {name!r}")
    return method, weights


def _read(source: Path | None) -> Any:
    if source is None:
        raise InputValueError("a method of your own takes its inputs too: --input FILE")
    return read_whole(read_input(source))
