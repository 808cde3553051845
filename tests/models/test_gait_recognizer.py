"""`GaitRecognizer`: walks of any form, bad ones told apart, and videos."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from tests.models.gaits import KINDS, relative, tiny, walk
from tests.models.walkers import camera
from tests.models.walkers import walk as draw
from unfussy import ItemsFailedWarning, run_to, stream
from unfussy.errors import CheckpointError, InputTypeError, InputValueError
from unfussy.models.gait import DeepGaitV2
from unfussy.models.gait.preprocessing import (
    normalize_sequence,
    normalize_silhouettes,
    skeleton_maps,
    to_model_input,
)
from unfussy.models.gait.recognizer import GaitRecognizer
from unfussy.models.gait.sequences import to_frames

CLOSE = 5e-6
NAMES = {"base": "GaitBase", "skeleton": "SkeletonGaitPP", "x": "XGait"}


def recognizer(name="base", **settings):
    kind = NAMES.get(name, "DeepGaitV2")
    return GaitRecognizer(kind, model=tiny(name), **settings)


@pytest.fixture(scope="module")
def drawn():
    return draw(0, 9)


@pytest.fixture(scope="module")
def raw(drawn):
    return camera(drawn["silhouettes"])


# --- one walk ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_ready_walks_give_what_the_model_gives(name):
    given = walk(name, 4)

    found = recognizer(name).recognize(given)

    assert_close(found, tiny(name).easy_embed(given), rtol=0, atol=0)


def test_raw_masks_are_cut_round_the_walker(raw):
    found = recognizer("p3d").recognize(raw)

    wanted = tiny("p3d").easy_embed(normalize_silhouettes(raw).frames)
    assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("form", [list, torch.from_numpy, normalize_silhouettes])
def test_frames_come_in_any_form(raw, form):
    wanted = recognizer().recognize(raw)

    assert torch.equal(recognizer().recognize(form(raw)), wanted)
    assert torch.equal(recognizer().recognize({"silhouettes": form(raw)}), wanted)


def test_frames_of_several_sizes_are_a_list(raw):
    mixed = [raw[0], raw[1][4:], raw[2]]

    found = recognizer().recognize(mixed)

    assert torch.equal(found, recognizer().recognize(normalize_silhouettes(mixed)))


def test_folders_and_files_are_read(raw, tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for i, frame in enumerate(raw):
        Image.fromarray(frame).save(folder / f"{i}.png")
    np.save(tmp_path / "walk.npy", raw)
    np.savez(tmp_path / "walk.npz", silhouettes=raw, parsing=raw // 255)
    Image.fromarray(raw[0]).save(
        tmp_path / "walk.tif",
        save_all=True,
        append_images=[Image.fromarray(x) for x in raw[1:]],
    )
    wanted = recognizer().recognize(raw)

    for place in (folder, *(tmp_path / f"walk.{x}" for x in ("npy", "npz", "tif"))):
        assert torch.equal(recognizer().recognize(place), wanted), place
        assert torch.equal(recognizer().recognize({"silhouettes": str(place)}), wanted)


def test_all_kinds_of_frames_are_cut_together(drawn, raw):
    raw = raw.copy()
    raw[3] = 0
    walks = {"silhouettes": raw, "parsing": camera(drawn["parsing"]), "name": "ann"}

    found = recognizer("x").recognize(walks)

    kept = normalize_sequence({key: walks[key] for key in ("silhouettes", "parsing")})
    assert len(kept) == 8
    assert_close(found, tiny("x").easy_embed(kept.parts), rtol=0, atol=0)
    assert torch.equal(recognizer("x").recognize(kept), found)


def test_key_points_become_skeleton_maps(drawn, raw):
    raw = raw.copy()
    raw[3] = 0
    points = drawn["keypoints"]

    found = recognizer("skeleton").recognize({"silhouettes": raw, "keypoints": points})

    maps = skeleton_maps(points)
    ready = {"silhouettes": raw, "skeleton_maps": maps.frames}
    assert torch.equal(recognizer("skeleton").recognize(ready), found)


def test_whether_frames_are_cut_can_be_said(drawn):
    ready = drawn["silhouettes"]

    as_they_are = recognizer().recognize(ready)

    cut = recognizer(cut="always").recognize(ready)
    assert torch.equal(cut, recognizer().recognize(normalize_silhouettes(ready)))
    assert not torch.equal(cut, as_they_are)
    with pytest.raises(InputValueError, match="96 x 128"):
        recognizer(cut="never").recognize(camera(ready))


def test_the_range_of_masks_can_be_said(raw):
    floats = raw / 255

    found = recognizer(value_range=(0, 1)).recognize(floats)

    assert torch.equal(found, recognizer().recognize(raw))
    with pytest.raises(InputValueError, match="value_range"):
        recognizer().recognize(floats)


def test_larger_squares_can_be_cut(raw):
    assert recognizer(size=128).recognize(raw).shape == (5, 4)


def test_a_walk_without_a_usable_frame_is_told(raw):
    with pytest.raises(InputValueError, match="none of 3 frames can be used: .*small"):
        recognizer().recognize(np.zeros_like(raw[:3]))


# --- batches -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p3d", "x"])
def test_a_batch_gives_what_its_walks_give_alone(name, drawn):
    walks = [walk(name, n) for n in (5, 1, 9, 2)]

    found = recognizer(name).recognize_batch(walks)

    alone = torch.stack([recognizer(name).recognize(x) for x in walks])
    assert relative(found, alone) < CLOSE


def test_bad_walks_are_returned_by_index_and_others_kept(raw):
    walks = [{"silhouettes": raw}, "nowhere", {"silhouettes": raw[:0]}, raw[:2], 5]

    found = recognizer().recognize_batch(walks, on_error="return")

    assert found.indices == (0, 3)
    assert [failed.index for failed in found.failures] == [1, 2, 4]
    assert_close(found.result[0], recognizer().recognize(raw))
    assert "no file or folder nowhere" in str(found.failures[0])
    assert "has no frames" in str(found.failures[1])


def test_bad_walks_are_skipped_with_a_warning(raw):
    with pytest.warns(ItemsFailedWarning, match="1 of 2 items were skipped:\nitem 0"):
        found = recognizer().recognize_batch(["nowhere", raw], on_error="skip")

    assert found.shape == (1, 5, 4)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        recognizer().recognize_batch(["nowhere", raw])


def test_where_all_walks_are_bad_there_are_no_embeddings():
    found = recognizer().recognize_batch(["nowhere", "there"], on_error="return")

    assert (found.result.shape, found.indices) == ((0, 5, 4), ())
    assert [failed.index for failed in found] == [0, 1]
    assert recognizer().recognize_batch([]).shape == (0, 5, 4)


def test_a_single_walk_is_no_batch(raw):
    with pytest.raises(InputTypeError, match="walks are a list, got a single dict"):
        recognizer().recognize_batch({"silhouettes": raw})


def test_streams_and_files_take_the_easy_method(raw, tmp_path):
    mine, walks = recognizer(), [raw, raw[:3], walk("base", 2)]
    wanted = mine.recognize_batch(walks)

    streamed = torch.stack([*stream(mine.easy_recognize, iter(walks))])
    written = run_to(tmp_path / "z.npy", mine.easy_recognize, walks)

    assert relative(streamed, wanted) < CLOSE
    assert relative(np.load(written.path), wanted) < CLOSE
    with pytest.raises(InputValueError, match="normalize=True"):
        run_to(tmp_path / "z.npy", recognizer(normalize=True).easy_recognize, walks)


# --- videos --------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_ready_frames_one_by_one_give_the_same(name):
    given = walk(name, 11)
    frames = zip(*given.values()) if isinstance(given, dict) else ((x,) for x in given)
    kinds = tiny(name).kinds

    found = recognizer(name).recognize_video(dict(zip(kinds, x)) for x in frames)

    assert relative(found[None], recognizer(name).recognize(given)[None]) < CLOSE


@pytest.mark.parametrize("as_tensor", [False, True])
def test_raw_frames_one_by_one_give_the_same(raw, as_tensor):
    raw = raw.copy()
    raw[4] = 0
    frames = iter(torch.from_numpy(raw)) if as_tensor else iter(raw)

    found = recognizer("p3d").recognize_video(frames)

    assert relative(found[None], recognizer("p3d").recognize(raw)[None]) < CLOSE


def test_raw_frames_of_several_kinds_are_dropped_together(drawn, raw):
    raw = raw.copy()
    raw[4] = 0
    labels = camera(drawn["parsing"])
    frames = ({"silhouettes": x, "parsing": y} for x, y in zip(raw, labels))

    found = recognizer("x").recognize_video(frames)

    whole = recognizer("x").recognize({"silhouettes": raw, "parsing": labels})
    assert relative(found[None], whole[None]) < CLOSE


def test_frames_are_taken_as_they_come(raw):
    seen = []

    def camera_of(n):
        for i in range(n):
            seen.append(i)
            yield raw[i % 9]

    recognizer().recognize_video(camera_of(40))

    assert seen == [*range(40)]


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("base", [], "there is no frame that can be used"),
        ("base", np.zeros((3, 96, 128), np.uint8), "there is no frame that can be"),
        ("base", [np.ones((64, 64), bool), np.ones((64, 44), bool)], "have one size"),
        ("x", np.zeros((3, 64, 64), np.uint8), "a mapping with parsing and silhou"),
        ("x", [{"parsing": np.zeros((64, 64))}], "lacks 'silhouettes' and has 'pars"),
    ],
)
def test_frames_that_cannot_be_used_are_told(name, frames, message):
    with pytest.raises((InputTypeError, InputValueError), match=message):
        recognizer(name).recognize_video(frames)


# --- weights -------------------------------------------------------------------------


def test_without_weights_it_says_so_loudly():
    settings = {"layers": (1, 1, 1, 1), "channels": (4, 4, 4, 4), "class_num": None}

    with pytest.warns(UserWarning, match="DeepGaitV2 has random weights from seed 3"):
        found = GaitRecognizer(seed=3, device="cpu", **settings)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = GaitRecognizer.from_config(seed=3, **settings)
    given = walk("base", 2)
    assert torch.equal(found.recognize(given), same.recognize(given))


def test_weights_are_loaded_and_have_to_be_of_the_model(tmp_path):
    file = tiny("base").save_pretrained(tmp_path / "model.safetensors")
    given = walk("base", 2)
    wanted = tiny("base").easy_embed(given)

    for found in (
        GaitRecognizer("GaitBase", checkpoint=file, device="cpu"),
        GaitRecognizer.from_pretrained(file, "GaitBase"),
    ):
        assert torch.equal(found.recognize(given), wanted)
    with pytest.raises(CheckpointError, match="holds weights of GaitBase, not of Deep"):
        GaitRecognizer(checkpoint=file)


def test_what_contradicts_itself_is_refused():
    with pytest.raises(InputValueError, match="write model=, or checkpoint="):
        GaitRecognizer(model=tiny("p3d"), checkpoint="weights.pt")
    with pytest.raises(InputValueError, match="'GaitBase', but the model is a DeepG"):
        GaitRecognizer("GaitBase", model=tiny("p3d"))
    with pytest.raises(InputValueError, match="model_type is one of DeepGaitV2, "):
        GaitRecognizer("Gate")
    with pytest.raises(InputValueError, match="cut is 'auto', 'always' or 'never'"):
        recognizer(cut=True)


def test_it_follows_its_model_to_another_device():
    model = DeepGaitV2.from_config(
        layers=(1, 1, 1, 1), channels=(4, 4, 4, 4), class_num=None
    )
    mine = GaitRecognizer(model=model, device="cpu")

    assert mine.to("cpu") is mine
    assert mine.inference_module is mine.model is model


# --- two ways to the network ---------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "maps", "skeleton", "x"])
def test_both_ways_to_model_input_agree_bit_for_bit(name):
    given, model = walk(name, 3), tiny(name)
    kind = "SkeletonGait" if name == "maps" else type(model).__name__

    made = to_model_input(given, kind)

    wanted = to_frames(given, model.kinds, model.in_channels, torch.float32)
    parts = made if isinstance(made, tuple) else (made,)
    planes = [x if x.ndim == 4 else x.unsqueeze(1) for x in parts]
    assert torch.equal(torch.cat(planes, 1), wanted)
