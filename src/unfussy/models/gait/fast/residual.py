"""
Residual blocks, of single frames and of successive ones.

Blocks of successive frames answer late: a frame's result has to wait for the frame
after it. Each run over frames has its own steps, and they keep what is waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unfussy.models.gait.fast.convolving import (
    Conv,
    make_conv,
    make_cube_conv,
    make_window_conv,
)
from unfussy.models.gait.fast.folding import Weights
from unfussy.models.gait.fast.frames import (
    Block,
    Step,
    each_frame,
    each_span,
    split_spans,
)
from unfussy.models.gait.fast.waiting import Delay, Neighbours

__all__ = ["Layer", "Plain", "PlainBlock", "make_stage"]


class Layer(Protocol):
    """A part of a network that computes frames in the order of time."""

    def open(self) -> Step: ...  # noqa: D102


@dataclass(frozen=True)
class Plain:
    """A convolution of single frames and what cuts off below zero."""

    conv: Conv

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute frames ``(F, H, W, C)``."""
        return self.conv(frames).relu_()

    def open(self) -> Step:
        """Return a step that keeps nothing."""
        return each_frame(self)


@dataclass(frozen=True)
class PlainBlock:
    """A residual block of single frames."""

    first: Conv
    second: Conv
    shortcut: Conv | None

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute frames ``(F, H, W, C)``."""
        inner = self.second(self.first(frames).relu_())
        return inner.add_(_shortened(frames, self.shortcut)).relu_()

    def open(self) -> Step:
        """Return a step that keeps nothing."""
        return each_frame(self)


@dataclass(frozen=True)
class _PseudoBlock:
    """A residual block in space, with a convolution in time inside."""

    first: Conv
    along: Conv
    second: Conv
    shortcut: Conv | None

    def open(self) -> Step:
        neighbours, delay = Neighbours(), Delay()

        def smooth(frames: Tensor, *, ends: bool) -> Tensor:
            near = neighbours(frames, ends=ends)
            return self.along(near).add_(near[1:-1]).relu_()

        def step(block: Block) -> Block:
            inner = each_span(Block(self.first(block.frames), block.spans), smooth)
            total = Block(self.second(inner.frames), inner.spans)
            return _added(total, block, self.shortcut, delay)

        return step


@dataclass(frozen=True)
class _CubeBlock:
    """A residual block of two convolutions in space and time."""

    first: Conv
    second: Conv
    shortcut: Conv | None

    def open(self) -> Step:
        before, between, delay = Neighbours(), Neighbours(), Delay()

        def open_up(frames: Tensor, *, ends: bool) -> Tensor:
            return self.first(before(frames, ends=ends))

        def close(frames: Tensor, *, ends: bool) -> Tensor:
            return self.second(between(frames, ends=ends))

        def step(block: Block) -> Block:
            total = each_span(each_span(block, open_up), close)
            return _added(total, block, self.shortcut, delay)

        return step


def make_stage(weights: Weights, dtype: torch.dtype, *, stride: int) -> list[Layer]:
    """Return the residual blocks of a stage, whose first one has this *stride*."""
    strides = [stride, *[1] * len(weights.blocks())]
    return [_make_block(block, s, dtype) for block, s in zip(weights.blocks(), strides)]


def _make_block(weights: Weights, stride: int, dtype: torch.dtype) -> Layer:
    shortcut = None
    if "downsample.0.weight" in weights:
        folded = weights.conv("downsample.0", "downsample.1")
        shortcut = make_conv(folded, dtype, stride=stride)
    if "shortcut3d.weight" in weights:
        first = weights.conv("conv1.forward_block.0", "conv1.forward_block.1")
        along = weights.conv("shortcut3d", "sbn")
        second = weights.conv("conv2.forward_block.0", "conv2.forward_block.1")
        return _PseudoBlock(
            make_conv(first, dtype, stride=stride),
            make_window_conv(along, dtype),
            make_conv(second, dtype),
            shortcut,
        )
    first, second = weights.conv("conv1", "bn1"), weights.conv("conv2", "bn2")
    if first.weight[0, 0].ndim > 2:  # noqa: PLR2004 - in space and time
        opening = make_cube_conv(first, dtype, stride=stride)
        return _CubeBlock(opening, make_cube_conv(second, dtype), shortcut)
    opening = make_conv(first, dtype, stride=stride)
    return PlainBlock(opening, make_conv(second, dtype), shortcut)


def _shortened(frames: Tensor, shortcut: Conv | None) -> Tensor:
    return frames if shortcut is None else shortcut(frames)


def _added(total: Block, given: Block, shortcut: Conv | None, delay: Delay) -> Block:
    """Add what goes round a layer, as late as what goes through it."""
    outer = split_spans(Block(_shortened(given.frames, shortcut), given.spans))
    for part, frames in zip(split_spans(total), outer):
        delay.add_to(part, frames)
    return Block(total.frames.relu_(), total.spans)
