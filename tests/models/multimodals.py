"""Small multimodal models for tests, and the reference numbers of the official code."""

import functools
from pathlib import Path

import numpy as np
import torch

from tests.models.filling import filled
from unfussy.models.multimodal import (
    CaptionTokenizer,
    MultimodalGenerator,
    MultimodalModel,
)

SPECIAL = ("<PAD>", "<START>", "<END>", "<UNK>")
SEEDS = (0, 1, 42)


def small_model(**sizes):
    """Return a narrow model, whose captions end at different words."""
    sizes = {"image_size": 32, "width": 64} | sizes
    model = MultimodalModel(8, 3, 50, 20, **sizes)
    return MultimodalModel.from_state_dict(filled(model.state_dict(), gain=1.5))


@functools.cache
def smallest_model():
    return small_model(width=16, num_layers=1)


def numbered_words(count=50):
    words = [*SPECIAL, *(f"w{i}" for i in range(4, count))]
    return CaptionTokenizer({word: i for i, word in enumerate(words)})


def small_generator(model=None, **settings):
    return MultimodalGenerator(
        model=model or small_model(), tokenizer=numbered_words(), **settings
    )


@functools.cache
def official_model():
    """Return a model of official width with the weights of the reference."""
    model = MultimodalModel(32, 3, 50, 20, image_size=512)
    return MultimodalModel.from_state_dict(filled(model.state_dict()))


@functools.cache
def reference():
    """Return what the official code computes with the weights of `official_model`."""
    path = Path(__file__).parent / "data" / "multimodal_small.npz"
    with np.load(path) as numbers:
        return {key: torch.from_numpy(numbers[key]) for key in numbers}


def assert_same_samples(samples, others):
    assert [s[1:] for s in samples] == [s[1:] for s in others]
    for (image, *_), (other, *_) in zip(samples, others, strict=True):
        assert largest_step(image, other) <= 1


def largest_step(image, other):
    both = (np.asarray(x).astype(int) for x in (image, other))
    return int(abs(np.subtract(*both)).max())
