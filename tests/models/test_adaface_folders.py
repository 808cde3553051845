"""Features of folders: what is taken, what is skipped, what is written."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models.adafaces import faces, tiny_adaface
from tests.models.folders import SIZE, Decoder, Finder, draw, numbers
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError
from unfussy.models.adaface import Gallery, folder_files
from unfussy.models.adaface.folders import extract_features_from_folder

OUTS = ["gallery", "x.npy", "x.npz", "x.pth"]


@pytest.fixture
def photos(tmp_path):
    """Return a folder of five pictures of two people, one of nobody, one damaged."""
    folder = tmp_path / "photos"
    for number, person in enumerate(["eve", "ann", "eve", "ann", "ann"], 1):
        draw(folder / person / f"{number}.png", number)
    draw(folder / "nobody.png", 6)
    (folder / "ann" / "7.jpg").write_bytes(b"no picture")
    return folder


def test_features_are_those_of_the_model(tmp_path):
    for i, face in enumerate(faces()):
        Image.fromarray(face).save(tmp_path / f"{i}.png")
    model = tiny_adaface()

    found = extract_features_from_folder(tmp_path, model, 3)

    expected = model.easy_embed(faces(), flip=True)
    torch.testing.assert_close(found.features, expected, rtol=1e-5, atol=1e-6)


def test_result_unpacks_to_features_and_labels(photos):
    features, labels = extract_features_from_folder(photos, Decoder())

    assert numbers(features) == [2, 4, 5, 1, 3, 6]
    assert labels == ["ann", "ann", "ann", "eve", "eve", "nobody.png"]


def test_skipped_pictures_are_named_with_a_reason(photos):
    found = extract_features_from_folder(photos, Decoder())

    ((path, why),) = found.skipped.items()
    assert path == photos / "ann" / "7.jpg"
    assert why.startswith("cannot be read as a picture (cannot identify image file")
    assert str(found) == "6 faces, 3 labels, 1 pictures skipped"


def test_a_picture_that_is_not_aligned_is_told_to_be(photos):
    draw(photos / "ann" / "8.png", 8, side=SIZE + 3)

    found = extract_features_from_folder(photos, Decoder())

    assert found.skipped[photos / "ann" / "8.png"] == (
        "faces are 4 x 4 pixels, got 7 x 7; align faces first: resizing is not enough"
    )


def test_hidden_files_and_other_files_are_left_out(photos):
    (photos / "ann" / "notes.txt").write_text("no picture")
    draw(photos / ".cache" / "9.png", 9)
    (photos / "._1.png").write_bytes(b"of another system")

    found = extract_features_from_folder(photos, Decoder())

    assert sorted(numbers(found.features)) == [1, 2, 3, 4, 5, 6]
    assert len(found.skipped) == 1


def test_a_function_names_who_is_on_a_picture(photos):
    found = extract_features_from_folder(
        photos, Decoder(), label=lambda path: len(path.parent.name)
    )

    assert found.labels == [3, 3, 3, 3, 3, len(photos.name)]


def test_batches_are_full_although_pictures_are_bad(tmp_path):
    for number in range(1, 7):
        draw(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number}-bad.png").write_bytes(b"")
    model = Decoder()

    extract_features_from_folder(tmp_path, model, 3)

    assert model.sizes == [3, 3]


def test_photos_without_a_face_and_those_that_raise_are_skipped(tmp_path):
    draw(tmp_path / "1.png", 1)
    Image.new("RGB", (9, 7)).save(tmp_path / "2.png")
    Image.new("RGB", (8, 8), "white").save(tmp_path / "3.png")
    draw(tmp_path / "4.png", 4, side=9)

    found = extract_features_from_folder(tmp_path, Decoder(), aligner=Finder())

    assert numbers(found.features) == [1, 4]
    assert [*found.skipped.values()] == ["there is no face in the photo", "too bright"]


def test_features_that_are_not_finite_are_skipped(photos):
    class Broken(Decoder):
        def easy_embed(self, images, **options):
            features = super().easy_embed(images, **options)
            return torch.where(features[:, 1:2].round() == 3, torch.nan, features)

    found = extract_features_from_folder(photos, Broken())

    assert numbers(found.features) == [2, 4, 5, 1, 6]
    assert found.skipped[photos / "eve" / "3.png"] == (
        "the network gives no finite features for it"
    )


def test_asked_to_raise_it_names_the_picture(photos):
    with pytest.raises(InputValueError, match=r"ann/7\.jpg: cannot be read") as caught:
        extract_features_from_folder(photos, Decoder(), on_error="raise")

    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size is a whole number from 1, got 0"),
        ({"on_error": "ignore"}, "on_error is 'skip' or 'raise', got 'ignore'"),
        ({"out": "x.csv"}, r"features go to a folder or to \.npy, \.npz, \.pth, \.pt"),
    ],
)
def test_what_cannot_be_done_is_told(photos, arguments, words):
    with pytest.raises(InputValueError, match=words):
        extract_features_from_folder(photos, Decoder(), **arguments)


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(InputValueError, match="there are no pictures"):
        extract_features_from_folder(tmp_path, Decoder())


def test_labels_are_looked_at_before_anything_is_computed(photos):
    model = Decoder()

    with pytest.raises(InputTypeError, match="labels are strings or whole numbers"):
        extract_features_from_folder(photos, model, label=lambda path: path)

    assert model.sizes == []


def test_a_missing_pillow_is_told_and_not_taken_for_bad_pictures(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)

    with pytest.raises(MissingExtraError, match="images"):
        extract_features_from_folder(photos, Decoder())


# --- files -------------------------------------------------------------------------


def labels_in(path):
    """Return the labels that a file or folder of results holds."""
    if path.suffix == ".npz":
        return np.load(path)["labels"].tolist()
    if path.suffix == ".pth":
        return torch.load(path)["labels"]
    record = path.with_suffix(".labels.json") if path.suffix else path / "gallery.json"
    return json.loads(record.read_text())["labels"]


def _die(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("out", OUTS)
def test_what_is_there_is_not_computed_again(photos, tmp_path, out):
    first = extract_features_from_folder(photos, Decoder(), out=tmp_path / out)
    model = Decoder()

    second = extract_features_from_folder(photos, model, out=tmp_path / out)

    assert model.sizes == []
    assert torch.equal(first.features, second.features)
    assert (first.labels, first.paths) == (second.labels, second.paths)
    assert first.skipped == second.skipped


@pytest.mark.parametrize("out", OUTS)
def test_other_labels_need_no_other_features(photos, tmp_path, out):
    extract_features_from_folder(photos, Decoder(), out=tmp_path / out)
    model = Decoder()

    found = extract_features_from_folder(
        photos, model, out=tmp_path / out, label=lambda path: int(path.stem == "4")
    )

    assert model.sizes == []
    assert found.labels == [0, 1, 0, 0, 0, 0] == labels_in(tmp_path / out)
    assert numbers(found.features)[1] == 4


@pytest.mark.parametrize("out", OUTS)
def test_other_pictures_are_another_job(photos, tmp_path, out):
    extract_features_from_folder(photos, Decoder(), out=tmp_path / out)
    draw(photos / "ann" / "9.png", 9)

    with pytest.raises(InputValueError, match=r"other source.*resume=False"):
        extract_features_from_folder(photos, Decoder(), out=tmp_path / out)

    found = extract_features_from_folder(
        photos, Decoder(), out=tmp_path / out, resume=False
    )
    assert numbers(found.features) == [2, 4, 5, 9, 1, 3, 6]


def test_a_folder_of_results_is_a_gallery(photos, tmp_path):
    found = extract_features_from_folder(photos, Decoder(), out=tmp_path / "people")

    gallery = Gallery.load(tmp_path / "people")

    assert isinstance(gallery.features, np.memmap)
    assert gallery.labels.tolist() == found.labels
    assert np.array_equal(gallery.features, found.features)
    assert gallery.verify(found.features[3], "eve").item() == pytest.approx(1)


def test_a_gallery_that_was_saved_there_is_not_overwritten_unasked(photos, tmp_path):
    Gallery(np.eye(3), ["ann", "bob", "eve"]).save(tmp_path / "people")

    with pytest.raises(InputValueError, match=r"gallery\.json is there already"):
        extract_features_from_folder(photos, Decoder(), out=tmp_path / "people")

    assert len(Gallery.load(tmp_path / "people")) == 3


def test_an_array_has_its_labels_beside_it(photos, tmp_path):
    found = extract_features_from_folder(photos, Decoder(), out=tmp_path / "x.npy")

    array = np.load(tmp_path / "x.npy", mmap_mode="r")
    beside = json.loads((tmp_path / "x.labels.json").read_text())
    assert np.array_equal(array, found.features)
    assert beside["labels"] == found.labels
    assert beside["paths"][3] == "eve/1.png"
    assert [*beside["skipped"]] == ["ann/7.jpg"]


@pytest.mark.parametrize("out", ["x.npz", "x.pth"])
def test_an_archive_holds_features_and_labels_and_is_alone(photos, tmp_path, out):
    found = extract_features_from_folder(photos, Decoder(), out=tmp_path / out)

    opened = (
        np.load(tmp_path / out) if out.endswith("z") else torch.load(tmp_path / out)
    )
    assert np.array_equal(opened["features"], found.features)
    assert list(opened["labels"]) == found.labels
    assert {path.name for path in tmp_path.iterdir()} == {"photos", out}


def test_a_file_of_something_else_is_not_overwritten_unasked(photos, tmp_path):
    torch.save({"state": torch.zeros(3)}, tmp_path / "x.pth")

    with pytest.raises(InputValueError, match="holds no features of a folder"):
        extract_features_from_folder(photos, Decoder(), out=tmp_path / "x.pth")


@pytest.mark.parametrize("out", ["x.npz", "x.pth"])
def test_what_is_left_of_another_job_is_not_taken(photos, tmp_path, out, monkeypatch):
    class Doubled(Decoder):
        def easy_embed(self, images, *, flip, **options):
            return super().easy_embed(images, flip=flip, **options) * (1 + flip)

    first = extract_features_from_folder(photos, Doubled(), out=tmp_path / out)
    monkeypatch.setattr(folder_files, "_replace", _die)
    with pytest.raises(KeyboardInterrupt):
        extract_features_from_folder(
            photos, Doubled(), out=tmp_path / out, flip=False, resume=False
        )
    monkeypatch.undo()

    again = extract_features_from_folder(
        photos, Doubled(), out=tmp_path / out, label=lambda path: 7
    )

    assert torch.equal(again.features, first.features)
    assert set(again.labels) == {7}


@pytest.mark.parametrize("out", ["gallery", "x.npy"])
def test_no_labels_are_left_beside_features_of_others(
    photos, tmp_path, out, monkeypatch
):
    extract_features_from_folder(photos, Decoder(), out=tmp_path / out)
    draw(photos / "ann" / "0.png", 9)
    monkeypatch.setattr(folder_files.ArrayStore, "publish", _die)

    with pytest.raises(KeyboardInterrupt):
        extract_features_from_folder(
            photos, Decoder(), out=tmp_path / out, resume=False
        )

    with pytest.raises(FileNotFoundError):
        labels_in(tmp_path / out)


def test_progress_counts_every_picture_once(photos, tmp_path):
    counted = []

    extract_features_from_folder(
        photos, Decoder(), 2, out=tmp_path / "x.npy", progress=counted.append
    )

    assert sum(counted) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_runs_leave_what_others_finish_with_every_label_at_its_picture():
    run = [sys.executable, "-m", "tests.models.folders", "--kills", "12"]

    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves

    killed, results, exact = map(int, printed.split())
    assert killed >= 12
    assert results == exact > 0
