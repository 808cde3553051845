"""Sequences are embedded while their frames come in."""

import gc

import pytest
import torch

from tests.models.fast_gaits import NAMES, apart, form, frames, gait
from unfussy.errors import InputValueError

every_model = pytest.mark.parametrize("name", NAMES)


@every_model
@pytest.mark.parametrize("length", [1, 2, 3, 11])
def test_frames_pushed_one_by_one_give_what_they_give_together(name, length):
    model = gait(name, (1, 2, 2, 1))
    x = frames(model, length)
    whole = form(model).embed(x, [length])

    late, at_once = form(model).stream(), form(model).stream(chunk=1)
    for frame in x:
        late.push(frame)
        at_once.push(frame)

    assert torch.equal(late.finish(), whole)
    assert apart(at_once.finish(), whole) < 1e-6


def test_a_stream_goes_on_with_the_next_sequence():
    model = gait("p3d")
    x, y = frames(model, 5, 0), frames(model, 3, 1)
    stream = form(model).stream(chunk=2)

    stream.push(x)
    first = stream.finish()
    stream.push(y)

    assert torch.equal(first, form(model).embed_stream([x], chunk=2))
    assert torch.equal(stream.finish(), form(model).embed_stream([y], chunk=2))


def test_streams_of_one_form_do_not_see_each_other():
    model = gait("3d")
    xs = [frames(model, 7, seed) for seed in range(2)]
    streams = [form(model).stream(chunk=2) for _ in xs]

    for pair in zip(*xs):
        for stream, frame in zip(streams, pair):
            stream.push(frame)

    for stream, x in zip(streams, xs):
        assert torch.equal(stream.finish(), form(model).embed_stream(x, chunk=2))


def test_a_caller_may_use_its_frames_again():
    model = gait("p3d")
    x = frames(model, 5)
    stream, place = form(model).stream(), torch.empty_like(x[0])

    for frame in x:
        stream.push(place.copy_(frame))

    assert torch.equal(stream.finish(), form(model).embed(x, [5]))


def test_one_channel_may_be_left_out():
    model = gait("base")
    x = frames(model, 4)
    stream = form(model).stream()

    stream.push(x[0, 0])
    stream.push(x[1:, 0])

    assert torch.equal(stream.finish(), form(model).embed(x, [4]))


def test_iterators_are_embedded_as_they_go():
    model = gait("skeleton")
    x = frames(model, 9)

    found = form(model).embed_stream(block for block in x.split(4))

    assert torch.equal(found, form(model).embed(x, [9]))


def test_weights_that_change_meanwhile_do_not_disturb_a_stream():
    model = gait("base")
    x = frames(model, 3)
    stream, expected = form(model).stream(), form(model).embed(x, [3])
    stream.push(x[:2])

    state = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        with torch.no_grad():
            model.Backbone.forward_block.conv1.conv.weight.mul_(2)
        stream.push(x[2:])
        found = stream.finish()
    finally:
        model.load_state_dict(state)

    assert torch.equal(found, expected)


def alive():
    gc.collect()
    # Not isinstance: some deprecated objects warn when they are asked.
    return sum(x.numel() for x in gc.get_objects() if type(x) is torch.Tensor)


@pytest.mark.parametrize("name", ["p3d", "3d"])
def test_what_is_kept_does_not_grow(name):
    model = gait(name, (1, 2, 2, 1))
    stream = form(model).stream(chunk=4)
    x = frames(model, 40)

    stream.push(x)
    before = alive()
    for _ in range(3):
        stream.push(x)

    assert alive() == before


# --- refusals ----------------------------------------------------------------------


def test_a_sequence_without_frames_is_refused():
    stream = form(gait("base")).stream()
    stream.push(torch.zeros(0, 1, 16, 12))

    with pytest.raises(InputValueError, match="at least one frame, got none"):
        stream.finish()
    with pytest.raises(InputValueError, match="at least one frame, got none"):
        stream.finish()


@pytest.mark.parametrize("shape", [(12,), (16, 12), (1, 16, 12), (3, 1, 16, 12)])
def test_frames_of_other_channels_are_refused(shape):
    stream = form(gait("x")).stream()

    with pytest.raises(InputValueError, match=r"\(2, H, W\) or \(F, 2, H, W\), got"):
        stream.push(torch.zeros(shape))


def test_frames_of_another_size_are_refused_and_leave_a_stream_as_it_was():
    model = gait("base")
    x = frames(model, 3)
    stream = form(model).stream()
    stream.push(x)

    with pytest.raises(InputValueError, match=r"before \(16, 12\), now \(8, 12\)"):
        stream.push(torch.zeros(8, 12))

    assert torch.equal(stream.finish(), form(model).embed(x, [3]))


def test_chunks_hold_a_frame():
    with pytest.raises(InputValueError, match="chunk is at least 1, got 0"):
        form(gait("base")).stream(chunk=0)
