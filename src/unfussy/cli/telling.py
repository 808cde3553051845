"""What commands say beside their results: on stderr, and errors without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import typer

from unfussy._hardware import get_best_device
from unfussy.errors import InputValueError, UnfussyError

__all__ = ["device_called", "readable_errors", "say"]


def say(text: str, color: str | None = None) -> None:
    """Tell the user something that is no result."""
    typer.secho(text, err=True, fg=color, bold=color is not None)


@contextmanager
def readable_errors(*others: type[Exception]) -> Iterator[None]:
    """End the command with the text of an error of ours or *others*, and status 1."""
    expected: tuple[type[Exception], ...] = (UnfussyError, *others)
    try:
        yield
    except expected as error:
        say(f"Error: {error}", "red")
        raise typer.Exit(1) from error


def device_called(name: str) -> torch.device:
    """
    Return the device of that name, or the best one for ``"auto"``.

    Raises:
        InputValueError: If it cannot, saying why.
    """
    if name == "auto":
        return get_best_device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputValueError(f"--device {name!r} cannot be used: {reason}") from error
    return device
