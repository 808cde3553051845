"""Networks for tests, their weights filled from their keys, and reference numbers."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from tests.models.filling import filled
from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.transform import (
    canvas_of,
    on_canvas,
    prepare,
    resized_size,
)

DATA = Path(__file__).parent / "data"
TINY = Architecture((1, 1, 1, 1), stem=8, channels=16, hidden=32)
NARROW = Architecture((1, 2, 1, 1), bottleneck=True, stem=8, channels=8, hidden=16)

# What weights are multiplied by, so that maps and scores are as varied as trained ones.
SCALES = {
    "backbone.fpn.layer_blocks.0.0.weight": 0.2,
    "backbone.fpn.layer_blocks.1.0.weight": 0.35,
    "backbone.fpn.layer_blocks.3.0.weight": 2.5,
    "rpn.head.bbox_pred.weight": 0.08,
    "rpn.head.bbox_pred.bias": 0.5,
    "roi_heads.class_predictor.cls_score.weight": 8.0,
    "roi_heads.box_predictor.dof_pred.3.weight": 3.0,
}
PICTURES = {"syn_a": (240, 320, 0), "syn_b": (200, 150, 1)}


def filled_network(architecture=TINY, **settings):
    """Return a network in eval mode, whose weights its keys tell."""
    network = Img2PoseNetwork(architecture, **settings)
    state = filled(network.state_dict())
    for key, scale in SCALES.items():
        state[key] = state[key] * scale
    network.load_state_dict(state)
    return network.eval()


@functools.cache
def tiny_network():
    return filled_network(n_candidates=200, n_proposals=40)


def picture(height, width, kind=0):
    """Return bytes ``(height, width, 3)``: blocks, a ramp and rings."""
    y, x, c = np.ogrid[:height, :width, :3]
    across, down = x // (11 + kind), y // (7 + 2 * kind)
    blocks = (across * 37 + down * 53 + c * 71 + kind * 29) % 256
    ramp = (x * 255 // (width - 1) + y * 255 // (height - 1) + c * 40) // 3 % 256
    rings = ((x - width // 2) ** 2 + (y - height // 2) ** 2) // (61 + kind) % 256
    return ((2 * blocks + ramp + rings) // 4).astype(np.uint8)


def ready(array, min_size=64, max_size=140):
    """Return a picture on its canvas, ``(1, 3, H, W)``, and its size there."""
    size = resized_size(*array.shape[:2], min_size, max_size)
    prepared = prepare(torch.from_numpy(array).movedim(-1, 0), size)
    return on_canvas([prepared], canvas_of(*size)), size


@functools.cache
def reference(name):
    """Return what the official code computes, as arrays."""
    with np.load(DATA / f"img2pose_{name}.npz") as numbers:
        return dict(numbers)


def official_keys():
    """Return facts of the official state dicts, by depth."""
    facts = json.loads((DATA / "img2pose_keys.json").read_text())
    return {int(depth): fact for depth, fact in facts.items()}


def digest(state):
    """Return a fingerprint of the keys, shapes and dtypes of *state*."""
    lines = sorted(
        f"{key} {tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
        for key, x in state.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
