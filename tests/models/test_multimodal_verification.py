"""Checkpoints looked at before anybody generates from them."""

import json
import re

import pytest
import torch
from PIL import Image

from tests.models.multimodals import numbered_words, small_model
from unfussy.models.multimodal import verification, verify


@pytest.fixture
def folder(tmp_path):
    torch.save(small_model().state_dict(), tmp_path / "best.pt")
    numbered_words(1000).save(tmp_path / "tokenizer.json")
    return tmp_path


def statuses(found):
    return {check.name: check.status for check in found.checks}


def check(found, name):
    return next(each for each in reversed(found.checks) if each.name == name)


def test_all_is_looked_at_and_a_picture_is_made(folder):
    found = verify(folder, device="cpu", save=folder / "test.png")

    assert found.is_ok
    assert list(statuses(found)) == [
        *("file", "weights", "tokenizer", "vocabulary"),
        *("torch", "numpy", "Pillow", "device", "memory", "generation"),
    ]
    assert "best.pt, 5.6 MiB" in check(found, "file").detail
    assert "latent_dim 8, 50 words, 32 x 32" in check(found, "weights").detail
    assert check(found, "tokenizer").detail == "1000 words"
    assert check(found, "torch").detail == torch.__version__
    assert "seed 42, 32 x 32" in check(found, "generation").detail
    with Image.open(folder / "test.png") as picture:
        assert picture.size == (32, 32)


def test_it_prints_well_and_goes_through_json(folder):
    found = verify(folder, device="cpu")

    lines = str(found).splitlines()
    assert lines[0].startswith("ok    file         ")
    assert re.fullmatch(rf"{folder}: \d+ ok, \d+ warn, 0 fail", lines[-1])
    assert json.loads(json.dumps(found.to_dict()))["is_ok"] is True


def test_nothing_is_written_unasked(folder):
    before = sorted(folder.iterdir())

    verify(folder)

    assert sorted(folder.iterdir()) == before


def test_few_words_and_another_number_of_them_are_warnings(folder):
    numbered_words(49).save(folder / "tokenizer.json")

    found = verify(folder)

    assert found.is_ok
    assert statuses(found)["tokenizer"] == statuses(found)["vocabulary"] == "warn"
    assert "score 50 words, the tokenizer has 49" in check(found, "vocabulary").detail
    assert "of one training" in str(found)


def test_a_missing_folder_fails(tmp_path):
    found = verify(tmp_path / "no")

    assert not found.is_ok
    assert statuses(found)["folder"] == "fail"
    assert "generation" not in statuses(found)


@pytest.mark.parametrize(
    ("name", "content", "failed", "detail"),
    [
        ("best.pt", None, "weights", "no weights in"),
        ("best.pt", b"", "weights", "is empty"),
        ("best.pt", b"<html>", "weights", "web page"),
        ("tokenizer.json", None, "tokenizer", "there is no tokenizer"),
        ("tokenizer.json", b"{", "tokenizer", "cannot be read as JSON"),
        ("tokenizer.json", b"{}", "tokenizer", "is no tokenizer"),
    ],
)
def test_a_bad_file_fails_and_no_picture_is_made(folder, name, content, failed, detail):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)

    found = verify(folder)

    fails = [each for each in found.checks if each.status == "fail"]
    assert [each.name for each in fails] == [failed]
    assert detail in fails[0].detail
    assert fails[0].hint
    assert "generation" not in statuses(found)


def test_weights_of_a_training_that_diverged_fail(folder):
    state = small_model().state_dict()
    state["image_encoder.fc.2.bias"][3] = torch.nan
    torch.save(state, folder / "best.pt")

    found = verify(folder)

    told = check(found, "weights")
    assert told.status == "fail"
    assert "1 tensors are not finite, the first is image_encoder.fc.2" in told.detail


def test_a_device_that_is_not_there_fails(folder):
    found = verify(folder, device="cuda:77")

    assert statuses(found)["device"] == "fail"
    assert "memory" not in statuses(found)


def test_too_little_memory_is_a_warning(folder, monkeypatch):
    monkeypatch.setattr(verification, "_free_memory", lambda place: 2**20)

    found = verify(folder)

    assert found.is_ok
    assert check(found, "memory").detail == "0.0 GiB free, about 0.5 needed"
    assert statuses(found)["memory"] == "warn"


def test_an_error_while_generating_is_reported(folder):
    found = verify(folder, save=folder / "no" / "x.png")

    assert statuses(found)["generation"] == "fail"
    assert check(found, "generation").detail.startswith("FileNotFoundError: ")


def test_a_package_that_is_missing_fails_with_what_brings_it(folder, monkeypatch):
    monkeypatch.setattr(verification, "_PACKAGES", {"no-such-package": "images"})

    found = verify(folder)

    assert check(found, "no-such-package").hint == "pip install 'unfussy[images]'"
