"""Pictures into a folder, from Python: what is told, and what the files hold."""

import json

import pytest
from PIL import Image

from tests.models.multimodals import small_generator, small_model
from unfussy.errors import InputValueError
from unfussy.models.multimodal import generate_to
from unfussy.models.multimodal.folder_files import PictureFolder
from unfussy.models.multimodal.picture_files import facts_in, save_png


@pytest.fixture(scope="module")
def generator():
    return small_generator(batch_size=2)


def listed(folder):
    return json.loads((folder / "metadata.json").read_text())


def test_progress_counts_what_is_made_and_what_was_there(generator, tmp_path):
    done = []
    generate_to(tmp_path / "many", generator, range(3), progress=False)

    generate_to(tmp_path / "many", generator, [*range(5), 4], progress=done.append)

    assert sum(done) == 5


def test_a_seed_that_is_none_comes_after_the_pictures_before_it(generator, tmp_path):
    with pytest.raises(InputValueError, match="a seed is from 0"):
        generate_to(tmp_path / "many", generator, [1, 2, -1])

    assert [entry["seed"] for entry in listed(tmp_path / "many")] == [1, 2]


def test_no_seeds_give_an_empty_list(generator, tmp_path):
    told = generate_to(tmp_path / "a" / "many", generator, [])

    assert str(told) == f"{tmp_path / 'a' / 'many'}: 0 pictures"
    assert listed(tmp_path / "a" / "many") == []


def test_a_temperature_of_one_call_is_part_of_what_is_made(generator, tmp_path):
    generate_to(tmp_path, generator, [1], temperature=0.3)
    generate_to(tmp_path, small_generator(temperature=0.3), [1, 2])

    assert [entry["temperature"] for entry in listed(tmp_path)] == [0.3, 0.3]
    with pytest.raises(InputValueError, match=r"other temperature .* resume=False"):
        generate_to(tmp_path, generator, [1])


def test_other_weights_and_other_words_are_another_job(generator, tmp_path):
    generate_to(tmp_path, generator, [1])
    model = small_model()
    model.text_decoder.output_projection.bias.data[0] += 1
    words = small_generator()
    words.tokenizer.idx2word[7] = "fox"

    with pytest.raises(InputValueError, match="which had other weights"):
        generate_to(tmp_path, small_generator(model), [1])
    with pytest.raises(InputValueError, match="which had other arguments"):
        generate_to(tmp_path, words, [1])


def test_the_list_is_written_now_and_then_not_for_every_picture(tmp_path):
    now = [100.0]
    folder = PictureFolder(tmp_path, "mine", clock=lambda: now[0])

    counts = []
    for seed in range(6):
        now[0] += 0.4
        folder.add(Image.new("RGB", (4, 4)), {"seed": seed, "caption": "a"})
        counts.append(len(listed(tmp_path)))

    assert counts == [0, 0, 3, 3, 3, 6]
    folder.commit()
    assert len(listed(tmp_path)) == 6


def test_a_picture_holds_its_caption_and_its_facts(tmp_path):
    path, facts = tmp_path / "x.png", {"sample": {"seed": 3, "caption": "ein Fluß 川"}}

    save_png(path, Image.new("RGB", (4, 4), "red"), "ein Fluß 川", facts)

    assert facts_in(path) == facts
    with Image.open(path) as picture:
        assert picture.info["Description"] == "ein Fluß 川"
        assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_damaged_and_foreign_pictures_have_no_facts(tmp_path):
    path = tmp_path / "x.png"
    picture = Image.effect_noise((64, 64), 50)
    save_png(path, picture, "a", {"sample": {}})
    data = path.read_bytes()

    for cut in (0, 100, len(data) // 2, len(data) - 200):
        path.write_bytes(data[:cut])
        assert facts_in(path) == {}
    picture.save(path)
    assert facts_in(path) == {}


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_png(tmp_path / "no" / "x.png", Image.new("RGB", (4, 4)), "a", {})
    with pytest.raises(TypeError):
        save_png(tmp_path / "x.png", Image.new("RGB", (4, 4)), "a", {"x": object()})

    assert not list(tmp_path.iterdir())
