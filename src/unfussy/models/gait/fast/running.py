"""
A pass of frames through a network, block after block.

F frames, C channels, H and W height and width, O channels and P parts of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from unfussy.models.gait.fast.frames import Block
from unfussy.models.gait.fast.pooling import Head, LargestSoFar
from unfussy.models.gait.fast.residual import Layer

__all__ = ["Run"]


class Run:
    """
    A pass of sequences, one behind the other, through *layers* and *head*.

    It keeps the few frames that are waiting for the next ones, and no others.
    """

    def __init__(self, layers: Iterable[Layer], head: Head, dtype: torch.dtype) -> None:
        self._steps = [layer.open() for layer in layers]
        self._pool = LargestSoFar()
        self._head = head
        self._dtype = dtype

    def add(self, block: Block) -> list[Tensor]:
        """
        Compute frames ``(F, C, H, W)``.

        Returns:
            Embeddings ``(O, P)`` of the sequences that end in *block*.
        """
        frames = block.frames.to(self._dtype).permute(0, 2, 3, 1)
        # Not contiguous(): with one channel it keeps strides that make convolutions
        # twenty times slower.
        frames = frames.clone(memory_format=torch.contiguous_format)
        block = Block(frames, block.spans)
        with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
            for step in self._steps:
                block = step(block)
            return [self._head(pooled) for pooled in self._pool(block)]
