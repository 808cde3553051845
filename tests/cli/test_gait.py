"""``unfussy run gait``: folders of walks to embeddings with names."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.models.gaits import walk
from unfussy.cli.app import app
from unfussy.models.gait.recognizer import GaitRecognizer
from unfussy.models.gait.walk_files import WalkFiles
from unfussy.models.gait.walks import Preparation

SMALL = ("--config", "channels=(4, 4, 4, 4)", "--config", "class_num=None")
NAMES = ["ann/nm-01/090", "bob/nm-01/090", "cy"]
RECOGNIZER = "unfussy.models.gait.recognizer:GaitRecognizer"


@pytest.fixture
def walks(tmp_path):
    folder = tmp_path / "walks"
    for name, length in zip(NAMES[:2], (3, 12)):
        (folder / name).mkdir(parents=True)
        for i, frame in enumerate(walk("base", length)):
            Image.fromarray(frame).save(folder / name / f"{i}.png")
    np.save(folder / "cy.npy", walk("base", 2, seed=1))
    return folder


@pytest.fixture
def expected():
    model = GaitRecognizer.from_config(
        "GaitBase", channels=(4, 4, 4, 4), class_num=None
    )
    given = [walk("base", 3), walk("base", 12), walk("base", 2, seed=1)]
    return model.recognize_batch(given).numpy()


def run(walks, out, *others):
    arguments = ("run", RECOGNIZER, "recognize", walks, "--model", "GaitBase", *SMALL)
    words = map(str, (*arguments, "--out", out, "--device", "cpu", *others))
    return CliRunner().invoke(app, [*words])


@pytest.mark.parametrize("others", [(), ("--batch-size", 2)])
def test_walks_of_a_folder_are_embedded_and_keep_their_names(
    walks, expected, tmp_path, others
):
    out = tmp_path / "embeddings.npz"

    done = run(walks, out, *others)

    assert done.exit_code == 0, done.output
    assert "No checkpoint: random weights from seed 0" in done.stderr
    with np.load(out) as arrays:
        assert arrays["names"].tolist() == NAMES
        np.testing.assert_allclose(arrays["result"], expected, rtol=0, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "walks"]


def test_a_broken_walk_is_told_and_the_same_command_goes_on(walks, expected, tmp_path):
    (walks / "cy.npy").rename(tmp_path / "kept")
    (walks / "cy.npy").write_bytes(b"nothing")
    out = tmp_path / "embeddings.npy"

    done = run(walks, out, "--batch-size", 1)

    assert done.exit_code == 1
    assert "cy.npy cannot be read" in done.stderr
    assert "2 of 3 items are done; the same command goes on there" in done.stderr


def test_a_run_into_an_archive_goes_on_too(walks, expected, tmp_path, monkeypatch):
    out, calls, prepare = tmp_path / "embeddings.npz", [], Preparation.prepare

    def killed(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:  # one to see what comes, and two walks
            raise KeyboardInterrupt
        return prepare(self, *arguments)

    monkeypatch.setattr(Preparation, "prepare", killed)
    monkeypatch.setattr("unfussy._targets._CHUNKS", 1)  # what a kill may cost
    ended = run(walks, out, "--batch-size", 1)
    assert not out.exists()

    done = run(walks, out, "--batch-size", 1)

    assert ended.exit_code != 0
    assert done.exit_code == 0, done.output
    assert "2 of 3 items are done; the same command goes on there" in ended.stderr
    assert "goes on at item 2 of 3" in done.stderr
    assert len(calls) == 5
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["result"], expected, rtol=0, atol=1e-5)


def test_one_walk_in_a_file_is_a_batch_of_its_own(walks, expected, tmp_path):
    out = tmp_path / "embeddings.npy"

    done = run(walks / "ann", out)

    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.load(out), expected[:1], rtol=0, atol=1e-5)


def test_an_unknown_model_is_told(walks, tmp_path):
    words = ("run", RECOGNIZER, "recognize", walks, "--model", "Gate")
    done = CliRunner().invoke(app, [*map(str, words), "--out", f"{tmp_path}/z.npz"])

    assert done.exit_code == 1
    assert "model_type is one of DeepGaitV2, GaitBase" in done.stderr


def test_walks_are_known_by_names_sizes_and_times(walks):
    before = WalkFiles.below(walks)
    known = before.fingerprint
    np.save(walks / "cy.npy", walk("base", 4))

    assert WalkFiles.below(walks).fingerprint != known
    assert before[1:].names == tuple(NAMES[1:])
