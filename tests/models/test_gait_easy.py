"""`easy_embed` of gait models: sequences as people have them, in any mixture."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.gaits import KINDS, relative, tiny, walk
from unfussy import configure, explain, stream
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.sequences import count_frames

CLOSE = 5e-6


def walks(name, *lengths):
    return [walk(name, length) for length in lengths]


def changed(sequence, **parts):
    return {**sequence, **parts}


# --- exact batches -------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_gives_what_its_sequences_give_alone_in_their_order(name):
    model, batch = tiny(name), walks(name, 5, 1, 9, 2, 5)

    found = model.easy_embed(batch)

    alone = torch.stack([model.easy_embed(sequence) for sequence in batch])
    assert found.shape == (5, 5, model.parts)
    assert relative(found, alone) < CLOSE


@pytest.mark.parametrize("name", KINDS)
def test_frames_of_all_sequences_may_run_at_once(name, monkeypatch):
    model, batch = tiny(name), walks(name, 3, 1, 4, 4)
    wanted = model.easy_embed(batch)
    monkeypatch.setattr(
        "unfussy.models.gait.easy.runs_one_by_one", lambda frames: False
    )

    assert relative(model.easy_embed(batch), wanted) < CLOSE


@pytest.mark.parametrize("batch_size", [1, 2, 3, None])
def test_chunks_of_any_size_give_the_same(batch_size):
    batch = walks("p3d", 4, 1, 7, 2, 2)

    found = tiny("p3d").easy_embed(batch, batch_size=batch_size)

    assert relative(found, tiny("p3d").easy_embed(batch)) < CLOSE


def test_pure_and_easy_agree():
    silhouettes = walk("p3d", 4)
    x = torch.from_numpy(silhouettes)[None, :, :, 10:54] / 255

    with torch.no_grad():
        wanted = tiny("p3d")(x)

    assert_close(tiny("p3d").easy_embed([silhouettes]), wanted)


# --- forms ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_one_sequence_gives_one_embedding(name):
    model, sequence = tiny(name), walk(name, 3)

    one, batch = model.easy_embed(sequence), model.easy_embed([sequence])

    assert one.shape == (5, model.parts)
    assert torch.equal(batch[0], one)


@pytest.mark.parametrize("name", KINDS)
def test_no_sequences_give_no_embeddings(name):
    assert tiny(name).easy_embed([]).shape == (0, 5, tiny(name).parts)


def test_several_sequences_may_be_one_array_or_tensor():
    array = np.stack([*walks("base", 3), walk("base", 3, seed=1)])
    wanted = tiny("base").easy_embed(list(array))

    assert torch.equal(tiny("base").easy_embed(array), wanted)
    assert torch.equal(tiny("base").easy_embed(torch.from_numpy(array)), wanted)
    assert torch.equal(tiny("base").easy_embed(array[:, :, None]), wanted)
    assert torch.equal(tiny("base").easy_embed(tuple(array)), wanted)


def test_skeleton_maps_have_two_channels():
    array = np.stack(walks("maps", 2, 2))

    assert tiny("maps").easy_embed(array).shape == (2, 5, 4)
    assert tiny("maps").easy_embed(array[0]).shape == (5, 4)
    assert tiny("maps").easy_embed({"skeleton_maps": array[0]}).shape == (5, 4)


def test_frames_of_all_channels_may_be_one_array():
    sequence = walk("skeleton", 2)
    joined = np.concatenate(
        [sequence["skeleton_maps"], sequence["silhouettes"][:, None]], 1
    )

    found = tiny("skeleton").easy_embed([joined])

    assert torch.equal(found, tiny("skeleton").easy_embed([sequence]))


def test_what_a_model_does_not_take_is_left_alone():
    extra = walk("x", 2) | {"name": "ann", "skeleton_maps": None}

    assert torch.equal(tiny("x").easy_embed(extra), tiny("x").easy_embed(walk("x", 2)))


def test_margins_are_cut_off():
    wide, narrow = walk("base", 3), walk("base", 3)[..., 10:54]
    high = walk("base", 3).repeat(2, 1).repeat(2, 2)

    found = tiny("base").easy_embed([wide, narrow, high, high[..., 20:108]])

    assert_close(found[0], found[1])
    assert torch.equal(found[2], found[3])


def test_parts_of_one_sequence_may_differ_in_their_margins():
    sequence = walk("skeleton", 2)
    cut = changed(sequence, silhouettes=sequence["silhouettes"][..., 10:54])

    assert torch.equal(
        tiny("skeleton").easy_embed(cut), tiny("skeleton").easy_embed(sequence)
    )


def test_options_are_those_of_every_easy_method():
    sequence = walk("p3d", 3)

    array = tiny("p3d").easy_embed([sequence], return_numpy=True)
    rough = tiny("p3d").easy_embed([sequence], precision="bf16")

    assert isinstance(array, np.ndarray)
    assert rough.dtype == torch.float32
    assert 0 < relative(rough, array) < 5e-2


def test_sequences_may_be_streamed():
    batch = walks("p3d", 3, 1, 2)

    found = list(stream(tiny("p3d").easy_embed, iter(batch)))

    assert relative(torch.stack(found), tiny("p3d").easy_embed(batch)) < CLOSE
    again = list(tiny("p3d").stream("embed", iter(batch)))
    assert relative(torch.stack(again), torch.stack(found)) < CLOSE


def test_a_bad_sequence_is_named_and_the_others_are_not_lost():
    batch = [*walks("x", 3, 2), {"parsing": None}, *walks("x", 1)]

    found = list(stream(tiny("x").easy_embed, batch, on_error="return"))

    assert str(found[2]).startswith("item 2: InputValueError: a sequence of this")
    wanted = tiny("x").easy_embed([batch[i] for i in (0, 1, 3)])
    assert relative(torch.stack([found[i] for i in (0, 1, 3)]), wanted) < CLOSE


def test_chunks_are_planned_by_frames():
    batch = walks("base", 3, 40, 2)

    assert [count_frames(sequence) for sequence in batch] == [3, 40, 2]
    assert count_frames(walk("x", 7)) == 7
    assert count_frames("nothing of the kind") == 1
    assert "3 items" in str(explain(tiny("base").easy_embed, batch))


def test_memory_running_out_changes_nothing(monkeypatch):
    model, batch = tiny("base"), walks("base", 3, 1, 4, 2)
    wanted, embed = model.easy_embed(batch), type(model).embed_frames
    monkeypatch.setattr(
        "unfussy.models.gait.easy.runs_one_by_one", lambda frames: False
    )

    def embed_frames(self, frames, runs):
        if len(frames) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(self, frames, runs)

    monkeypatch.setattr(type(model), "embed_frames", embed_frames)

    found = configure(model.easy_embed, batch_size=64)(batch)

    assert relative(found, wanted) < CLOSE


def test_training_mode_is_put_back():
    model = tiny("p3d")
    wanted = model.easy_embed(walk("p3d", 2))
    model.train()
    try:
        found = model.easy_embed(walk("p3d", 2))
        assert model.training
    finally:
        model.eval()

    assert torch.equal(found, wanted)
    assert not found.requires_grad
    assert not found.is_inference()


# --- values --------------------------------------------------------------------------


def test_levels_are_scaled_by_their_kind_and_never_by_their_values():
    levels = walk("base", 3)
    levels[levels == 255] = 254

    found = tiny("base").easy_embed([levels, levels.astype(np.int64), levels / 255])

    assert relative(found[1:], found[:1].expand(2, -1, -1)) < 1e-6
    half = tiny("base").easy_embed([levels // 2])
    assert relative(half, found[:1]) > 1e-2


def test_masks_may_be_boolean():
    mask = walk("base", 2) > 127

    found = tiny("base").easy_embed([mask, mask * np.uint8(255), mask.astype(float)])

    assert_close(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_labels_are_never_scaled():
    sequence = walk("x", 2)
    model = tiny("x")
    labels = sequence["parsing"]

    found = model.easy_embed([sequence, changed(sequence, parsing=labels.astype("f4"))])

    assert_close(found[0], found[1])
    few = changed(sequence, parsing=np.minimum(labels, 1))
    assert relative(model.easy_embed([few]), found[:1]) > 1e-2


# --- refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (np.zeros((2, 60, 44), np.uint8), "64 x 64 or 64 x 44 .* got 60 x 44"),
        (np.full((2, 64, 64), 255.0), "from 0 to 1, got 255; convert levels"),
        (np.ones((2, 64, 64), np.uint8), "nothing above 1; convert masks of 0 and 1"),
        (np.zeros((0, 64, 64), np.uint8), "no frames"),
        (np.zeros((64, 64), np.uint8), r"shaped \(T, H, W\), got \(64, 64\)"),
        (np.zeros((2, 3, 64, 64), np.uint8), r"got \(2, 3, 64, 64\)"),
        ({"silhouette": np.zeros((2, 64, 64))}, "lacks 'silhouettes' .* 'silhouette'"),
    ],
)
def test_unusable_sequences_are_refused(sequence, message):
    with pytest.raises(InputValueError, match=message):
        tiny("base").easy_embed([sequence])


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("parsing", np.full((2, 64, 64), 19), "labels from 0 to 11, got 19 to 19"),
        ("parsing", np.full((2, 64, 64), 0.5), "whole labels"),
        ("parsing", np.zeros((3, 64, 64)), "as many frames: 3 of parsing, 2 of silh"),
        ("parsing", np.zeros((2, 128, 88)), "one size, got parsing 128 x 88, silh"),
        ("silhouettes", None, "lacks 'silhouettes'"),
    ],
)
def test_unusable_parts_are_refused(part, value, message):
    with pytest.raises(InputValueError, match=message):
        tiny("x").easy_embed([changed(walk("x", 2), **{part: value})])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([[[0.0]]], "silhouettes are an array or a tensor, got list; stack its frames"),
        ([None], "got NoneType"),
        ([np.zeros((1, 64, 64), complex)], "real numbers, got torch.complex128"),
        (iter([]), "or a list of such, got .*unfussy.stream"),
        ("walks/", "got str"),
    ],
)
def test_other_kinds_are_refused(sequences, message):
    with pytest.raises(InputTypeError, match=message):
        tiny("base").easy_embed(sequences)


def test_xgait_does_not_guess_what_an_array_is():
    with pytest.raises(
        InputTypeError, match="mapping with 'parsing' and 'silhouettes'"
    ):
        tiny("x").easy_embed([np.zeros((2, 2, 64, 64), np.uint8)])


def test_a_single_frame_is_told_from_a_sequence():
    with pytest.raises(InputValueError, match=r"one frame is frame\[None\]"):
        tiny("base").easy_embed(np.zeros((64, 64), np.uint8))
