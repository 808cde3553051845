"""Models by name: a family, or any class of the user's own."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unfussy._devices import module_of
from unfussy.errors import InputValueError
from unfussy.models import FAMILIES
from unfussy.models._checkpoints import read_state_dict, strip_prefixes
from unfussy.models._matching import load_strictly

__all__ = ["build_model", "find_class", "read_settings"]


def find_class(name: str) -> Any:
    """
    Return the class called *name*: a family's, or ``package.module:Class``.

    Modules in the current folder are found too.

    Raises:
        InputValueError: If there is no such class.
    """
    full = FAMILIES.get(name, name)
    module_name, colon, class_name = full.partition(":")
    if not colon:
        known = ", ".join(FAMILIES)
        raise InputValueError(
            f"{name!r} is no model; there are {known}, or write package.module:Class"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputValueError(f"{name!r}: there is no module {error.name!r}") from error
    found = getattr(module, class_name, None)
    if not callable(found):
        raise InputValueError(f"{module_name} has no class {class_name!r}")
    return found


def read_settings(pairs: list[str]) -> dict[str, Any]:
    """
    Return ``name=value`` pairs as keyword arguments; values are Python literals.

    Raises:
        InputValueError: If a pair has no ``=``.
    """
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputValueError(f"--config takes name=value, got {pair!r}")
        settings[name] = _literal(text)
    return settings


def _literal(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def build_model(
    name: str, checkpoint: Path | None, settings: dict[str, Any], seed: int
) -> tuple[Any, str]:
    """
    Build a model and say where its weights come from.

    Raises:
        InputValueError: If the model does not exist or does not take *settings*.
        CheckpointError: If the checkpoint is not one of this model.
    """
    kind = find_class(name)
    if checkpoint is not None and hasattr(kind, "from_pretrained"):
        return _called(kind.from_pretrained, checkpoint, **settings), f"{checkpoint}"
    if hasattr(kind, "from_config"):
        model = _called(kind.from_config, seed=seed, **settings)
        return model, f"random weights from seed {seed}"
    model = _called(_seeded(kind, seed), **settings)
    if checkpoint is None:
        return model, f"random weights from seed {seed}"
    module = module_of(model)
    if module is None:
        raise InputValueError(
            f"{name} is no module, so no weights can be loaded into it"
        )
    state = strip_prefixes(read_state_dict(checkpoint), ("module.", "model."))
    load_strictly(module, state, title=name, source=str(checkpoint))
    return model, f"{checkpoint}"


def _seeded(kind: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """Return *kind* with its random numbers drawn from *seed*, and only for itself."""

    @functools.wraps(kind, updated=())
    def build(*args: Any, **settings: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            return kind(*args, **settings)

    return build


def _called(build: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    try:
        inspect.signature(build).bind(*args, **settings)
    except TypeError as error:
        takes = inspect.signature(build)
        raise InputValueError(f"--config: {error}; it takes {takes}") from error
    return build(*args, **settings)
