"""Small gait models of all kinds, their fast forms, and how far results are apart."""

import functools

import torch

from tests.models.filling import filled
from unfussy.models.gait import DeepGaitV2, GaitBase, SkeletonGaitPP, XGait
from unfussy.models.gait.fast import fast_form

SMALL = {"embedding_dim": 6, "strips": 2, "class_num": None}
HEIGHT, WIDTH = 16, 12
NAMES = ("p3d", "3d", "2d", "base", "skeleton", "x")


@functools.cache
def gait(name, layers=(1, 1, 1, 1), channels=(4, 6, 8, 8)):
    """Return a model of few layers, its weights filled from their keys."""
    model = new_gait(name, layers, channels)
    model.load_state_dict(filled(model.state_dict()))
    return model.eval()


def new_gait(name, layers=(1, 1, 1, 1), channels=(4, 6, 8, 8)):
    match name:
        case "base":
            return GaitBase(layers, channels, **SMALL)
        case "x":
            return XGait(layers, channels, reduction=2, **SMALL)
        case "skeleton":
            # Attention has a sixteenth of the channels.
            return SkeletonGaitPP(layers, (16, *channels[1:]), **SMALL)
        case mode:
            return DeepGaitV2(mode, layers, channels, **SMALL)


def frames(model, count, seed=0, height=HEIGHT, width=WIDTH):
    """Return *count* frames as the network takes them."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(count, model.in_channels, height, width, generator=generator)
    if isinstance(model, XGait):
        found[:, 0] = (found[:, 0] * 12).floor()
    return found


@torch.no_grad()
def official(model, x):
    """Return the embedding of one sequence by the network itself."""
    if isinstance(model, XGait):
        return model.embed(x[None, :, 0], x[None, :, 1])
    return model.embed(x[None])


def apart(found, expected):
    """Return the greatest distance of an embedding, relative to its length."""
    distance = (found.double() - expected.double()).flatten(1).norm(dim=1)
    return (distance / expected.double().flatten(1).norm(dim=1)).max().item()


def form(model, precision="fp32"):
    return fast_form(model, precision)
