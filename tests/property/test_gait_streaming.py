"""Laws of fast gait models: how frames come in never matters, and numbers are right."""

import copy
import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d
from torch.testing import assert_close

from tests.models.fast_gaits import (
    NAMES,
    apart,
    form,
    frames,
    gait,
    official,
)
from unfussy.models.gait.fast.winograd import Winograd

pytestmark = pytest.mark.property

DOUBLE = {"rtol": 1e-10, "atol": 1e-12}  # a network of two channels may be all zero

names = st.sampled_from(NAMES)
lengths = st.integers(1, 12)


@functools.cache
def walk(name, length):
    return frames(gait(name), length, seed=length)


@functools.cache
def alone(name, length):
    return official(gait(name), walk(name, length))


@given(name=names, length=lengths, chunk=st.integers(1, 13), data=st.data())
def test_streamed_equals_whole_for_any_blocks(name, length, chunk, data):
    cuts = data.draw(st.lists(st.integers(0, length), max_size=4).map(sorted))
    blocks = torch.tensor_split(walk(name, length), cuts)

    found = form(gait(name)).embed_stream(blocks, chunk=chunk)

    assert apart(found, form(gait(name)).embed(walk(name, length), [length])) < 1e-6
    assert torch.equal(
        found, form(gait(name)).embed_stream([walk(name, length)], chunk=chunk)
    )


@given(name=names, mates=st.lists(lengths, min_size=1, max_size=5))
def test_a_pack_equals_the_network_on_each_sequence(name, mates):
    packed = torch.cat([walk(name, length) for length in mates])

    found = form(gait(name)).embed(packed, mates)

    assert apart(found, torch.cat([alone(name, length) for length in mates])) < 2e-6


@given(
    name=st.sampled_from(["p3d", "3d", "skeleton", "base"]),
    layers=st.tuples(*[st.integers(1, 2)] * 4),
    channels=st.tuples(*[st.integers(2, 9)] * 4),
    length=st.integers(1, 4),
)
def test_any_sizes_of_a_network_are_read_off_its_weights(
    name, layers, channels, length
):
    model = gait.__wrapped__(name, layers, channels).double()
    x = frames(model, length).double()

    assert_close(form(model).embed(x, [length]), official(model, x), **DOUBLE)


@given(
    name=st.sampled_from(["p3d", "x"]),
    data=st.data(),
    factor=st.sampled_from([0.5, -1.0, 1.25]),
)
def test_no_weight_changes_unseen(name, data, factor):
    model = copy.deepcopy(gait(name)).double()
    x = walk(name, 3).double()
    form(model)
    weights = sorted(key for key, _ in model.named_parameters())
    changed = model.get_parameter(data.draw(st.sampled_from(weights)))

    if data.draw(st.booleans()):
        changed.data.mul_(factor)
    else:
        changed.data = changed.data * factor

    assert_close(form(model).embed(x, [3]), official(model, x), **DOUBLE)


@given(
    frame_count=st.integers(0, 3),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    n_in=st.integers(1, 9),
    n_out=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_winograd_is_a_convolution(frame_count, size, n_in, n_out, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(frame_count, n_in, *size, **draw)
    weight, bias = torch.randn(n_out, n_in, 3, 3, **draw), torch.randn(n_out, **draw)
    expected = conv2d(x, weight, bias, padding=1)
    conv = Winograd.of(weight, bias, torch.float32)

    found = conv(x.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    # Where terms cancel out, what they were counts, not what is left.
    size_of_terms = conv2d(x.abs(), weight.abs(), bias.abs(), padding=1).norm()
    assert (found - expected).norm() <= 1e-6 * size_of_terms
