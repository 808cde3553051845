"""Winograd's convolution is a convolution."""

import pytest
import torch
from torch.nn.functional import conv2d
from torch.testing import assert_close

from tests.models.fast_gaits import apart
from unfussy.models.gait.fast.winograd import Winograd


def convolution(frames, height, width, n_in, n_out, dtype=torch.float64):
    """Return frames, a convolution of them, and what it should give."""
    generator = torch.Generator().manual_seed(height)
    draw = {"generator": generator, "dtype": torch.float64}
    x = torch.rand(frames, height, width, n_in, **draw)
    weight, bias = torch.randn(n_out, n_in, 3, 3, **draw), torch.randn(n_out, **draw)
    expected = conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1)
    conv = Winograd.of(weight, bias, dtype)
    return x.to(dtype), conv, expected.permute(0, 2, 3, 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (4, 4), (5, 9), (16, 11)])
def test_any_size_of_picture_is_convolved_to_its_edges(size):
    x, conv, expected = convolution(2, *size, 3, 5)

    assert_close(conv(x), expected)


def test_many_frames_are_the_same_as_each_alone():
    x, conv, _ = convolution(7, 32, 22, 3, 2)

    found = conv(x)

    assert_close(found, torch.cat([conv(each) for each in x.split(1)]))
    assert found.is_contiguous()


def test_no_frames_give_none():
    _, conv, _ = convolution(1, 8, 8, 3, 2)

    found = conv(torch.zeros(0, 8, 8, 3, dtype=torch.float64))

    assert found.shape == (0, 8, 8, 2)


def test_single_precision_loses_little():
    x, conv, expected = convolution(1, 16, 11, 128, 8, torch.float32)

    assert apart(conv(x), expected) < 2e-6
