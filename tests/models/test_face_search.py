"""From a photograph to a name: detect, align, embed, find her among others."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from unfussy.models.adaface import MTCNN, AdaFace, Gallery

pytestmark = pytest.mark.skipif(
    find_spec("facenet_pytorch") is None or find_spec("skimage") is None,
    reason="needs pip install --no-deps facenet-pytorch, and scikit-image for a photo",
)


def crops_of_others(photo, n):
    """Cut squares out of a photograph, none of them around the face."""
    corners = np.random.default_rng(0).integers(0, [210, 400], (n, 2))
    corners = [(y + 190, x) for y, x in corners.tolist()]
    return [photo[y : y + 112, x : x + 112].transpose(2, 0, 1) for y, x in corners]


def copies_of(face):
    """Vary the light, the sharpness and the side of a face."""
    image = face.float()
    noise = 6 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    small = torch.nn.functional.avg_pool2d(image, 2)
    blurred = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    varied = [0.8 * image, image + 25, image.flip(2), image + noise, blurred]
    return [each.clamp(0, 255).to(torch.uint8) for each in varied]


def test_an_astronaut_finds_herself_among_other_pictures():
    photo = pytest.importorskip("skimage.data").astronaut()
    face = MTCNN.from_pretrained().align(photo)
    copies = copies_of(face)
    others = [torch.from_numpy(crop.copy()) for crop in crops_of_others(photo, 20)]
    model = AdaFace.from_config("ir_18")

    def embed(faces):
        return model.easy_embed(torch.stack(faces), flip=True, channels="rgb")

    labels = ["astronaut"] * len(copies) + [f"other {i}" for i in range(len(others))]
    gallery = Gallery(embed([*copies, *others]), labels)
    query = embed([face])
    matches = gallery.search(query, k=len(copies))

    assert set(np.asarray(matches.labels).ravel().tolist()) == {"astronaut"}
