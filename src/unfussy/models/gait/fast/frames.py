"""
Frames of many sequences on one axis, a few at a time.

A sequence may begin in one block and end in another; spans say which frames of a block
belong together, and which are the last of their sequence.

F frames, H and W height and width, C channels, of what ends last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Block",
    "Span",
    "Step",
    "cut_frames",
    "each_frame",
    "each_span",
    "split_spans",
]


class Span(NamedTuple):
    """
    Successive frames of one sequence.

    Attributes:
        length: How many.
        ends: Whether the sequence has no more.
    """

    length: int
    ends: bool


@dataclass(frozen=True)
class Block:
    """
    Frames that are computed at once.

    Attributes:
        frames: ``(F, H, W, C)``.
        spans: Their lengths add up to F.
    """

    frames: Tensor
    spans: tuple[Span, ...]


Step: TypeAlias = Callable[[Block], Block]
"""What is done to the blocks of a run, one after the other."""


def each_frame(compute: Callable[[Tensor], Tensor], /) -> Step:
    """Return a step that computes frames ``(F, H, W, C)`` which do not see others."""
    return lambda block: Block(compute(block.frames), block.spans)


class Compute(Protocol):
    """What is done to successive frames of one sequence."""

    def __call__(self, frames: Tensor, *, ends: bool) -> Tensor: ...


def split_spans(block: Block, /) -> tuple[Tensor, ...]:
    """Return views of the frames of each span."""
    return torch.split(block.frames, [span.length for span in block.spans])


def each_span(block: Block, compute: Compute, /) -> Block:
    """Call *compute* with the frames of each span, and join the results."""
    parts = zip(split_spans(block), block.spans)
    results = [compute(part, ends=span.ends) for part, span in parts]
    spans = (Span(len(r), span.ends) for r, span in zip(results, block.spans))
    joined = results[0] if len(results) == 1 else torch.cat(results)
    return Block(joined, tuple(spans))


def cut_frames(frames: Tensor, lengths: Sequence[int], size: int) -> Iterator[Block]:
    """Cut *frames* of sequences of *lengths* into blocks of *size* frames at most."""
    spans = list(_spans(lengths, size))
    for part in torch.split(frames, size):
        mine, left = [], len(part)
        while left:
            mine.append(spans.pop(0))
            left -= mine[-1].length
        yield Block(part, tuple(mine))


def _spans(lengths: Iterable[int], size: int) -> Iterator[Span]:
    """Yield spans, none of which crosses a multiple of *size*."""
    place = 0
    for length in lengths:
        end = place + length
        while place < end:
            stop = min(end, (place // size + 1) * size)
            yield Span(stop - place, stop == end)
            place = stop
