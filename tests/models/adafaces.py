"""Models for tests, their weights filled from their keys, and reference numbers."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from tests.models.filling import filled
from unfussy.models.adaface import AdaFace, Architecture

DATA = Path(__file__).parent / "data"
TINY = Architecture("tiny", (1, 2, 1, 1), (16, 16, 32, 32), stem=16)


def tiny_adaface(kind=AdaFace, architecture=TINY, **settings):
    """Return a model of few layers, each of its own kind."""
    model = kind(architecture, **settings)
    model.load_state_dict(filled(model.state_dict()))
    return model.eval()


def small_adaface(gain=1.0):
    return AdaFace.from_state_dict(dict(_filled_ir_18(gain)))


@functools.cache
def _filled_ir_18(gain):
    with torch.device("meta"):
        shapes = AdaFace("ir_18").state_dict()
    return filled(
        {k: torch.empty_like(x, device="cpu") for k, x in shapes.items()}, gain
    )


@functools.cache
def reference():
    """Return what the official code computes with ``ir_18``, as arrays."""
    with np.load(DATA / "adaface_ir_18.npz") as numbers:
        return dict(numbers)


def faces():
    """Return four pictures ``(4, 112, 112, 3)``, red first."""
    return reference()["faces"].copy()


def official_inputs(pictures):
    """Return pictures as the official recipe has them, in double precision."""
    scaled = ((pictures[..., ::-1] / 255.0) - 0.5) / 0.5
    return torch.tensor(np.moveaxis(scaled, -1, 1)).float()


def official_keys():
    """Return facts of the official state dicts, by architecture."""
    return json.loads((DATA / "adaface_keys.json").read_text())


def digest(state):
    """Return a fingerprint of the keys, shapes and dtypes of *state*."""
    lines = sorted(
        f"{key} {tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
        for key, x in state.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
