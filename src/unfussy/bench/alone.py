"""
One item through a family's network, as it is written without unfussy.

What a careful user writes: conversion and scaling by hand, a batch of one, float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["embed_face", "embed_walk", "encode_pose"]


def embed_walk(model: Any, walk: Any) -> Tensor:
    """Return the embedding of one sequence of gait, ``(1, D, P)``."""
    parts = walk if isinstance(walk, dict) else {model.kinds[0]: walk}
    planes = []
    for kind in model.kinds:
        frames = torch.from_numpy(parts[kind]).float()[..., 10:54]
        frames = frames if kind == "parsing" else frames / 255
        planes.append(frames if kind == "skeleton_maps" else frames.unsqueeze(1))
    if "parsing" not in model.kinds:
        planes = [torch.cat(planes, 1)]
    embedding: Tensor = model.embed(*(x[None].to(_first(model)) for x in planes))
    return embedding


def embed_face(model: Any, face: Any) -> Tensor:
    """Return the embedding of one face, ``(1, 512)``."""
    pixels = torch.from_numpy(face[..., ::-1].copy()).permute(2, 0, 1).unsqueeze(0)
    x = (pixels.float() / 255 - 0.5) / 0.5
    embedding, _ = model(x.to(_first(model)))
    return embedding  # type: ignore[no-any-return]


def encode_pose(model: Any, pose: Any) -> Tensor:
    """Return the latent of one pose, ``(1, D)``."""
    x = torch.from_numpy(pose).unsqueeze(0)
    mean: Tensor = model.encode(x.to(_first(model))).mean
    return mean


def _first(model: Any) -> Tensor:
    """Return a weight, whose device and precision inputs have to have."""
    weight: Tensor = next(model.parameters())
    return weight
