"""Detectors for tests: a small network, and one that makes faces up and takes notes."""

import functools

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.models.filling import filled
from unfussy.models.img2pose import Img2Pose, Img2PoseNetwork
from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.raw import RawDetections

_FACTORS = {
    "rpn.head.bbox_pred.weight": 0.2,
    "roi_heads.box_predictor.dof_pred.3.weight": 0.3,
    "roi_heads.box_predictor.dof_pred.3.bias": 0.3,
}
SMALL = Architecture((1, 1, 1, 1), stem=8, channels=16, hidden=32)


class Witness(nn.Module):
    """
    Sees one face in every picture, as sure as the picture is bright.

    Attributes:
        seen: The canvas and the sizes of each call.
        fails: Whether it runs out of memory on more than one picture.
    """

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen, self.fails = [], False

    def detect(self, images, sizes, *, threshold=0.05):
        if self.fails and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append((tuple(images.shape), list(sizes)))
        return [
            self._face(image[:, :h, :w], h, w) for image, (h, w) in zip(images, sizes)
        ]

    def _face(self, image, height, width):
        brightness = torch.sigmoid(image.mean()).reshape(1)
        box = torch.tensor([[width * 0.25, height * 0.25, width * 0.75, height * 0.75]])
        return RawDetections(box, brightness, torch.zeros(1, 6))


def witness(**settings):
    """Return a detector whose network takes notes, and which resizes to 64 pixels."""
    settings = {"min_size": 64, "max_size": 128, "score_threshold": 0, **settings}
    return Img2Pose(network=Witness().eval(), **settings)


@functools.cache
def small_network():
    network = Img2PoseNetwork(SMALL, n_proposals=40, n_candidates=200)
    network.load_state_dict(small_weights())
    return network.eval()


def small_weights():
    """Return weights that move boxes a little, and turn heads a little."""
    weights = filled(Img2PoseNetwork(SMALL).state_dict())
    for key, factor in _FACTORS.items():
        weights[key] *= factor
    return weights


def small(**settings):
    """Return a detector of few layers that sees faces everywhere."""
    settings = {"min_size": 64, "max_size": 160, "score_threshold": 0.2, **settings}
    return Img2Pose(network=small_network(), **settings)


def photo(height=48, width=64, seed=0):
    """Return squares of a few pixels, ``(H, W, 3)``, bytes."""
    squares = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return squares.repeat(8, 0).repeat(8, 1)[:height, :width].copy()


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
