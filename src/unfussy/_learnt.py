"""What the calls of one method in chunks have taught, kept from call to call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn

from unfussy._batching import Batch, Governor, Limits, Measures, Unpadder
from unfussy._fitting import SMALL_BYTES
from unfussy._method import Method

__all__ = ["Learnt", "first_items"]

_START: Final = 64
_EVEN_START: Final = 8


@dataclass(slots=True)
class Learnt:
    """
    A method that is called in chunks, and what its calls have taught.

    Attributes:
        batch: How it is cut.
        method: Its name and parameters.
        on_cpu: Whether results of chunks go to the CPU at once.
        mirrors: Whether they do where the caller passed arrays.
        limits: How much fits.
        measures: How long chunks take, and whose memory was measured.
        tight: Whether memory has run out in some call.
        items: How many items a chunk may have, as far as the last call could tell.
        unpadder: Which results follow the padding.
        templates: What an empty result looks like.
    """

    batch: Batch
    method: Method
    on_cpu: bool = False
    mirrors: bool = False
    limits: Limits = field(default_factory=Limits)
    measures: WeakKeyDictionary[Governor, Measures] = field(
        default_factory=WeakKeyDictionary
    )
    tight: bool = False
    items: float | None = None
    unpadder: Unpadder = field(init=False)
    templates: WeakKeyDictionary[nn.Module, Any] = field(
        default_factory=WeakKeyDictionary
    )

    def __post_init__(self) -> None:
        self.unpadder = Unpadder(self.batch)


def first_items(
    device: torch.device, item_bytes: float, *, is_even: bool = True
) -> int:
    """
    Return how many items to try at first.

    Args:
        device: Where they run.
        item_bytes: What one of them takes.
        is_even: Whether all are of one size, so that chunks can be compared.
    """
    if device.type != "cpu":
        return _START
    # Few on a CPU, where large chunks can be slower: memory then goes back and forth
    # to the system. What gets faster by growing soon grows.
    most = _EVEN_START if is_even else _START
    few = int(max(1, min(most, SMALL_BYTES / max(item_bytes, 1))))
    return 1 << (few.bit_length() - 1)
