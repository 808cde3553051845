"""The commands that build and search a gallery, as people type them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.models.adafaces import tiny_adaface
from unfussy.cli import sheets
from unfussy.cli.app import app
from unfussy.cli.sheets import draw_matches
from unfussy.models.adaface import AdaFace, Gallery
from unfussy.models.adaface.mtcnn import MTCNN


class Finder:
    """Takes the middle of a photo for its face, unless it is black."""

    def to(self, device):
        return self

    def align(self, photos, *, size):
        return [self._face(photo, size) for photo in photos]

    def _face(self, photo, size):
        top, left = ((x - size) // 2 for x in photo.shape[1:])
        crop = photo[:, top : top + size, left : left + size]
        return crop if crop.any() else None


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Let the command make small networks, of any weights."""

    def from_pretrained(path):
        model = tiny_adaface()
        with torch.no_grad():
            model.input_layer[0].weight.mul_(0.5)
        return model

    monkeypatch.setattr(AdaFace, "from_config", lambda architecture: tiny_adaface())
    monkeypatch.setattr(AdaFace, "from_pretrained", from_pretrained)
    monkeypatch.setattr(MTCNN, "from_pretrained", lambda path: Finder())


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, ["gallery", *map(str, arguments)])

    return invoke


@pytest.fixture
def photos(tmp_path):
    """Return a folder of six faces of three people, and a damaged picture."""
    folder = tmp_path / "photos"
    for i in range(6):
        path = folder / f"person {i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _picture(i, 112).save(path)
    (folder / "person 0" / "bad.jpg").write_bytes(b"no picture")
    return folder


def _picture(seed, side):
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def test_a_gallery_is_built_and_searched(run, photos, tmp_path):
    query, out = photos / "person 1" / "4.png", tmp_path / "gallery"

    built = run("build", photos, "--out", out, "--batch-size", 4)
    found = run("search", query, out, "--top", 3)

    assert built.exit_code == 0, built.output
    assert built.stdout == f"{out}: 6 faces, 3 labels, 1 pictures skipped\n"
    assert "bad.jpg: cannot be read as a picture" in built.stderr
    assert found.exit_code == 0, found.output
    best, *others = found.stdout.splitlines()
    assert best == f"1.0000  person 1  {query}"
    assert len(others) == 2


def test_random_weights_are_said_to_be(run, photos, tmp_path):
    built = run("build", photos, "--out", tmp_path / "a")
    loaded = run("build", photos, "--out", tmp_path / "b", "--checkpoint", "w.ckpt")

    assert "No checkpoint: random weights. Results mean nothing." in built.stderr
    assert "No checkpoint" not in loaded.stderr


def test_a_gallery_that_is_there_is_not_built_again(run, photos, tmp_path, monkeypatch):
    first = run("build", photos, "--out", tmp_path / "gallery")
    monkeypatch.setattr(AdaFace, "embed", None)  # which nothing can call

    again = run("build", photos, "--out", tmp_path / "gallery")

    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout


def test_other_pictures_are_refused_until_it_is_restarted(run, photos, tmp_path):
    run("build", photos, "--out", tmp_path / "gallery")
    _picture(9, 112).save(photos / "person 2" / "9.png")

    refused = run("build", photos, "--out", tmp_path / "gallery")
    built = run("build", photos, "--out", tmp_path / "gallery", "--restart")

    assert refused.exit_code == 1
    assert "other source" in refused.stderr
    assert "replace it with --restart" in refused.stderr
    assert built.exit_code == 0, built.output
    assert len(Gallery.load(tmp_path / "gallery")) == 7


def test_photos_are_aligned_when_that_is_asked_for(run, photos, tmp_path):
    wide = tmp_path / "wide"
    for i in range(3):
        (wide / "ann").mkdir(parents=True, exist_ok=True)
        _picture(i, 150).save(wide / "ann" / f"{i}.png")
    Image.new("RGB", (200, 150)).save(wide / "ann" / "nobody.png")

    built = run("build", wide, "--out", tmp_path / "g", "--align", "mtcnn")
    found = run("search", wide / "ann" / "2.png", tmp_path / "g", "--top", 1)
    nobody = run("search", wide / "ann" / "nobody.png", tmp_path / "g")

    assert "3 faces, 1 labels, 1 pictures skipped" in built.stdout
    assert "nobody.png: there is no face in the photo" in built.stderr
    assert found.stdout == f"1.0000  ann  {wide / 'ann' / '2.png'}\n"
    assert nobody.exit_code == 1
    assert nobody.stderr.endswith("nobody.png: there is no face in the photo\n")


def test_a_sheet_of_matches_is_drawn(run, photos, tmp_path):
    run("build", photos, "--out", tmp_path / "g")

    found = run(
        *("search", photos / "person 1" / "4.png", tmp_path / "g"),
        *("--top", 6, "--out", tmp_path / "m.png"),
    )

    assert found.exit_code == 0, found.output
    assert "the query and 6 matches" in found.stderr
    with Image.open(tmp_path / "m.png") as sheet:
        assert sheet.size == (1152, 488)
        assert sheet.getpixel((100, 100)) == sheet.getpixel((316, 100))
        assert sheet.getpixel((1, 1)) == (255, 255, 255)


def test_a_sheet_has_a_field_for_a_picture_that_is_gone(tmp_path):
    _picture(0, 112).save(tmp_path / "query.png")

    sheet = draw_matches(
        tmp_path / "query.png", [(0.5, "a very long name " * 9, tmp_path / "gone.png")]
    )

    assert sheet.size == (416, 252)
    assert sheet.getpixel((250, 30)) == (255, 255, 255)


@pytest.mark.parametrize("fonts", [sheets._FONTS, ()])
def test_labels_fit_below_their_pictures(tmp_path, fonts, monkeypatch):
    monkeypatch.setattr(sheets, "_FONTS", fonts)
    sheets._font.cache_clear()
    _picture(0, 112).save(tmp_path / "0.png")
    match = (0.5, "Bj\u00f6rn " * 20, tmp_path / "0.png")

    sheet = draw_matches(tmp_path / "0.png", [match, match])

    sheets._font.cache_clear()
    between = sheet.crop((400, 0, 416, sheet.height))
    assert between.getcolors() == [(16 * sheet.height, (255, 255, 255))]


def test_letters_that_a_font_may_lack_are_written_without_accents():
    assert sheets._to_ascii("Bj\u00f6rn \u00deor") == "Bjorn ?or"


def test_other_weights_than_those_of_the_gallery_are_refused(run, photos, tmp_path):
    out = tmp_path / "g"
    run("build", photos, "--out", out)
    settings = json.loads((out / "build.json").read_text())
    (out / "build.json").write_text(json.dumps({**settings, "checkpoint": "w.ckpt"}))

    found = run("search", photos / "person 1" / "4.png", out)

    assert found.exit_code == 1
    assert "was built with other weights" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "nowhere", "--out", "g"], "there is no folder nowhere"),
        (["build", "{photos}", "--out", "g.npy"], "--out is a folder"),
        (["search", "nobody.png", "g"], "there is no file nobody.png"),
        (["search", "{picture}", "nowhere"], "nowhere holds no whole gallery"),
        (["search", "{picture}", "g", "--out", "m.gif"], "--out is a picture, .png"),
        (["search", "{picture}", "g", "--out", "no/m.png"], "there is no folder"),
    ],
)
def test_a_mistake_is_told_in_one_line(run, photos, arguments, words):
    names = {"photos": photos, "picture": photos / "person 0" / "0.png"}

    told = run(*(text.format(**names) for text in arguments))

    assert told.exit_code == 1
    assert "Traceback" not in told.stderr
    (line,) = [line for line in told.stderr.splitlines() if "checkpoint" not in line]
    assert line.startswith("Error: ")
    assert words in line


def test_a_gallery_of_another_origin_is_told(run, photos, tmp_path):
    Gallery(np.eye(3), ["ann", "bob", "eve"]).save(tmp_path / "g")

    found = run("search", photos / "person 0" / "0.png", tmp_path / "g")

    assert found.exit_code == 1
    assert "does not say how it was built" in found.stderr


def test_pictures_that_have_moved_are_still_found_by_name(run, photos, tmp_path):
    run("build", photos, "--out", tmp_path / "g")
    shutil.copy(photos / "person 1" / "4.png", tmp_path / "query.png")
    shutil.rmtree(photos)

    found = run(
        "search", tmp_path / "query.png", tmp_path / "g", "--out", tmp_path / "m.jpg"
    )

    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("1.0000  person 1  ")
