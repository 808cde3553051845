"""
Results of chunks joined where there is room: on their device, or on the CPU.

Joining takes the memory of all results once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from unfussy._batching import Done, is_out_of_memory, join, release_memory
from unfussy._outputs import gathered
from unfussy._tree import Tree, tree_leaves
from unfussy.errors import DoesNotFitError

__all__ = ["join_somewhere", "order_of"]

_Ask: TypeAlias = Callable[[], tuple[Tree, int] | None]
_CPU: Final = torch.device("cpu")


def order_of(done: Sequence[Done]) -> np.ndarray[Any, Any] | None:
    """Return where among the chunks the items are, unless in their order already."""
    runs = all(isinstance(each.indices, range) for each in done)
    if runs and all(a.indices[-1] < b.indices[0] for a, b in pairwise(done)):
        return None
    placed = np.concatenate([np.asarray(each.indices) for each in done])
    return np.argsort(placed, kind="stable")


def join_somewhere(
    parts: list[Any],
    sizes: Sequence[int],
    order: np.ndarray[Any, Any] | None,
    ask: _Ask | None = None,
    alike: Callable[[], bool] = bool,
) -> Any:
    """
    Join on the device; if it is too full for that, on the CPU, and go back.

    Takes *parts* out of their list as it goes.

    Raises:
        AmbiguousBatchError: If they cannot be joined.
        DoesNotFitError: If the device has no room for the result.
    """
    try:
        return join(parts, sizes, order, ask=ask, alike=alike)
    except (RuntimeError, MemoryError) as error:
        devices = _devices(parts)
        if not is_out_of_memory(error) or len(devices) != 1 or _CPU in devices:
            raise
    for i in range(len(parts)):
        parts[i] = gathered(parts[i])
    release_memory()
    result = join(parts, sizes, order)
    parts.clear()
    return _back(result, devices.pop())


def _back(result: Any, device: torch.device) -> Any:
    try:
        return gathered(result, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        refusal = f"{type(error).__name__}: {error}"
    raise DoesNotFitError(
        f"the joined results do not fit on {device}; let them wait on the CPU with "
        f"keep='cpu', or write them to a file with run_to(). It said: {refusal}"
    )


def _devices(parts: list[Any]) -> set[torch.device]:
    leaves = tree_leaves(parts[0])
    return {leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}
