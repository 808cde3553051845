"""The detector: one picture, lists and iterators; chunks of one canvas; errors."""

import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from tests.models.detectors import (
    photo,
    save,
    small,
    small_network,
    small_weights,
    witness,
)
from unfussy import Failed, ItemsFailedWarning, configure, explain, options, stream
from unfussy.errors import CheckpointError, InputTypeError, InputValueError
from unfussy.models.img2pose import Face, Img2Pose

WIDE, TALL = photo(48, 64), photo(64, 48, seed=1)


def canvases(detector):
    """Return how many pictures of which canvas each call of the network had."""
    return [shape[:1] + shape[2:] for shape, _ in detector.network.seen]


# --- doors -------------------------------------------------------------------------


def test_a_seed_gives_weights_and_leaves_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)

    one, same = (Img2Pose.from_config(seed=3, n_proposals=7) for _ in range(2))

    assert torch.equal(torch.rand(1), expected)
    weights = one.network.state_dict()
    for key, tensor in same.network.state_dict().items():
        assert torch.equal(tensor, weights[key])
    assert one.network.rpn.n_proposals == 7


def test_a_state_dict_gives_a_detector():
    detector = Img2Pose.from_state_dict(
        {f"module.{key}": tensor for key, tensor in small_weights().items()},
        n_proposals=40,
        n_candidates=200,
        min_size=64,
        max_size=160,
        score_threshold=0.2,
    )

    assert detector.detect_faces(WIDE) == small().detect_faces(WIDE)


def test_what_is_saved_is_read_with_its_statistics(tmp_path):
    points = np.arange(68 * 3).reshape(68, 3)
    saved = small(
        pose_mean=range(6),
        pose_stddev=range(1, 7),
        reference_points=points,
        alignment_points=points[:5],
    )

    file = saved.save_pretrained(tmp_path / "detector")
    read = Img2Pose.from_pretrained(tmp_path / "detector", n_proposals=40)

    assert file == tmp_path / "detector" / "model.safetensors"
    assert read.facts.pose_mean.tolist() == [*range(6)]
    assert read.facts.pose_stddev.tolist() == [*range(1, 7)]
    assert np.array_equal(read.facts.reference_points, points)
    assert np.array_equal(read.facts.alignment_points, points[:5])
    for key, tensor in saved.network.state_dict().items():
        assert torch.equal(tensor, read.network.state_dict()[key])


def test_what_is_said_wins_over_what_is_beside_the_weights(tmp_path):
    small().save_pretrained(tmp_path)

    read = Img2Pose.from_pretrained(tmp_path, pose_mean=range(6))

    assert read.facts.pose_mean.tolist() == [*range(6)]
    assert read.facts.pose_stddev.tolist() == small().facts.pose_stddev.tolist()


def test_weights_without_statistics_are_warned_of(tmp_path):
    torch.save({"fpn_model": small_weights()}, tmp_path / "a.pth")

    with pytest.warns(UserWarning, match="no statistics of poses"):
        read = Img2Pose.from_pretrained(tmp_path / "a.pth")

    assert read.facts.pose_mean.tolist() == small().facts.pose_mean.tolist()
    Img2Pose.from_pretrained(
        tmp_path / "a.pth", pose_mean=range(6), pose_stddev=range(1, 7)
    )


def test_the_constructor_reads_weights_too(tmp_path):
    small().save_pretrained(tmp_path)

    detector = Img2Pose("cpu", 0.2, 3, tmp_path, 64, 160, depth=10)

    assert len(detector.detect_faces(WIDE)) == 3
    with pytest.raises(CheckpointError, match="is of depth 10, not of 50"):
        Img2Pose("cpu", model_path=tmp_path, depth=50)


def test_the_constructor_finds_what_the_official_package_has_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("IMG2POSE_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match="no weights: the network has random ones"):
        Img2Pose("cpu")
    (tmp_path / "models").mkdir()
    torch.save({"fpn_model": small_weights()}, tmp_path / "models" / "img2pose_v1.pth")
    for name, numbers in {"mean": range(6), "stddev": range(1, 7)}.items():
        np.save(tmp_path / "models" / f"WIDER_train_pose_{name}_v1.npy", [*numbers])

    detector = Img2Pose("cpu")

    assert detector.network.architecture.depth == 10
    assert detector.facts.pose_mean.tolist() == [*range(6)]


# --- one and several ---------------------------------------------------------------


def test_one_picture_gives_a_list_of_faces():
    faces = small().detect_faces(WIDE)

    assert faces
    assert {type(face) for face in faces} == {Face}
    confidences = [face.confidence for face in faces]
    assert confidences == sorted(confidences, reverse=True)
    json.dumps([face.to_dict() for face in faces])


def test_a_list_gives_a_list_of_lists_in_order():
    detector = witness()
    levels = [40, 200, 90, 250, 10]
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in levels]

    found = detector.detect_faces(pictures)

    sure = [faces[0].confidence for faces in found]
    assert sorted(sure) == [sure[levels.index(level)] for level in sorted(levels)]


@pytest.mark.parametrize("call", ["__call__", "detect_faces", "detect"])
def test_all_names_of_the_method_are_one(call):
    assert getattr(witness(), call)(WIDE) == witness().detect_faces(WIDE)


def test_no_pictures_have_no_faces_and_need_no_network():
    detector = witness()

    assert detector.detect_faces([]) == []
    assert list(detector.detect_faces(iter([]))) == []
    assert not detector.network.seen


def test_a_list_of_one_is_the_single_call_in_a_list():
    assert small().detect_faces([WIDE]) == [small().detect_faces(WIDE)]


def test_kinds_may_be_mixed(tmp_path):
    file = save(tmp_path / "a.png", WIDE)
    tensor = torch.from_numpy(WIDE).movedim(-1, 0)

    found = small().detect_faces([file, str(file), Image.open(file), WIDE, tensor])

    assert all(faces == found[0] for faces in found)


def test_a_tensor_of_several_pictures_is_a_batch():
    tensor = torch.from_numpy(np.stack([WIDE, WIDE[::-1]])).movedim(-1, 1)

    found = small().detect_faces(tensor / 255, value_range=(0, 1))

    assert len(found) == 2
    assert [face.box for face in found[0]] == [
        face.box for face in small().detect_faces(WIDE)
    ]


def test_settings_of_a_call_win_over_those_of_the_detector():
    detector = small()
    everything = detector.detect_faces(WIDE)

    few = detector.detect_faces([WIDE], max_faces=2)[0]
    sure = detector.detect_faces(WIDE, score_threshold=few[1].confidence)

    assert few == everything[:2]
    assert sure == everything[:2]


def test_settings_of_the_detector_can_be_changed():
    detector = small()
    detector.max_faces = 3

    assert len(detector.detect_faces(WIDE)) == 3


# --- chunks ------------------------------------------------------------------------


def test_pictures_of_one_canvas_share_a_call_of_the_network():
    detector = witness()

    detector.detect_faces([WIDE, TALL, WIDE[:47], TALL, WIDE])

    assert sorted(canvases(detector)) == [(2, 96, 64), (3, 64, 96)]


def test_a_canvas_is_no_larger_than_a_picture_needs():
    detector = witness()

    detector.detect_faces([WIDE, photo(40, 120)])

    assert [sizes for _, sizes in detector.network.seen] == [[(64, 85)], [(42, 128)]]
    assert canvases(detector) == [(1, 64, 96), (1, 64, 128)]


def test_a_shared_canvas_has_room_for_all_in_every_chunk():
    detector = witness(padding="shared")

    detector.detect_faces([WIDE, TALL, WIDE], batch_size=2)

    assert canvases(detector) == [(2, 96, 96), (1, 96, 96)]


def test_an_iterator_has_no_shared_canvas():
    with pytest.raises(InputValueError, match="padding='shared' needs all pictures"):
        witness(padding="shared").detect_faces(iter([WIDE]))


def test_how_many_run_at_once_is_the_callers_to_say():
    detector = witness()

    detector.detect_faces(5 * [WIDE], batch_size=2)

    assert canvases(detector) == [(2, 64, 96), (2, 64, 96), (1, 64, 96)]


def test_large_canvases_are_not_all_at_once():
    detector = witness(min_size=640, max_size=1400)

    detector.detect_faces(6 * [WIDE])

    assert [n for n, *_ in canvases(detector)] == [4, 2]


def test_chunks_are_told_before_a_call(tmp_path):
    detector = witness()
    files = [save(tmp_path / f"{i}.jpg", x) for i, x in enumerate((WIDE, TALL, WIDE))]

    told = explain(detector.detect_faces, files)

    assert told.batch == "3 items of images in 2 chunks, each of one group"
    assert not detector.network.seen


def test_what_does_not_fit_is_cut_and_nothing_changes():
    detector = witness()
    expected = detector.detect_faces([WIDE, TALL, WIDE, WIDE])
    detector.network.fails = True
    detector.network.seen.clear()

    found = detector.detect_faces([WIDE, TALL, WIDE, WIDE])

    assert found == expected
    assert {n for n, *_ in canvases(detector)} == {1}


def test_a_panorama_before_a_picture_changes_nothing():
    detector = small()
    alone = detector.detect_faces(WIDE)

    detector.detect_faces(photo(20, 160))

    assert detector.detect_faces(WIDE) == alone


def test_files_are_opened_when_their_turn_comes(tmp_path, monkeypatch):
    files = [save(tmp_path / f"{i}.png", WIDE) for i in range(4)]
    detector, opened = witness(), []
    read = "unfussy.models.img2pose.inputs.read_file"
    monkeypatch.setattr(read, lambda path, **_: opened.append(path) or WIDE_PIXELS)
    detect = detector.network.detect
    detector.network.detect = lambda *a, **k: (
        opened.append("network"),
        detect(*a, **k),
    )[1]

    detector.detect_faces(files, batch_size=2)

    assert opened == [*files[:2], "network", *files[2:], "network"]


WIDE_PIXELS = torch.from_numpy(WIDE)


# --- iterators ---------------------------------------------------------------------


def test_an_iterator_gives_its_faces_one_picture_after_the_other():
    pictures = [WIDE, TALL, WIDE]

    found = small().detect_faces(iter(pictures))

    assert not isinstance(found, list)
    assert list(found) == small().detect_faces(pictures)


def test_an_endless_iterator_is_not_run_to_its_end():
    def camera():
        while True:
            yield WIDE

    found = witness().detect_faces(camera())

    assert len([next(found) for _ in range(3)]) == 3
    found.close()


def test_pictures_of_an_iterator_are_let_go(monkeypatch):
    prepare = "unfussy.models.img2pose.detecting.prepare"
    monkeypatch.setattr(prepare, lambda _, size: torch.zeros(3, *size))
    living = []

    class Frame(np.ndarray):
        pass

    def camera():
        for _ in range(26):
            frame = np.zeros((2000, 2000, 3), np.uint8).view(Frame)  # 12 MB
            living.append(weakref.ref(frame))
            yield frame
            del frame

    most = 0
    for _ in witness().detect_faces(camera()):
        most = max(most, sum(each() is not None for each in living))
    assert most < 22


def test_a_stream_takes_the_method_too():
    detector = witness()

    found = list(stream(detector.detect_faces, iter([WIDE, TALL]), max_faces=1))

    assert found == detector.detect_faces([WIDE, TALL])


# --- errors ------------------------------------------------------------------------


def test_a_bad_picture_of_a_list_is_named_before_any_work(tmp_path):
    detector = witness()

    with pytest.raises(InputTypeError, match=r"^picture 2: a picture is .* NoneType"):
        detector.detect_faces([WIDE, TALL, None])
    with pytest.raises(FileNotFoundError, match=r"^picture 1: .*lost.jpg"):
        detector.detect_faces([WIDE, tmp_path / "lost.jpg"])
    assert not detector.network.seen


def test_a_picture_alone_needs_no_number():
    with pytest.raises(InputValueError, match="^an array of a picture"):
        witness().detect_faces(WIDE[..., 0])


@pytest.mark.parametrize("several", [(WIDE,), {"a": WIDE}, 3, b"x", {1}])
def test_what_is_no_list_is_refused(several):
    with pytest.raises(InputTypeError, match="several are a list"):
        witness().detect_faces(several)


def test_a_bad_picture_fails_alone_where_that_is_asked_for(tmp_path):
    (tmp_path / "text.jpg").write_text("text")
    pictures = [WIDE, None, WIDE, tmp_path / "text.jpg", WIDE / 255]

    outcome = witness().detect_faces(pictures, on_error="return")

    assert outcome.indices == (0, 2)
    assert outcome.result == witness().detect_faces([WIDE, WIDE])
    assert [failed.index for failed in outcome.failures] == [1, 3, 4]
    assert [type(each) for each in outcome] == [list, Failed, list, Failed, Failed]


def test_one_bad_picture_may_be_returned_as_failed():
    assert isinstance(witness().detect_faces("lost", on_error="return"), Failed)


def test_bad_pictures_may_be_skipped():
    with pytest.warns(ItemsFailedWarning, match="1 of 2 items were skipped"):
        found = witness().detect_faces([WIDE, "lost.jpg"], on_error="skip")

    assert len(found) == 1


def test_a_bad_picture_of_an_iterator_fails_alone():
    found = witness().detect_faces(iter([WIDE, "lost.jpg", TALL]), on_error="return")

    first, bad, last = found
    assert (len(first), len(last)) == (1, 1)
    assert bad.index == 1
    assert str(bad.error) == "picture 1: there is no file lost.jpg"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": "same"}, "padding is 'canvas' or 'shared', got 'same'"),
        ({"rotation": "euler"}, "rotation is 'quaternion' or 'svd', got 'euler'"),
        ({"min_size": 0}, "min_size is a number of pixels"),
        ({"max_size": 10}, "max_size no less, got 64 and 10"),
        ({"pose_mean": [1, 2]}, "pose_mean is six finite numbers"),
        ({"pose_stddev": [0, 1, 1, 1, 1, 1]}, "pose_stddev is six numbers above 0"),
        ({"reference_points": np.zeros((5, 3))}, "68 finite points"),
        ({"depth": 18}, "a network has its weights and settings"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(InputValueError, match=message):
        witness(**settings)


# --- around a call -----------------------------------------------------------------


def test_options_of_easy_methods_are_known():
    detector = small()
    expected = [face.box for face in detector.detect_faces(WIDE)]

    with options(batch_size=1):
        assert [face.box for face in detector.detect_faces([WIDE])[0]] == expected
    configured = configure(detector.detect_faces, batch_size=1)
    assert [face.box for face in configured([WIDE])[0]] == expected


def test_an_autocast_around_a_call_changes_nothing():
    expected = small().detect_faces(WIDE)

    with torch.autocast("cpu", torch.bfloat16):
        assert small().detect_faces(WIDE) == expected


def test_low_precision_is_there_on_request():
    faces = small().detect_faces(WIDE, precision="bf16")

    assert all(np.isfinite(face.pose).all() for face in faces)


def test_a_network_in_double_precision_gets_doubles():
    network = small_network()
    double = type(network)(network.architecture, n_proposals=40, n_candidates=200)
    double.load_state_dict(network.state_dict())
    detector = small()
    detector.network = double.double().eval()

    assert detector.inference_dtype is torch.float64
    found, single = detector.detect_faces(WIDE), small().detect_faces(WIDE)

    assert_close(found[0].confidence, single[0].confidence, rtol=1e-4, atol=1e-5)


def test_a_network_in_training_mode_is_switched_and_put_back():
    detector = small()
    expected = detector.detect_faces(WIDE)
    detector.network.train()
    try:
        assert detector.detect_faces(WIDE) == expected
        assert detector.network.training
    finally:
        detector.network.eval()


def test_a_detector_can_be_moved_and_tells_where_it_is():
    detector = witness().to("cpu")

    assert detector.inference_device == torch.device("cpu")
    assert detector.inference_module is detector.network


# --- crops and drawings ------------------------------------------------------------


def test_faces_are_found_and_cut_out():
    detector = small(max_faces=2)

    faces = detector.detect_and_align(WIDE, 112, return_array=True)

    assert [face["image"].shape for face in faces] == 2 * [(112, 112, 3)]
    found = detector.detect_faces(WIDE)
    assert [face["box"] for face in faces] == [face["box"] for face in found]
    alone = detector.align_faces(WIDE, found, 112, return_array=True)
    [batch] = detector.align_faces_batch([WIDE], [found], 112, return_array=True)
    for face, one, other in zip(faces, alone, batch):
        assert np.array_equal(face["image"], one)
        assert np.array_equal(face["image"], other)


def test_faces_are_drawn_on_a_copy():
    detector = small(max_faces=1)
    before = WIDE.copy()

    drawn = detector.visualize(WIDE)

    assert drawn.shape == WIDE.shape
    assert not np.array_equal(drawn, WIDE)
    assert np.array_equal(WIDE, before)
    assert np.array_equal(drawn, detector.visualize(WIDE, detector.detect_faces(WIDE)))


def test_ways_of_reading_reach_all_that_takes_pictures():
    detector = small(max_faces=1)
    blue_first = WIDE[..., ::-1]

    drawn = detector.visualize(blue_first, channels="bgr")

    assert np.array_equal(drawn, detector.visualize(WIDE))
