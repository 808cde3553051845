"""
A choice of candidates in a file, for the same model, machine and versions.

What was faster and equal once is so again only where everything that decides it is the
same; for anything else the file is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unfussy._devices import place_of
from unfussy._hardware import model_of
from unfussy._optimizing.registry import candidate_named
from unfussy._schemas import check_schema
from unfussy.errors import InputValueError

if TYPE_CHECKING:
    from unfussy._optimizing.applying import Application
    from unfussy._optimizing.report import OptimizationReport
    from unfussy._optimizing.target import Target

__all__ = ["fingerprint_of", "load_choice", "write_choice"]

_WORDS = {
    "model": "the model",
    "method": "the method",
    "parameters": "the names, shapes or dtypes of its parameters",
    "device_model": "the device",
    "torch": "torch",
    "unfussy": "unfussy",
}


def load_choice(
    path: str | Path, model_or_method: Any, example: Any = None, /
) -> Application:
    """
    Return a saved choice, ready for ``apply()`` and ``undo()``.

    Nothing is measured again.

    Args:
        path: What `OptimizationReport.save_choice` has written.
        model_or_method: As in `optimize`.
        example: As in `optimize`; for candidates that need one to be applied.

    Raises:
        InputValueError: If it is no such file, or was made for another model, device
            or version; the message says what differs.
        PlanError: If a candidate is not known here.
    """
    from unfussy._optimizing.applying import Application  # noqa: PLC0415 - many modules
    from unfussy._optimizing.target import find_target  # noqa: PLC0415

    choice = _read(Path(path))
    args = () if example is None else example
    target, args = find_target(model_or_method, args)
    _check_fingerprint(choice["fingerprint"], fingerprint_of(target)[0])
    chosen = [candidate_named(**each) for each in choice["candidates"]]
    return Application(target, args, chosen)


def write_choice(path: Path, report: OptimizationReport) -> Path:
    """Write the candidates that *report* has kept."""
    kept = [{"name": x.name, "parameters": x.parameters} for x in report.kept]
    choice = {"version": 1, "fingerprint": report.fingerprint, "candidates": kept}
    path.write_text(json.dumps(choice, indent=2) + "\n", encoding="utf-8")
    return path


def _read(path: Path) -> Any:
    from unfussy._optimizing.schema import CHOICE_SCHEMA  # noqa: PLC0415 - when needed

    try:
        choice = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputValueError(f"{path} holds no choice: {error}") from error
    check_schema(choice, CHOICE_SCHEMA, str(path))
    return choice


def _check_fingerprint(saved: dict[str, str], here: dict[str, str]) -> None:
    different = [
        f"{_WORDS[key]} ({saved[key]}, here {here[key]})"
        for key in _WORDS
        if saved[key] != here[key]
    ]
    if different:
        raise InputValueError(
            "the choice was made for something else, as there differ "
            f"{', '.join(different)}; call optimize() again"
        )


def fingerprint_of(target: Target) -> tuple[dict[str, str], str]:
    """Return what a choice for *target* holds for, and the device's name."""
    from unfussy import __version__  # noqa: PLC0415 - a circle

    module = target.module
    device = place_of(module, module).device or torch.device("cpu")
    kind = type(module)
    fingerprint = {
        "model": f"{kind.__module__}.{kind.__qualname__}",
        "method": target.label,
        "parameters": _digest(module),
        "device_model": model_of(device),
        "torch": torch.__version__,
        "unfussy": __version__,
    }
    return fingerprint, str(device)


def _digest(module: nn.Module) -> str:
    tensors = (*module.named_parameters(), *module.named_buffers())
    lines = [f"{name} {tuple(x.shape)} {x.dtype}" for name, x in tensors]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
