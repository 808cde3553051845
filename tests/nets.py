"""Small networks of every way in which layers and norms are put together."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from unfussy._optimizing.candidate import Trial

__all__ = ["BLOCKS", "Net", "nets", "trial_of"]

CHANNELS = 4
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

# What a block does with its layer, its norm and its input.
BLOCKS = {
    "follows": lambda b, x: b.norm(b.layer(x)),
    "residual": lambda b, x: x + b.norm(b.layer(x)),
    "functional": lambda b, x: F.relu(b.norm(b.layer(x)) * 2),
    "in place": lambda b, x: b.norm(b.layer(x)).relu_(),
    "used twice": lambda b, x: (y := b.layer(x)) + b.norm(y),
    "kept as well": lambda b, x: (y := b.layer(x), b.norm(y))[1] + y.mean(),
    "changed in between": lambda b, x: b.norm(torch.relu_(b.layer(x))),
    "input changed": lambda b, x: (y := b.layer(x.clone()), b.norm(y))[1],
    "shared": lambda b, x: b.norm(b.layer(b.norm(b.layer(x)))),
    "shared layer": lambda b, x: b.layer(b.norm(b.layer(x))),
    "shared norm": lambda b, x: b.norm(b.norm(b.layer(x))),
    "norm first": lambda b, x: b.layer(b.norm(x)),
    "dropout between": lambda b, x: b.norm(b.drop(b.layer(x))),
    "flows by value": lambda b, x: b.norm(y) if (y := b.layer(x)).std() > 0.5 else y,
    "flows by size": lambda b, x: (b.norm if len(x) < 4 else nn.ReLU())(b.layer(x)),
    "no norm": lambda b, x: b.layer(x),
}


class Block(nn.Module):
    """A layer, a norm and how they are called."""

    def __init__(self, way, layer, norm):
        super().__init__()
        self.way, self.layer, self.norm = way, layer, norm
        self.drop = nn.Dropout()

    def forward(self, x):
        return BLOCKS[self.way](self, x)


class Net(nn.Module):
    """Blocks, and a head of a linear layer with its norm."""

    def __init__(self, blocks, head):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*blocks), head

    def forward(self, x):
        return self.head(self.blocks(x).flatten(2).mean(2))


@st.composite
def layers(draw, axes):
    """Draw a convolution that keeps the shape, transposed or not."""
    size, dilation = draw(st.sampled_from([(1, 1), (3, 1), (3, 2)]))
    options = {
        "groups": draw(st.sampled_from([1, 2, 4])),
        "bias": draw(st.booleans()),
        "dilation": dilation,
        "padding": dilation * (size - 1) // 2,
    }
    if draw(st.booleans()):
        return _TRANSPOSED[axes](CHANNELS, CHANNELS, size, **options)
    mode = draw(st.sampled_from(["zeros", "replicate"]))
    options["padding_mode"] = mode
    return _CONVOLUTIONS[axes](CHANNELS, CHANNELS, size, **options)


@st.composite
def norms(draw, kind):
    """Draw a batch norm with statistics of its own."""
    norm = kind(
        CHANNELS, eps=draw(st.sampled_from([1e-5, 0.1])), affine=draw(st.booleans())
    )
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.2, 3)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


@st.composite
def nets(draw, axes=None, ways=tuple(BLOCKS)):
    """Draw a network in eval mode, and an input for it."""
    torch.manual_seed(draw(st.integers(0, 99)))
    axes = axes or draw(st.sampled_from([2, 1, 3]))
    drawn = draw(st.lists(st.sampled_from(ways), min_size=1, max_size=2))
    blocks = [
        Block(way, draw(layers(axes)), draw(norms(_NORMS[axes]))) for way in drawn
    ]
    head = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), draw(norms(nn.BatchNorm1d)))
    x = torch.randn(draw(st.integers(1, 3)), CHANNELS, *(5,) * axes)
    return Net(blocks, head).eval(), x


def trial_of(module, *args, **settings):
    """Return a trial of *module* on the CPU."""
    cpu = torch.device("cpu")
    return Trial(module, args, {}, cpu, torch.float32, settings=settings)
