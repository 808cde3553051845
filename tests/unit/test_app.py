"""What the page of the generator makes and keeps, and what it says without Gradio."""

import json
import sys
from zipfile import ZipFile

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.models.multimodals import small_generator
from unfussy import app as page
from unfussy.app.made import from_one_seed, on_the_way, save, save_all
from unfussy.cli.app import app as command
from unfussy.errors import InputTypeError, InputValueError, MissingExtraError


@pytest.fixture(scope="module")
def generator():
    return small_generator()


@pytest.fixture
def no_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)


# --- without Gradio ----------------------------------------------------------------


@pytest.mark.usefixtures("no_gradio")
@pytest.mark.parametrize("make", [page.build_app, page.launch])
def test_without_gradio_the_extra_is_named(make, generator):
    with pytest.raises(MissingExtraError, match=r"gradio .*'unfussy\[app\]'"):
        make(generator)


@pytest.mark.usefixtures("no_gradio")
def test_without_gradio_the_command_names_the_extra_before_it_reads_weights():
    done = CliRunner().invoke(command, ["app", "--checkpoint", "nowhere.pt"])

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: gradio is needed here: pip install")


# --- what is made ------------------------------------------------------------------


def test_pictures_count_up_from_a_seed(generator):
    made = from_one_seed(generator, 7.0, 2.0, 0.5)

    assert [each.name for each in made] == ["seed_007.png", "seed_008.png"]
    assert [each.metadata["seed"] for each in made] == [7, 8]
    assert {each.metadata["temperature"] for each in made} == {0.5}


def test_the_way_from_seed_to_seed_has_both_ends(generator):
    made = on_the_way(generator, 7, 42, 3, 0.7)

    assert [each.name for each in made] == [
        f"from_007_to_042_{step:02d}.png" for step in range(3)
    ]
    assert [made[0].caption, made[-1].caption] == [
        generator.generate(seed)[1] for seed in (7, 42)
    ]
    assert [each.metadata["step"] for each in made] == [0, 1, 2]
    assert all(each.metadata["from"] == 7 for each in made)
    assert all(each.metadata["to"] == 42 for each in made)


@pytest.mark.parametrize(
    ("seed", "count", "error", "text"),
    [
        (None, 1, InputValueError, "type a seed: a whole number from 0 to 4294967295"),
        (-1, 1, InputValueError, "a seed is from 0 to 4294967295"),
        (0.5, 1, InputValueError, "a seed is a whole number, got 0.5"),
        ("x", 1, InputTypeError, "a seed is a whole number, got 'x'"),
        (2**32 - 2, 3, InputValueError, "end at 4294967296, but the largest seed is"),
    ],
)
def test_a_field_that_makes_no_sense_is_told(generator, seed, count, error, text):
    with pytest.raises(error) as told:
        from_one_seed(generator, seed, count, 0.7)

    assert text in str(told.value)


def test_the_largest_seed_is_made(generator):
    made = from_one_seed(generator, 2**32 - 2, 2, 0.7)

    assert [each.name for each in made] == [
        "seed_4294967294.png",
        "seed_4294967295.png",
    ]


def test_an_end_that_is_missing_is_told(generator):
    with pytest.raises(InputValueError, match="type where to end: a whole number"):
        on_the_way(generator, 7, None, 3, 0.7)


# --- what is kept ------------------------------------------------------------------


def test_a_saved_picture_carries_its_caption(generator, tmp_path):
    (made,) = from_one_seed(generator, 5, 1, 0.7)

    path = save(made, tmp_path)

    assert path == tmp_path / "seed_005.png"
    with Image.open(path) as picture:
        assert picture.text["Description"] == made.caption
        assert picture.tobytes() == made.image.tobytes()


def test_an_archive_holds_the_pictures_and_what_they_are(generator, tmp_path):
    made = from_one_seed(generator, 5, 3, 0.7)
    files = [save(each, tmp_path) for each in made]

    path = save_all(made, tmp_path)

    assert path == tmp_path / "seed_005_to_007.zip"
    with ZipFile(path) as archive:
        assert archive.namelist() == [*(file.name for file in files), "metadata.json"]
        assert archive.read("seed_006.png") == files[1].read_bytes()
        listed = json.loads(archive.read("metadata.json"))
    assert [each["caption"] for each in listed] == [each.caption for each in made]
    assert [each["image_path"] for each in listed] == [file.name for file in files]
