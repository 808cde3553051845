"""Captioned pictures of a folder as a data set."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.models.multimodals import small_generator
from unfussy.errors import InputValueError
from unfussy.models.multimodal import EngravingDataset, collate, generate_to


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 20 pictures, each of its own grey, and their list."""
    entries = []
    for i in range(20):
        name = f"{i:02}.png"
        Image.new("RGB", (8, 6), (i, 2 * i, 255)).save(tmp_path / name)
        entries.append({"id": 100 + i, "filename": name, "caption": f"grey number {i}"})
    write(tmp_path, entries)
    return tmp_path


def write(folder, entries):
    (folder / "metadata.json").write_text(json.dumps(entries))


def read(folder):
    return json.loads((folder / "metadata.json").read_text())


def dataset(folder, **settings):
    return EngravingDataset(folder / "metadata.json", folder, **settings)


def test_an_item_is_a_picture_from_0_to_1_with_its_caption(folder):
    item = dataset(folder)[0]

    number = item["id"] - 100
    assert list(item) == ["image", "caption", "filename", "id"]
    assert item["caption"] == f"grey number {number}"
    assert item["filename"] == f"{number:02}.png"
    assert (item["image"].shape, item["image"].dtype) == ((3, 6, 8), torch.float32)
    levels = (item["image"][:, 2, 3] * 255).round().tolist()
    assert levels == [number, 2 * number, 255]


def test_the_order_is_a_permutation_of_the_seed_and_nine_tenths_come_first(folder):
    state = np.random.get_state()  # noqa: NPY002 - that it is left alone
    np.random.seed(7)  # noqa: NPY002 - the official way
    order = (100 + np.random.permutation(20)).tolist()  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002

    train, val = (dataset(folder, split=part, seed=7) for part in ("train", "val"))

    assert [item["id"] for item in train] == order[:18]
    assert [item["id"] for item in val] == order[18:]
    assert np.random.get_state()[1].tolist() == state[1].tolist()  # noqa: NPY002


def test_the_share_and_the_number_can_be_chosen(folder):
    whole = dataset(folder, train_ratio=0.5)

    assert len(whole) == len(dataset(folder, split="val", train_ratio=0.5)) == 10
    few = dataset(folder, train_ratio=0.5, max_samples=3)
    assert few.captions == whole.captions[:3]
    assert len(dataset(folder, train_ratio=1, split="val")) == 0


def test_a_loader_makes_batches(folder):
    loader = DataLoader(dataset(folder), batch_size=4, collate_fn=collate)

    batch = next(iter(loader))

    assert list(batch) == ["images", "captions", "filenames", "ids"]
    assert batch["images"].shape == (4, 3, 6, 8)
    assert batch["ids"].dtype == torch.int64
    names = [f"grey number {i - 100}" for i in batch["ids"].tolist()]
    assert batch["captions"] == names


def test_a_transform_gets_pictures_and_returns_pictures_or_tensors(folder):
    smaller = dataset(folder, transform=lambda picture: picture.resize((4, 4)))
    ready = dataset(folder, transform=lambda picture: torch.zeros(1, 2, 2))

    assert smaller[0]["image"].shape == (3, 4, 4)
    assert ready[0]["image"].shape == (1, 2, 2)


def test_entries_without_a_caption_are_left_out(folder):
    entries = read(folder)
    entries[3].pop("caption")
    entries[4]["caption"] = "  "
    entries[5]["caption"] = None
    write(folder, [*entries, "no entry"])

    both = [*dataset(folder), *dataset(folder, split="val")]

    assert sorted(x["id"] for x in both) == [100, 101, 102, *range(106, 120)]


def test_entries_without_a_number_have_that_of_their_place(folder):
    write(folder, [{**entry, "id": f"a{i}"} for i, entry in enumerate(read(folder))])

    ids = [item["id"] for item in dataset(folder, train_ratio=1)]

    assert sorted(ids) == list(range(20))


def test_what_was_generated_can_be_read(tmp_path):
    generate_to(tmp_path, small_generator(), range(3))

    items = list(dataset(tmp_path, train_ratio=1))

    assert sorted(item["filename"] for item in items) == [
        "seed_000.png",
        "seed_001.png",
        "seed_002.png",
    ]


# --- mistakes ----------------------------------------------------------------------


def test_missing_pictures_are_named_before_anything_is_read(folder):
    for i in range(5):
        (folder / f"{i:02}.png").unlink()

    with pytest.raises(
        FileNotFoundError, match=r"5 of 20 pictures are not in .* \.\.\."
    ):
        dataset(folder, train_ratio=1)


def test_a_list_that_is_none_is_refused(folder):
    with pytest.raises(FileNotFoundError, match="there is no list of captions"):
        EngravingDataset(folder / "no.json", folder)
    for text, message in {
        "[": "cannot be read as JSON",
        "{}": "is a list of entries, got a dict",
        "[]": "none of 0 entries",
        '[{"caption": ""}]': "none of 1 entries",
        '[{"caption": "a", "name": "b"}]': "entry 0 .* has 'caption', 'name'",
    }.items():
        (folder / "metadata.json").write_text(text)
        with pytest.raises(InputValueError, match=message):
            dataset(folder)


@pytest.mark.parametrize(
    "settings", [{"split": "test"}, {"train_ratio": 1.5}, {"max_samples": -1}]
)
def test_settings_that_make_no_sense_are_refused(folder, settings):
    with pytest.raises(InputValueError, match=next(iter(settings))):
        dataset(folder, **settings)


def test_a_damaged_picture_is_named_when_it_is_asked_for(folder):
    (folder / "00.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "01.png")
    write(folder, read(folder)[:2])

    for item in range(2):
        with pytest.raises(InputValueError, match=r"0[01].png cannot be read"):
            dataset(folder, train_ratio=1)[item]


def test_pictures_of_several_sizes_do_not_make_a_batch(folder):
    Image.new("RGB", (9, 9)).save(folder / "05.png")
    items = list(dataset(folder, train_ratio=1))

    with pytest.raises(InputValueError, match=r"05\.png .*: resize them"):
        collate(items)
