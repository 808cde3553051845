"""Gait models for tests, their weights filled from their keys, and references."""

import functools
import json
from pathlib import Path

import numpy as np
import torch

from tests.models.filling import filled
from unfussy.models.gait import DeepGaitV2, GaitBase, SkeletonGaitPP, XGait

DATA = Path(__file__).parent / "data"
TINY = {"channels": (4, 6, 8, 10), "strips": 4, "embedding_dim": 5, "class_num": 3}
KINDS = {
    "p3d": (DeepGaitV2, {"mode": "p3d", "layers": (1, 2, 1, 1)}),
    "3d": (DeepGaitV2, {"mode": "3d", "layers": (1, 1, 2, 1)}),
    "2d": (DeepGaitV2, {"mode": "2d", "layers": (2, 1, 1, 1)}),
    "maps": (DeepGaitV2, {"layers": (1, 1, 1, 1), "in_channels": 2}),
    "base": (GaitBase, {"layers": (1, 2, 1, 1)}),
    "skeleton": (SkeletonGaitPP, {"layers": (1, 1, 2, 1), "squeeze": 2}),
    "x": (XGait, {"reduction": 5}),
}
IN_TIME = ("p3d", "3d", "maps", "skeleton")
FRAMEWISE = ("2d", "base", "x")


@functools.cache
def tiny(name):
    """Return a small model of each kind; it must not be changed."""
    return new_tiny(name)


def new_tiny(name, **settings):
    kind, own = KINDS[name]
    with torch.device("meta"):
        model = kind(**(TINY | own | settings))
    model = model.to_empty(device="cpu")
    model.load_state_dict(filled(model.state_dict()))
    return model.eval()


def walk(name, length, seed=0, width=64):
    """Return a sequence of random frames as the model *name* takes it."""
    draw = np.random.default_rng([seed, length])
    levels = draw.integers(0, 256, (length, 64, width), dtype=np.uint8)
    maps = draw.integers(0, 256, (length, 2, 64, width), dtype=np.uint8)
    labels = draw.integers(0, 12, (length, 64, width), dtype=np.uint8)
    whole = {"silhouettes": levels, "skeleton_maps": maps, "parsing": labels}
    kinds = tiny(name).kinds
    if len(kinds) == 1:
        return whole[kinds[0]]
    return {kind: whole[kind] for kind in kinds}


def inputs(name, lengths, seed=0):
    """Return what `embed` of the model *name* takes: sequences of equal lengths."""
    model, n, s = tiny(name), *lengths
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(n, s, model.in_channels, 64, 44, generator=draw)
    if name != "x":
        return (x,)
    return (x[:, :, 0] * 12).floor(), x[:, :, 1]


def relative(found, wanted):
    """Return the largest relative distance of an embedding to what it should be."""
    found, wanted = (torch.as_tensor(x).double().flatten(1) for x in (found, wanted))
    return ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()


@functools.cache
def reference():
    """Return what the official code computes, as arrays."""
    with np.load(DATA / "gait_reference.npz") as numbers:
        return dict(numbers)


@functools.cache
def manifests():
    """Return keys, shapes and precisions of official weights, by model."""
    found = json.loads((DATA / "gait_keys.json").read_text())
    return {name: [line.split() for line in lines] for name, lines in found.items()}


def official(name):
    """Return empty weights as the official files of *name* hold them."""
    return {
        key: torch.empty(
            [int(n) for n in shape.split("x") if n], dtype=getattr(torch, dtype)
        )
        for key, shape, dtype in (
            line if len(line) == 3 else (line[0], "", line[1])
            for line in manifests()[name]
        )
    }
