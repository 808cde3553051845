"""``unfussy run img2pose detect``: pictures to faces, as JSON, arrays and drawings."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from tests.models.detectors import photo, save, small
from unfussy import easy
from unfussy.cli.app import app
from unfussy.cli.plain import as_plain
from unfussy.errors import InputValueError
from unfussy.models.img2pose import Img2Pose

SETTINGS = ("min_size=64", "max_size=160", "score_threshold=0.2", "n_proposals=40")
NAMES = ["a.png", "inside/b.png", "z.png"]


@pytest.fixture
def weights(tmp_path):
    return small().save_pretrained(tmp_path / "weights").parent


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i, (name, size) in enumerate(zip(NAMES, [(48, 64), (64, 48), (48, 64)])):
        save(folder / name, photo(*size, seed=i))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def run(weights):
    def run(source, out, *others):
        config = [x for setting in SETTINGS for x in ("--config", setting)]
        words = ("run", "img2pose", "detect", source, "--out", out, "--device", "cpu")
        everything = (*words, "--checkpoint", weights, *config, *others)
        return CliRunner().invoke(app, [*map(str, everything)])

    return run


@pytest.fixture
def expected(weights, photos):
    config = dict(setting.split("=") for setting in SETTINGS)
    numbers = {key: float(value) for key, value in config.items()}
    numbers["n_proposals"] = 40
    detector = Img2Pose.from_pretrained(weights, **numbers)
    return detector.detect_faces([photos / name for name in NAMES])


def test_a_folder_gives_the_faces_of_each_picture_by_its_name(
    run, photos, expected, tmp_path
):
    done = run(photos, tmp_path / "faces.json")

    assert done.exit_code == 0, done.output
    assert "3 entries" in done.stdout
    found = json.loads((tmp_path / "faces.json").read_text())
    assert list(found) == NAMES
    assert [*found.values()] == [[face.to_dict() for face in x] for x in expected]


def test_a_single_picture_gives_its_faces(run, photos, expected, tmp_path):
    done = run(photos / NAMES[0], tmp_path / "faces.json")

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "faces.json").read_text())
    assert found == [face.to_dict() for face in expected[0]]


def test_faces_go_to_arrays_too(run, photos, expected, tmp_path):
    done = run(photos, tmp_path / "faces.npz", "--batch-size", 2)

    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "faces.npz") as arrays:
        assert arrays["names"].tolist() == NAMES
        counts = np.bincount(arrays["pictures"], minlength=3)
        assert counts.tolist() == [len(faces) for faces in expected]
        boxes = [face.box for faces in expected for face in faces]
        np.testing.assert_array_equal(arrays["boxes"], np.float32(boxes))
        assert arrays["poses"].shape == (len(boxes), 6)
        assert arrays["keypoints"].shape == (len(boxes), 5, 2)
        assert arrays["confidences"].shape == (len(boxes),)
    assert not (tmp_path / "faces.npz.rows").exists()


def test_arrays_go_to_a_folder_too(run, photos, expected, tmp_path):
    done = run(photos, tmp_path / "faces")

    assert done.exit_code == 0, done.output
    assert len(np.load(tmp_path / "faces" / "boxes.npy")) == sum(map(len, expected))


def test_pictures_without_faces_have_none(run, photos, tmp_path):
    arguments = ("--argument", "score_threshold=2")

    run(photos, tmp_path / "faces.json", *arguments)
    run(photos, tmp_path / "faces.npz", *arguments)

    found = json.loads((tmp_path / "faces.json").read_text())
    assert found == {name: [] for name in NAMES}
    with np.load(tmp_path / "faces.npz") as arrays:
        assert arrays["boxes"].shape == (0, 4)
        assert arrays["keypoints"].shape == (0, 5, 2)


def test_drawings_get_the_names_of_the_pictures(run, photos, tmp_path):
    done = run(photos, tmp_path / "faces.json", "--draw", tmp_path / "drawn")

    assert done.exit_code == 0, done.output
    assert "3 drawings" in done.stdout
    for name in NAMES:
        with Image.open(tmp_path / "drawn" / name) as drawn:
            before = np.asarray(Image.open(photos / name))
            assert np.asarray(drawn).shape == before.shape
            assert (np.asarray(drawn) != before).any()


def test_a_single_picture_is_drawn_on_too(run, photos, tmp_path):
    run(photos / NAMES[0], tmp_path / "faces.json", "--draw", tmp_path / "drawn")

    assert [x.name for x in (tmp_path / "drawn").iterdir()] == ["drawing.png"]


def test_a_bad_picture_is_named(run, photos, tmp_path):
    (photos / "bad.jpg").write_text("text")

    done = run(photos, tmp_path / "faces.json")

    assert done.exit_code == 1
    assert "picture 1: " in done.stderr
    assert "bad.jpg cannot be read as a picture" in done.stderr
    assert not (tmp_path / "faces.json").exists()


def test_a_bad_picture_may_fail_alone(run, photos, expected, tmp_path):
    (photos / "bad.jpg").write_text("text")
    arguments = ("--argument", "on_error=return", "--draw", tmp_path / "drawn")

    done = run(photos, tmp_path / "faces.json", *arguments)
    run(photos, tmp_path / "faces.npz", *arguments)

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "faces.json").read_text())
    assert "bad.jpg cannot be read" in found.pop("bad.jpg")["error"]
    assert [*found.values()] == [[face.to_dict() for face in x] for x in expected]
    assert not (tmp_path / "drawn" / "bad.jpg").exists()
    with np.load(tmp_path / "faces.npz") as arrays:
        assert arrays["names"].tolist() == ["a.png", "bad.jpg", *NAMES[1:]]
        assert 1 not in arrays["pictures"]


def test_an_empty_folder_is_told(run, tmp_path):
    (tmp_path / "empty").mkdir()

    done = run(tmp_path / "empty", tmp_path / "faces.json")

    assert done.exit_code == 1
    assert "holds no pictures" in done.stderr


# --- for any model -----------------------------------------------------------------


class Plain(nn.Linear):
    """Has nothing to draw, and results of many kinds."""

    def __init__(self):
        super().__init__(3, 2)

    @easy
    def embed(self, x):
        return {"z": self(x), "n": len(x), "nan": float("nan"), "parts": (x[:1], None)}


def run_plain(tmp_path, *others):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    words = ("run", "tests.cli.test_detect:Plain", "embed", tmp_path / "x.npy")
    words = (*words, "--out", tmp_path / "out.json", "--device", "cpu", *others)
    return CliRunner().invoke(app, [*map(str, words)])


def test_any_result_may_go_to_json(tmp_path):
    done = run_plain(tmp_path)

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.keys() == {"z", "n", "nan", "parts"}
    assert (found["n"], found["nan"], found["parts"]) == (2, None, [[[0, 0, 0]], None])


def test_what_has_no_drawings_is_told_so_before_any_work(tmp_path):
    done = run_plain(tmp_path, "--draw", tmp_path / "drawn")

    assert done.exit_code == 1
    assert "Plain has nothing to draw" in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_what_json_has_no_room_for_is_refused():
    with pytest.raises(InputValueError, match=r"no room for a Linear"):
        as_plain([nn.Linear(1, 1)])


def test_numbers_of_arrays_and_tensors_are_plain():
    assert as_plain([np.float32(0.5), np.arange(2), torch.ones(1)]) == [
        0.5,
        [0, 1],
        [1],
    ]
