"""Laws of a folder of pictures: what is finished is kept, wherever a run is broken."""

import functools
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.models.multimodals import largest_step, small_generator, smallest_model
from unfussy._batching.sinks import disk
from unfussy.errors import InputValueError
from unfussy.models.multimodal import folder_files, generate_to
from unfussy.models.multimodal.folder_files import name_of
from unfussy.models.multimodal.picture_files import save_png

pytestmark = pytest.mark.property

SOME = range(12)


@pytest.fixture(autouse=True, scope="module")
def disk_that_waits_for_nothing():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sync", "_sync_folder"):
            patch.setattr(disk, name, lambda *args, **options: None)
        yield


class Killed(BaseException):
    """Ends a run, which changes nothing on the disk any more."""


@functools.cache
def generator(batch_size=3, temperature=0.7):
    settings = {"batch_size": batch_size, "temperature": temperature}
    return small_generator(smallest_model(), max_words=4, **settings)


@functools.cache
def alone(seed):
    return generator().generate_with_metadata(seed)


def seed_lists():
    return st.lists(st.sampled_from(SOME), min_size=1, max_size=6)


def killed(run, n_changes):
    """Run until so many changes to files are done; return the pictures among them."""
    done, save, remove = [], disk.save, disk.remove

    def counted(change):
        def change_or_die(path, *rest):
            if len(done) >= n_changes:
                if change is not remove:
                    path.with_name(f"{path.name}.tmp").write_bytes(b"[{")
                raise Killed
            change(path, *rest)
            done.append(path.name)

        return change_or_die

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(disk, "save", counted(save))
        patch.setattr(disk, "remove", counted(remove))
        patch.setattr(folder_files, "save_png", counted(save_png))
        run()
    return [name for name in done if name.startswith("seed")]


@given(
    kills=st.lists(st.integers(0, 12), max_size=2),
    seeds=seed_lists(),
    batch_size=st.integers(1, 4),
)
def test_a_run_that_is_killed_keeps_every_picture_and_makes_none_twice(
    kills, seeds, batch_size
):
    with TemporaryDirectory() as home:
        folder, made = Path(home, "many"), []

        def run():
            return generate_to(folder, generator(batch_size), iter(seeds))

        for n_changes in kills:
            made += killed(run, n_changes)
            assert {x.name for x in folder.glob("seed*.png")} == set(made)
            with suppress(FileNotFoundError):  # a kill may come before there is a list
                assert all((folder / x["image_path"]).exists() for x in listed(folder))
        told = run()

        assert_complete(folder, set(seeds))
        assert len(made) == len(set(made)) == told.n_resumed
        assert told.count == len(set(seeds))


@given(n_chunks=st.integers(0, 4), batch_size=st.integers(1, 3))
def test_an_interrupt_leaves_a_list_of_all_that_is_finished(n_chunks, batch_size):
    decode, calls = smallest_model().decode_image, []

    def interrupted(z):
        if len(calls) == n_chunks:
            raise KeyboardInterrupt
        calls.append(z)
        return decode(z)

    with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        folder = Path(home, "many")
        patch.setattr(smallest_model(), "decode_image", interrupted)
        with suppress(KeyboardInterrupt):
            generate_to(folder, generator(batch_size), SOME)

        finished = range(min(n_chunks * batch_size, len(SOME)))
        assert_complete(folder, set(finished))


@given(
    seeds=seed_lists(),
    others=seed_lists(),
    is_spoilt=st.booleans(),
    lost=st.sampled_from(SOME),
)
def test_seeds_that_come_later_join_those_that_are_there(
    seeds, others, is_spoilt, lost
):
    with TemporaryDirectory() as home:
        folder = Path(home, "many")
        generate_to(folder, generator(), seeds)
        if is_spoilt:
            (folder / "metadata.json").write_text("[{")
        (folder / name_of(lost)).unlink(missing_ok=True)

        generate_to(folder, generator(2), others)

        assert_complete(folder, {*seeds} - {lost} | {*others})


@given(old=seed_lists(), seeds=seed_lists(), n_changes=st.integers(0, 12))
def test_begun_anew_there_is_nothing_of_another_job(old, seeds, n_changes):
    with TemporaryDirectory() as home:
        folder = Path(home, "many")
        generate_to(folder, generator(temperature=0.0), old)

        def run(*, resume):
            generate_to(folder, generator(), seeds, resume=resume)

        killed(lambda: run(resume=False), n_changes)
        try:
            run(resume=True)
        except InputValueError:  # the kill came before the folder changed hands
            run(resume=False)

        assert_complete(folder, set(seeds))


def listed(folder):
    return json.loads((folder / "metadata.json").read_text())


def assert_complete(folder, seeds):
    entries = listed(folder)
    assert [entry["seed"] for entry in entries] == sorted(seeds)
    for entry in entries:
        image, _, metadata = alone(entry["seed"])
        assert entry == metadata | {"image_path": name_of(entry["seed"])}
        with Image.open(folder / entry["image_path"]) as picture:
            assert largest_step(picture, image) <= 1
    pictures = {name_of(seed) for seed in seeds}
    assert {x.name for x in folder.iterdir()} == {
        *pictures,
        *("job.json", "metadata.json"),
    }
