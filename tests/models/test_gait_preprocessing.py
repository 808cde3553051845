"""Masks and label maps become the squares, and the numbers, that gait models take."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.walkers import camera, walk
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait.preprocessing import (
    cut_sides,
    normalize_parsing,
    normalize_sequence,
    normalize_silhouettes,
    to_model_input,
)
from unfussy.models.gait.preprocessing.resizing import (
    resize_area,
    resize_bicubic,
    resize_nearest,
)

with np.load(Path(__file__).parent / "data" / "gaitpre_opencv.npz") as numbers:
    OPENCV = dict(numbers)  # what the official steps give with OpenCV 5.0

CASES = [(i, size) for i in range(7) for size in (64, 128)]
MASK = camera(walk()["silhouettes"])


def names(kind):
    return [name for name in OPENCV if name.startswith(f"{kind}_")]


# --- the same numbers --------------------------------------------------------------


@pytest.mark.parametrize("name", names("cubic"))
def test_bicubic_resizing_is_that_of_opencv(name):
    i, height, width = map(int, name.split("_")[1:])

    found = resize_bicubic(OPENCV[f"noise_{i}"], height, width)

    assert np.array_equal(found, OPENCV[name])


@pytest.mark.parametrize("name", names("nearest"))
def test_nearest_resizing_is_that_of_opencv(name):
    i, height, width = map(int, name.split("_")[1:])

    found = resize_nearest(OPENCV[f"noise_{i}"], height, width)

    assert np.array_equal(found, OPENCV[name])


@pytest.mark.parametrize("name", names("area"))
def test_area_resizing_is_that_of_opencv(name):
    square = OPENCV[f"square_{name.split('_')[1]}"]

    assert np.array_equal(resize_area(square, 64), OPENCV[name])


@pytest.mark.parametrize(("i", "size"), CASES)
def test_silhouettes_are_those_of_the_official_steps(i, size):
    found = normalize_silhouettes(OPENCV[f"mask_{i}"][None], size)

    assert np.array_equal(found.frames[0], OPENCV[f"silhouette_{i}_{size}"])


@pytest.mark.parametrize(("i", "size"), CASES)
def test_label_maps_are_those_of_the_official_steps(i, size):
    found = normalize_parsing(OPENCV[f"labels_{i}"][None], size)

    assert np.array_equal(found.frames[0], OPENCV[f"parsing_{i}_{size}"])


# --- what comes --------------------------------------------------------------------


def forms():
    floats = MASK.astype(np.float32) / 255
    return {
        "bool": (MASK > 0, None),
        "0 and 1": (MASK // 255, None),
        "long": (torch.from_numpy(MASK).long() // 255, None),
        "levels": (MASK.astype(np.int32), None),
        "tensor": (torch.from_numpy(MASK), None),
        "floats": (floats, (0, 1)),
        "bfloat16": (torch.from_numpy(floats).bfloat16(), (0, 1)),
        "float levels": (floats * 255, (0, 255)),
        "from -1 to 1": (floats * 2 - 1, (-1, 1)),
        "list": (list(MASK), None),
        "list of tensors": (list(torch.from_numpy(MASK)), None),
        "iterator": (iter(MASK > 0), None),
        "read backwards": (MASK[:, ::-1][:, ::-1], None),
    }


@pytest.mark.parametrize("name", forms())
def test_masks_in_any_form_give_the_same_squares(name):
    masks, value_range = forms()[name]

    found = normalize_silhouettes(masks, value_range=value_range)

    expected = normalize_silhouettes(MASK)
    assert found.dtype == np.uint8
    assert np.array_equal(found.frames, expected.frames)


def test_frames_may_differ_in_size():
    frames = [MASK[0], MASK[1][4:], np.pad(MASK[2], ((9, 7), (0, 0)))]

    found = normalize_silhouettes(frames)

    assert np.array_equal(found.frames, normalize_silhouettes(MASK[:3]).frames)


def test_masks_are_left_alone():
    masks = MASK.copy()

    normalize_silhouettes(masks).frames[...] = 7

    assert np.array_equal(masks, MASK)


def test_dropped_frames_are_named_with_the_reason():
    masks = MASK[:4].copy()
    masks[1] = 0
    masks[2] = 0
    masks[2, 5:8, 5:18] = 255  # 39 pixels

    found = normalize_silhouettes(masks)

    assert found.kept.tolist() == [0, 3]
    assert str(found) == (
        "2 of 4 frames kept\n"
        "frame 1: too small: its levels add up to 0, not to more than 10000\n"
        "frame 2: too small: its levels add up to 9945, not to more than 10000"
    )


def test_a_walker_in_the_first_column_has_no_centre():
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[0, :, 0] = 255

    (dropped,) = normalize_silhouettes(masks).dropped

    assert dropped.reason.startswith("no centre")


def test_a_sliver_too_thin_for_the_square_has_no_centre():
    assert len(normalize_silhouettes(np.ones((1, 300, 2), bool), 64)) == 0


@pytest.mark.parametrize("masks", [np.zeros((0, 9, 9), bool), [], iter([])])
def test_no_frames_are_no_frames(masks):
    found = normalize_silhouettes(masks, 128)

    assert found.shape == (0, 128, 128)
    assert found.dropped == ()


def test_kept_frames_are_taken_for_arrays():
    found = normalize_silhouettes(MASK)

    assert np.asarray(found) is found.frames
    assert np.array_equal(list(found), found[:])
    assert np.array(found, dtype=float).dtype == float
    assert torch.equal(
        to_model_input(found, "GaitBase"), to_model_input(found[:], "GaitBase")
    )


@pytest.mark.parametrize(
    ("masks", "said", "message"),
    [
        (MASK / 255, None, r"write value_range=\(0, 1\) or \(0, 255\)"),
        (MASK // 255 * 11, None, "got 0 to 11: labels are for normalize_parsing"),
        (MASK.astype(int) * 2, None, "got 0 to 510"),
        (-MASK.astype(int), None, "got -255 to 0"),
        (MASK, (0, 1), r"hold 0 to 255, which does not go with value_range=\(0, 1\)"),
        (MASK * np.nan, (0, 1), "hold nan to nan"),
        (MASK, 255, r"such as \(0, 1\), got 255"),
        (MASK[0], None, r"\(T, H, W\), got \(96, 128\); write x\[None\]"),
        (MASK[None], None, r"got \(1, 12, 96, 128\)$"),
        ([MASK], None, r"frame 0 is shaped \(12, 96, 128\), and not \(H, W\)"),
        (iter([MASK[0] > 0, MASK[1]]), None, "frame 1 goes from 0 to 255, frames bef"),
    ],
)
def test_masks_of_unknown_meaning_are_refused(masks, said, message):
    with pytest.raises(InputValueError, match=message):
        normalize_silhouettes(masks, value_range=said)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ("walks/", r"got str; read_frames\(\) reads files"),
        (7, "got int"),
        (np.array([["x"]]), "has to be numbers or booleans, got <U1"),
        (np.ma.array(MASK), r"masked array: write x.filled\(0\)"),
    ],
)
def test_what_is_no_masks_is_refused(masks, message):
    with pytest.raises(InputTypeError, match=message):
        normalize_silhouettes(masks)


@pytest.mark.parametrize("size", [0, -2, 63, 64.0])
def test_sides_are_even_numbers(size):
    with pytest.raises(InputValueError, match="an even number, got"):
        normalize_silhouettes(MASK, size)


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        (MASK > 0, InputTypeError, "labels, got bool"),
        (MASK / 255 + 0.5, InputValueError, "got parts of 0.5 to 1.5"),
        (MASK.astype(int) * 2, InputValueError, "from 0 to 255, got 0 to 510"),
        (MASK[0], InputValueError, r"got \(96, 128\)"),
        ([MASK], InputValueError, r"map 0 is shaped \(12, 96, 128\)"),
        ({}, InputTypeError, "got dict"),
    ],
)
def test_maps_that_are_no_labels_are_refused(maps, error, message):
    with pytest.raises(error, match=message):
        normalize_parsing(maps)


def test_labels_may_be_whole_floats():
    labels = camera(walk(clothes="dress")["parsing"])

    found = normalize_parsing(labels.astype(np.float64))

    assert np.array_equal(found.frames, normalize_parsing(labels).frames)


# --- all parts of a walk -----------------------------------------------------------


def test_parts_of_a_walk_keep_the_same_frames():
    raw = walk()
    raw["silhouettes"][2] = 0
    raw["parsing"][5] = 0

    found = normalize_sequence(raw)

    assert found.kept.tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    assert {name: part.shape for name, part in found.parts.items()} == {
        "silhouettes": (10, 64, 64),
        "parsing": (10, 64, 64),
        "skeleton_maps": (10, 2, 64, 64),
    }
    assert [str(frame)[:31] for frame in found.dropped] == [
        "frame 2: silhouettes: too small",
        "frame 5: parsing: too small: it",
    ]
    assert str(found).startswith("10 of 12 frames kept\nframe 2")
    whole = normalize_silhouettes(walk()["silhouettes"])
    assert np.array_equal(found.parts["silhouettes"], whole[found.kept])


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        ({}, InputValueError, "as many frames, got no part"),
        ({"silhouettes": MASK, "parsing": MASK[:3]}, InputValueError, "parsing 3$"),
        ({"skeleton_maps": MASK}, InputTypeError, "it is ready for the model"),
        ({"sil": MASK}, InputTypeError, "parsing and keypoints, got 'sil'$"),
    ],
)
def test_walks_with_other_parts_are_refused(raw, error, message):
    with pytest.raises(error, match=message):
        normalize_sequence(raw)


# --- what models take --------------------------------------------------------------


@functools.cache
def _parts():
    return normalize_sequence(walk(clothes="dress")).parts


def parts():
    return {name: part.copy() for name, part in _parts().items()}


def test_every_level_is_divided_as_officially():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 256).repeat(64, 1)[..., :44]
    levels = np.stack([(levels[0] + shift) for shift in range(0, 256, 40)])

    found = to_model_input(levels, "DeepGaitV2")

    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy((levels / 255.0).astype(np.float32)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((64, 64), (64, 44)),
        ((64, 44), (64, 44)),
        ((128, 128), (128, 88)),
        ((128, 88), (128, 88)),
    ],
)
@pytest.mark.parametrize("model", ["DeepGaitV2", "GaitBase"])
def test_sides_are_cut_to_what_the_model_takes(before, after, model):
    frames = np.random.default_rng(0).integers(0, 256, (3, *before), dtype=np.uint8)

    found = to_model_input({"silhouettes": frames}, model)

    assert found.shape == (3, *after)
    side = (before[1] - after[1]) // 2
    kept = torch.from_numpy(frames[..., side : side + after[1]].copy())
    assert torch.equal(found, kept / 255)


@pytest.mark.parametrize("cut", [(), ("silhouettes",), ("skeleton_maps",)])
def test_skeletons_and_silhouettes_meet_at_one_width(cut):
    given = {k: cut_sides(v) if k in cut else v for k, v in parts().items()}

    found = to_model_input(given, "SkeletonGaitPP")

    assert found.shape == (12, 3, 64, 44)
    maps, masks = parts()["skeleton_maps"], parts()["silhouettes"]
    assert torch.equal(found[:, :2] * 255, torch.from_numpy(cut_sides(maps)).float())
    assert torch.equal(found[:, 2] * 255, torch.from_numpy(cut_sides(masks)).float())
    assert torch.equal(to_model_input(given, "SkeletonGait"), found[:, :2])


def test_labels_are_never_scaled_and_masks_always():
    given = parts()
    given["silhouettes"] = np.minimum(given["silhouettes"], 254)

    labels, masks = to_model_input(given, "XGait")

    assert labels.dtype == torch.float32
    assert labels.unique().tolist() == np.unique(given["parsing"]).tolist()
    assert masks.max() == np.float32(254) / np.float32(255)


def test_booleans_and_said_floats_are_scaled_alike():
    masks = parts()["silhouettes"] > 127

    found = to_model_input(masks, "GaitBase")

    said = to_model_input(masks.astype(np.float64), "GaitBase", value_range=(0, 1))
    assert found.unique().tolist() == [0, 1]
    assert torch.equal(said, found)


def test_dark_frames_stay_dark():
    found = to_model_input(np.full((1, 64, 64), 60, np.uint8), "GaitBase")

    assert found.max() == np.float32(60) / np.float32(255)


def test_models_are_named_by_their_class_too():
    class GaitBase:
        pass

    class Mine(GaitBase):
        pass

    masks = parts()["silhouettes"]

    for model in (GaitBase, Mine, Mine()):
        assert to_model_input(masks, model).shape == (12, 64, 44)


@pytest.mark.parametrize(
    ("change", "model", "message"),
    [
        ({"silhouettes": MASK}, "GaitBase", r"got \(12, 96, 128\); normalize_silh"),
        ({"silhouettes": MASK[0]}, "GaitBase", r"shaped \(T, H, W\), got \(96, 128\)"),
        ({"parsing": MASK[:, :64, :64]}, "XGait", "from 0 to 11, got 0 to 255"),
        ({"skeleton_maps": MASK}, "SkeletonGait", r"\(T, 2, H, W\), limbs before"),
        ({"parsing": np.zeros((3, 64, 64), int)}, "XGait", r"silhouettes \(12, 64, 64"),
        ({"silhouettes": np.ones((3, 64, 64))}, "GaitBase", "write value_range"),
        ({}, "GaitSet", "model is one of DeepGaitV2, GaitBase, .*, got 'GaitSet'"),
        ({}, 7, "got 'int'"),
    ],
)
def test_inputs_of_another_form_are_refused(change, model, message):
    with pytest.raises(InputValueError, match=message):
        to_model_input(parts() | change, model)


def test_missing_parts_are_named():
    masks = parts()["silhouettes"]

    with pytest.raises(InputTypeError, match="mapping with parsing and silhouettes"):
        to_model_input(masks, "XGait")
    with pytest.raises(InputTypeError, match="takes 'parsing', and the .*'silhouettes"):
        to_model_input({"silhouettes": masks}, "XGait")


def test_numbers_of_0_and_1_are_taken_for_black_and_white():
    masks = (parts()["silhouettes"] > 127).astype(np.uint8)

    assert to_model_input(masks, "GaitBase").max() == 1
