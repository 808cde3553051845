"""The commands that generate pictures and verify checkpoints, as people type them."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.models.multimodals import (
    largest_step,
    numbered_words,
    small_generator,
    small_model,
)
from unfussy._batching.sinks.lock import lock
from unfussy.cli.app import app
from unfussy.cli.seeds import read_seeds
from unfussy.errors import InputValueError
from unfussy.models.multimodal import MultimodalGenerator
from unfussy.models.multimodal.model import MultimodalModel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder as a training leaves it."""
    folder = tmp_path_factory.mktemp("trained")
    torch.save(small_model().state_dict(), folder / "best.pt")
    numbered_words().save(folder / "tokenizer.json")
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """Work in a folder that has ``checkpoints``."""
    shutil.copytree(trained, tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run():
    def invoke(*arguments, **options):
        return CliRunner().invoke(app, [*map(str, arguments)], **options)

    return invoke


@pytest.fixture
def decoded(monkeypatch):
    """Note how many pictures are decoded at a time; stop when told to."""
    decode, noted = MultimodalModel.decode_image, SimpleNamespace(calls=[], most=99)

    def decode_and_note(self, z):
        if len(noted.calls) == noted.most:
            raise KeyboardInterrupt
        noted.calls.append(len(z))
        return decode(self, z)

    monkeypatch.setattr(MultimodalModel, "decode_image", decode_and_note)
    return noted


def listed(folder):
    return json.loads((folder / "metadata.json").read_text())


# --- one ---------------------------------------------------------------------------


def test_a_seed_becomes_a_picture_and_its_caption_is_printed(run, here):
    image, caption = small_generator().generate(3)

    done = run("generate", "--seed", 3, "--out", "third.png")

    assert done.exit_code == 0, done.output
    assert done.stdout == f"third.png: {caption}\n"
    with Image.open("third.png") as picture:
        assert largest_step(picture, image) == 0
        assert picture.info["Description"] == caption
        facts = json.loads(picture.info["unfussy"])
    assert facts["sample"]["seed"] == 3


def test_settings_reach_the_generator(run, here):
    options = {"temperature": 0.0, "output_size": (16, 8), "precision": "bf16"}
    image, caption = small_generator(**options).generate(3)
    files = ["--checkpoint", "checkpoints/best.pt"]
    files += ["--tokenizer", "checkpoints/tokenizer.json", "--device", "cpu"]

    done = run(
        *("generate", "--seed", 3, "--out", "x.png", *files, "--temperature", 0),
        *("--output-size", "16x8", "--precision", "bf16", "--batch-size", 2),
    )

    assert done.stdout == f"x.png: {caption}\n"
    assert largest_step(Image.open("x.png"), image) == 0


def test_without_weights_a_trial_is_offered_and_said_to_be_one(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        MultimodalGenerator, "from_config", lambda **options: small_generator(**options)
    )

    refused = run("generate", "--seed", 1, "--out", "x.png")
    tried = run("generate", "--seed", 1, "--out", "x.png", "--trial")

    assert refused.exit_code == 1
    assert "there is no checkpoints/best.pt here" in refused.stderr.replace("\\", "/")
    assert "--trial" in refused.stderr
    assert tried.exit_code == 0
    assert "No checkpoint: random weights from seed 0." in tried.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--out x.png", "say what to make"),
        ("--seed 1 --seeds 0:3 --out x.png", "say what to make"),
        ("--seed 1", "say where the result goes: --out FILE.png"),
        ("--seeds 0:3", "say where the result goes: --out FOLDER"),
        ("--seed 1 --out x.tga", "one picture goes to a .png"),
        ("--seed 1 --out no/x.png", "there is no folder"),
        ("--seeds 0:3 --out x.png", "--out is a folder"),
        ("--seed -1 --out x.png", "a seed is from 0 to 4294967295"),
        ("--seeds 0:x --out x", "--seeds is like 0:100"),
        ("--seeds 0:3 --out x --output-size big", "--output-size is like 256"),
        ("--seed 1 --out x.png --trial --checkpoint y", "--trial has weights"),
        ("--seed 1 --out x.png --checkpoint no.pt", "there is no"),
        ("--seed 1 --out x.png --tokenizer no.json", "there is no tokenizer no.json"),
        ("--seed 1 --out x.png --temperature -1", "temperature is 0"),
        ("--seeds 0:3 --out checkpoints/best", "Not a directory"),
    ],
)
def test_a_mistake_is_told_in_a_line(run, here, arguments, message):
    (here / "checkpoints" / "best").touch()

    done = run("generate", *arguments.split())

    assert done.exit_code == 1
    assert "Traceback" not in done.output
    if message != "Not a directory":  # which is in the system's words
        assert message in done.stderr
    assert not list(here.glob("x*"))


# --- many --------------------------------------------------------------------------


def test_a_range_of_seeds_becomes_a_folder_of_pictures(run, here):
    expected = small_generator(batch_size=8).generate_batch(range(5))

    done = run("generate", "--seeds", "0:5", "--out", "many")

    assert done.exit_code == 0, done.output
    assert done.stdout == "many: 5 pictures\n"
    names = [f"seed_00{seed}.png" for seed in range(5)]
    assert sorted(x.name for x in here.glob("many/*.png")) == names
    for entry, name, (image, caption, metadata) in zip(
        listed(here / "many"), names, expected, strict=True
    ):
        assert entry == metadata | {"image_path": name}
        assert list(entry)[:3] == ["seed", "caption", "image_path"]
        assert largest_step(Image.open(here / "many" / name), image) <= 1
        assert entry["caption"] == caption


def test_what_is_there_is_not_made_again(run, here, decoded):
    run("generate", "--seeds", "0:4", "--out", "many")
    calls = list(decoded.calls)

    again = run("generate", "--seeds", "0:4", "--out", "many")
    more = run("generate", "--seeds", "2:6,0", "--out", "many")

    assert again.stdout == "many: 4 pictures, 4 of them made before\n"
    assert more.stdout == "many: 5 pictures, 3 of them made before\n"
    assert decoded.calls == [*calls, 2]
    assert [entry["seed"] for entry in listed(here / "many")] == list(range(6))


def test_an_interrupted_command_keeps_what_is_finished_and_goes_on(run, here, decoded):
    arguments = ["generate", "--seeds", "0:9", "--out", "many", "--batch-size", 2]
    decoded.most = 3

    stopped = run(*arguments)
    entries = listed(here / "many")
    decoded.most = 99
    done = run(*arguments)

    assert stopped.exit_code != 0
    assert "the same command goes on there" in stopped.stderr
    assert [entry["seed"] for entry in entries] == [0, 1, 2, 3, 4, 5]
    assert done.stdout == "many: 9 pictures, 6 of them made before\n"
    assert [entry["seed"] for entry in listed(here / "many")] == list(range(9))


def test_other_settings_are_refused_until_it_is_restarted(run, here):
    run("generate", "--seeds", "0:3", "--out", "many")
    other = ["generate", "--seeds", "0:2", "--out", "many", "--temperature", 0]

    refused = run(*other)
    done = run(*other, "--restart")

    assert refused.exit_code == 1
    assert "which had other temperature (0.7, and now 0.0)" in refused.stderr
    assert "--restart" in refused.stderr
    assert done.exit_code == 0
    assert [entry["temperature"] for entry in listed(here / "many")] == [0, 0]
    assert not (here / "many" / "seed_002.png").exists()


def test_a_picture_of_other_settings_in_the_folder_is_not_taken_for_ours(run, here):
    run("generate", "--seeds", "0:2", "--out", "many")
    run("generate", "--seed", 2, "--out", "many/seed_002.png", "--temperature", 0)
    assert len(listed(here / "many")) == 2

    done = run("generate", "--seeds", "0:3", "--out", "many")

    assert done.stdout == "many: 3 pictures, 2 of them made before\n"
    assert [entry["temperature"] for entry in listed(here / "many")] == [0.7] * 3


@pytest.mark.parametrize("name", ["metadata.json", "seed_000.png"])
def test_a_folder_of_unknown_origin_is_refused(run, here, name):
    (here / "many").mkdir()
    content = b'[{"seed": 0, "caption": "a", "image_path": "seed_000.png"}]'
    (here / "many" / name).write_bytes(content)
    arguments = ["generate", "--seeds", "0:2", "--out", "many"]

    refused = run(*arguments)
    done = run(*arguments, "--restart")

    assert refused.exit_code == 1
    assert "nobody knows how they were made" in refused.stderr
    assert "--restart" in refused.stderr
    assert done.stdout == "many: 2 pictures\n"


def test_a_folder_that_another_process_writes_is_refused(run, here):
    (here / "many").mkdir()
    held = lock(here / "many" / "metadata.json")

    refused = run("generate", "--seeds", "0:2", "--out", "many")

    assert refused.exit_code == 1
    assert "is writing" in refused.stderr
    held.release()


def test_seeds_are_read_as_they_are_typed():
    assert [*read_seeds("0:3, 42,10:20:5")] == [0, 1, 2, 42, 10, 15]
    assert len(read_seeds("0:4294967296")) == 2**32
    for text in ("", "5:1", "0:4:0", "a", "1.5", "-2:3", "0:4294967297"):
        with pytest.raises(InputValueError, match="seed"):
            read_seeds(text)


# --- a conversation ----------------------------------------------------------------


def test_a_conversation_goes_on_after_mistakes(run, here):
    captions = [small_generator().generate(seed)[1] for seed in (5, 7)]
    typed = "5\nn\nfive\n-3\n7\n\nquit\n"

    done = run("generate", "--interactive", "--out", "kept", input=typed)

    assert done.exit_code == 0, done.output
    assert all(caption in done.stdout for caption in captions)
    assert "'five' is none" in done.stderr
    assert "a seed is from 0 to 4294967295 (2**32 - 1), got -3" in done.stderr
    assert [file.name for file in here.glob("kept/*")] == ["seed_007.png"]


@pytest.mark.parametrize("typed", ["q\n", "exit\n", "QUIT\n", "", "5\n", "5\nq\nq\n"])
def test_a_conversation_can_be_ended_at_any_question(run, here, typed):
    done = run("generate", "-i", input=typed)

    assert done.exit_code == 0, done.output
    assert not list(here.glob("*.png"))


# --- verify ------------------------------------------------------------------------


def test_good_checkpoints_are_verified(run, here):
    done = run("verify", "--save", "test.png", "--device", "cpu")

    assert done.exit_code == 0, done.output
    assert "ok    generation   seed 42, 32 x 32" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("checkpoints: ")
    assert np.asarray(Image.open("test.png")).shape == (32, 32, 3)


def test_bad_checkpoints_give_a_report_and_status_1(run, here):
    (here / "checkpoints" / "best.pt").write_bytes(b"no weights")

    done = run("verify", "checkpoints", "--json")

    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["is_ok"] is False
    failed = [each for each in report["checks"] if each["status"] == "fail"]
    assert [each["name"] for each in failed] == ["weights"]
    assert "best.pt cannot be read" in failed[0]["detail"]
