"""Weights put into a module strictly, with a list one can read where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError, InputTypeError
from unfussy.models._checkpoints import strip_prefixes

__all__ = ["build_empty", "load_strictly", "own_part"]

M = TypeVar("M", bound=nn.Module)

_SHOWN: Final = 4


def build_empty(make: Callable[[], M], /) -> M:
    """
    Return what *make* makes, on the CPU, with memory for its weights but no values.

    It is made without memory first, so that no layer draws numbers that are then
    thrown away.
    """
    with torch.device("meta"):
        model = make()
    return model.to_empty(device="cpu")


def own_part(
    state: object, /, prefixes: tuple[str, ...], foreign: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """
    Return what of *state* is a family's own, under its own keys.

    Args:
        state: A state dict as it was saved.
        prefixes: What wrappers put before keys.
        foreign: How keys begin that belong to something else.

    Raises:
        InputTypeError: If *state* is no mapping.
    """
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise InputTypeError(f"a state dict maps keys to tensors, got a {kind}")
    stripped = strip_prefixes(state, prefixes)
    return {key: x for key, x in stripped.items() if not key.startswith(foreign)}


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    /,
    *,
    title: str,
    source: str = "the state dict",
) -> None:
    """
    Copy *state* into *module*, whose tensors it must match one to one.

    Only ``num_batches_tracked`` may be absent, as it was before PyTorch 0.4.1: it
    counts training steps and plays no part in inference.

    Args:
        module: What to fill.
        state: The weights, by key.
        title: What the error calls *module*.
        source: What the error calls *state*.

    Raises:
        CheckpointError: If keys or shapes differ; the message lists them.
    """
    own = module.state_dict()
    absent = [key for key in own if key not in state]
    differences = {
        "missing": [key for key in absent if not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {_shape(tensor)}, expected {_shape(own[key])}"
            for key, tensor in state.items()
            if key in own and tensor.shape != own[key].shape
        ],
    }
    if any(differences.values()):
        raise CheckpointError(
            f"{source} does not hold the weights of {title}:{_listed(differences)}"
        )
    module.load_state_dict(dict(state), strict=False)


def _listed(differences: Mapping[str, list[str]]) -> str:
    return "".join(
        f"\n  {len(items)} {what}: {_shortened(items)}"
        for what, items in differences.items()
        if items
    )


def _shortened(items: Iterable[str]) -> str:
    shown = list(items)
    more = len(shown) - _SHOWN
    return "; ".join(shown[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
