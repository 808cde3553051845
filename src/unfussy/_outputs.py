"""
Results in the form that was asked for: tensors or arrays, here or on the CPU.

One contract for every nesting. Copies off an accelerator are all started before the
first one is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch

from unfussy._arrays import from_array, is_label_array, to_array
from unfussy._tree import pop_path, too_deep, tree_leaves, visit
from unfussy.errors import InputTypeError, TreeError

__all__ = ["Form", "Output", "OutputKind", "finish_output", "form_of", "gathered"]

OutputKind: TypeAlias = Literal["tensor", "numpy", "mirror"]

_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Output:
    """
    The form of results: the plan's entry of ``@returns``.

    Attributes:
        kind: Tensors, NumPy arrays, or arrays where the caller passed arrays and
            tensors otherwise.
        device: Where results go: where they are, the CPU, or where the first input
            was.
    """

    kind: OutputKind = "tensor"
    device: Literal["keep", "cpu", "input"] = "keep"


@dataclass(frozen=True, slots=True)
class Form:
    """
    What the caller passed: whether arrays, and where.

    Attributes:
        arrays: Whether the first tensor or array among the inputs was an array.
        device: Where it was.
    """

    arrays: bool
    device: torch.device


def form_of(inputs: Any, /) -> Form | None:
    """Return the form of the first tensor or array in *inputs*, or None."""
    try:
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, torch.Tensor):
                return Form(arrays=False, device=leaf.device)
            if isinstance(leaf, np.ndarray) and not is_label_array(leaf):
                return Form(arrays=True, device=_CPU)
    except TreeError:  # whoever moves the inputs names the one that holds itself
        return None
    return None


def finish_output(result: Any, output: Output, form: Form | None, method: str) -> Any:
    """
    Return *result* in the form that *output* asks for.

    Args:
        result: What the method returned.
        output: What is asked for.
        form: What the caller passed.
        method: The method's name, for errors.

    Raises:
        InputTypeError: If some part of the result has no such form.
        TreeError: If a container in it holds itself.
    """
    try:
        return _finished(result, output, form)
    except RecursionError as error:
        raise TreeError(f"{method}: {too_deep(result)}") from error
    except InputTypeError as error:
        error.args = (f"{method}: result{pop_path(error)}: {error}",)
        raise


def _finished(result: Any, output: Output, form: Form | None) -> Any:
    mirrors = output.kind == "mirror" and form is not None and form.arrays
    if output.kind == "numpy" or mirrors:
        return visit(gathered(result), _to_array)
    if output.device == "cpu":
        result = gathered(result)
    elif output.device == "input" and form is not None:
        result = gathered(result, form.device)
    return visit(result, _to_tensor)


def gathered(result: Any, device: torch.device = _CPU, /) -> Any:
    """
    Return *result* with its tensors on *device*, after one wait for all of CUDA.

    A tensor that stands in two places stays one object; meta tensors stay where they
    are.
    """
    waiting: set[torch.device] = set()
    copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def fetch(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.device == device or leaf.is_meta:
            return leaf
        if id(leaf) not in copies:  # the leaf too: its id must stay taken
            copies[id(leaf)] = leaf, _copied(leaf, device, waiting)
        return copies[id(leaf)][1]

    fetched = visit(result, fetch)
    for source in waiting:
        torch.cuda.current_stream(source).synchronize()
    return fetched


def _copied(
    leaf: torch.Tensor, device: torch.device, waiting: set[torch.device]
) -> torch.Tensor:
    ahead = leaf.is_cuda and device.type == "cpu" and leaf.layout is torch.strided
    if ahead:
        waiting.add(leaf.device)
    return leaf.to(device, non_blocking=ahead)


def _to_array(leaf: Any) -> Any:
    return to_array(leaf) if isinstance(leaf, torch.Tensor) else leaf


def _detach(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, torch.Tensor) else leaf


# Distributions and packed sequences hold tensors and nothing else.
_to_array.held = _detach  # type: ignore[attr-defined]


def _to_tensor(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor) or is_label_array(leaf):
        return leaf
    return from_array(leaf)
