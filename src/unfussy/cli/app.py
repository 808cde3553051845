"""The commands, as people type them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer

from unfussy import __version__
from unfussy._compile import planned
from unfussy._explain import explain
from unfussy._hardware import get_device_info
from unfussy._options import configure
from unfussy._proxy import unfuss
from unfussy.cli.bench import bench
from unfussy.cli.building import build_model, find_class, read_settings
from unfussy.cli.drawings import drawer_of
from unfussy.cli.gallery import gallery
from unfussy.cli.generate import generate
from unfussy.cli.inputs import read_input, read_whole
from unfussy.cli.outputs import check_output
from unfussy.cli.running import Order, carry_out
from unfussy.cli.serve_app import serve_app
from unfussy.cli.telling import device_called, readable_errors, say
from unfussy.cli.verify import verify
from unfussy.cli.wishes import AsJson, Checkpoint, Config, Device, Progress
from unfussy.errors import InputValueError

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Plain model methods, easy to call.",
)
app.command()(bench)
app.command()(generate)
app.command()(verify)
app.command("app")(serve_app)
app.add_typer(gallery, name="gallery")


@app.callback(invoke_without_command=True)
def _about(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="A family, or package.module:Class.")],
    method: Annotated[str, typer.Argument(help="The method to call.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="A .npy, .npz or .pt file, a picture, or a folder."
        ),
    ],
    *,
    kind: Annotated[
        str | None,
        typer.Option("--model", help="Which model of a family that has several."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write: .npy, .npz, .pt, .json, a folder of .npy."),
    ] = None,
    checkpoint: Checkpoint = None,
    config: Config = None,
    argument: Annotated[
        list[str] | None, typer.Option(help="name=value for the method; repeatable.")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(help="A folder for the pictures with what was found drawn on."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, if there is no file.")] = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Items in a chunk: INPUT is a batch, whose results are saved as they "
            "come, and a run that was ended goes on when it is called again.",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever is there of it.")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, fp32, fp16, bf16 or inherit, if not the model's own."),
    ] = None,
    device: Device = "auto",
    explain_only: Annotated[
        bool, typer.Option("--explain", help="Say what would be done, and stop.")
    ] = False,
    progress: Progress = None,
) -> None:
    """
    Call METHOD of MODEL on a file, and write the result to a file.

    With --batch-size, or if METHOD is one that cuts its input anyhow, the first
    dimension of INPUT (or the pictures of a folder) are items. Then results go to a
    .npy file or a folder as they come, and the same command goes on after a kill.
    Otherwise INPUT is given to METHOD in one call.
    """
    with readable_errors():
        if out is None and not explain_only:
            raise InputValueError("say where the result goes: --out FILE")
        if out is not None:
            check_output(out)
        given_settings = read_settings(config or [])
        if kind is not None:
            given_settings["model_type"] = kind
        inputs = read_input(source, find_class(model))
        built, weights = build_model(model, checkpoint, given_settings, seed)
        place = device_called(device)
        if hasattr(built, "to"):
            built = built.to(place)
        found = _find_method(built, method)
        given = {"precision": precision, "batch_size": batch_size}
        settings = {key: value for key, value in given.items() if value is not None}
        extra = read_settings(argument or [])
        if explain_only:
            call = configure(found, **settings, out="numpy")
            typer.echo(str(explain(call, read_whole(inputs), **extra)))
            return
        assert out is not None  # noqa: S101 - checked above
        if checkpoint is None:
            say(f"No checkpoint: {weights}. Results mean nothing.", "yellow")
        shows = sys.stderr.isatty() if progress is None else progress
        start = time.perf_counter()
        order = Order(
            *(found, inputs, extra, settings, out, restart, shows, say),
            as_arrays=getattr(built, "as_arrays", None),
            draw=None if draw is None else drawer_of(built),
            drawings=draw,
        )
        typer.echo(carry_out(order))
        seconds = time.perf_counter() - start
        say(f"{model} {method} on {place}: {seconds:.2f} s")


@app.command()
def devices(
    *,
    as_json: AsJson = False,
) -> None:
    """List the devices of this machine, and which one is taken."""
    with readable_errors():
        info = get_device_info()
        typer.echo(json.dumps(info.to_dict(), indent=2) if as_json else str(info))


def _find_method(model: Any, method: str) -> Callable[..., Any]:
    """Return the easy twin of the method, or the method itself, planned."""
    easy = getattr(model, f"easy_{method}", None)
    found = easy or getattr(model, method, None)
    if not callable(found) or method.startswith("_"):
        raise InputValueError(f"{type(model).__name__} has no method {method!r}")
    if planned(found) is not None:
        return cast("Callable[..., Any]", found)
    if not isinstance(model, torch.nn.Module):
        kind = type(model).__name__
        raise InputValueError(f"{method!r} of {kind} is not decorated")
    return cast("Callable[..., Any]", getattr(unfuss(model), method))
