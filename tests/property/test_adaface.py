"""Laws of AdaFace: a face's embedding depends on that face alone, however it comes."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.models.adafaces import tiny_adaface
from unfussy.models.adaface import fuse_features_with_norm, l2_norm, to_input

pytestmark = pytest.mark.property

CLOSE = {"rtol": 1e-4, "atol": 2e-6}


@functools.cache
def model():
    return tiny_adaface()


def picture(seed):
    generator = np.random.default_rng(seed)
    size, levels = (112, 112, 3), generator.integers(1, 256)
    return generator.integers(0, levels, size, dtype=np.uint8)


@functools.cache
def alone(seed, flip):
    """Return what a face gives by itself."""
    return model().easy_embed(picture(seed), flip=flip, return_norm=True)


seeds = st.integers(0, 5)
pictures = seeds.map(picture)
vectors = st.integers(0, 99).map(
    lambda seed: torch.randn(3, 8, generator=torch.Generator().manual_seed(seed))
)


@given(chosen=st.lists(seeds, min_size=1, max_size=4), data=st.data())
def test_a_batch_equals_its_faces_one_by_one(chosen, data):
    flip, as_list = data.draw(st.booleans()), data.draw(st.booleans())
    batch_size = data.draw(st.integers(1, 5))
    batch = [picture(seed) for seed in chosen]

    found = model().easy_embed(
        batch if as_list else np.stack(batch),
        flip=flip,
        return_norm=True,
        batch_size=batch_size,
    )

    single = zip(*(alone(seed, flip) for seed in chosen))
    assert_close(found, tuple(torch.stack(part) for part in single), **CLOSE)


@given(seed=seeds)
def test_flipping_a_face_changes_nothing_where_both_views_are_fused(seed):
    mirrored = model().easy_embed(picture(seed)[:, ::-1], flip=True, return_norm=True)

    assert_close(mirrored, alone(seed, flip=True), **CLOSE)


@given(pixels=pictures)
def test_order_and_layout_are_what_is_said(pixels):
    planes = torch.from_numpy(pixels).permute(2, 0, 1)

    found = to_input(pixels)

    assert torch.equal(to_input(pixels[..., ::-1], channels="bgr"), found)
    assert torch.equal(to_input(planes, channels="rgb"), found)
    assert torch.equal(to_input(planes.flip(0), channels="bgr"), found)


@given(pixels=pictures, low=st.integers(-9, 9), width=st.integers(1, 99))
def test_ranges_are_what_is_said(pixels, low, width):
    other = pixels / 255 * width + low

    found = to_input(other, value_range=(low, low + width))

    assert_close(found, to_input(pixels), rtol=0, atol=1e-5)


@given(vectors=vectors, scale=st.floats(1e-3, 1e3))
def test_directions_do_not_depend_on_length(vectors, scale):
    unit, norm = l2_norm(vectors)

    scaled, larger = l2_norm(vectors * scale)

    assert_close(unit * norm, vectors)
    assert_close(scaled, unit)
    assert_close(larger, norm * scale)


@given(first=vectors, second=vectors, order=st.permutations(range(2)))
def test_fusing_adds_what_there_was_before_normalising(first, second, order):
    units, norms = zip(l2_norm(first), l2_norm(second))
    units, norms = torch.stack(units)[order], torch.stack(norms)[order]

    fused, norm = fuse_features_with_norm(units, norms)

    assert_close(fused * norm, first + second, rtol=1e-4, atol=1e-5)
    assert_close(norm[:, 0], (first + second).norm(dim=1))
