"""Laws of features of a folder: whatever happens, a label stays at its picture."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.folders import Decoder, Finder, numbers, write_folder
from unfussy.errors import AllItemsFailedError
from unfussy.models.adaface.folders import extract_features_from_folder
from unfussy.models.adaface.gallery import Gallery

pytestmark = pytest.mark.property

people = st.sampled_from(["ann", "bob", "eve", ""])
kinds = st.lists(
    st.tuples(people, st.sampled_from(["good", "bad", "large"])), max_size=12
)
# One good picture at least, anywhere: of none there are no features.
folders = st.tuples(kinds, kinds).map(lambda two: [*two[0], ("ann", "good"), *two[1]])
batch_sizes = st.integers(1, 5)
outs = st.sampled_from(["gallery", "x.npy", "x.npz", "x.pth"])
deaths = st.lists(st.integers(0, 4), max_size=2)


def by_number(found):
    return dict(zip(numbers(found.features), found.labels))


def numbers_of(paths):
    return [int(path.stem) for path in paths]


@given(pictures=folders, batch_size=batch_sizes)
def test_labels_and_paths_are_those_of_the_features(pictures, batch_size):
    with TemporaryDirectory() as folder:
        good = write_folder(folder, pictures)

        found = extract_features_from_folder(folder, Decoder(), batch_size)

        assert by_number(found) == good
        assert numbers_of(found.paths) == numbers(found.features)
        assert found.paths == sorted(found.paths)
        bad = set(range(1, len(pictures) + 1)) - good.keys()
        assert set(numbers_of(found.skipped)) == bad


@given(pictures=folders, batch_size=batch_sizes, out=outs, deaths=deaths)
def test_a_run_that_ends_early_ends_like_one_that_does_not(
    pictures, batch_size, out, deaths
):
    with TemporaryDirectory() as folder:
        write_folder(Path(folder, "p"), pictures)
        whole = extract_features_from_folder(Path(folder, "p"), Decoder(), 4)

        for n in deaths:
            with suppress(KeyboardInterrupt):
                extract_features_from_folder(
                    Path(folder, "p"), Decoder(n), batch_size, out=Path(folder, out)
                )
        found = extract_features_from_folder(
            Path(folder, "p"), Decoder(), batch_size, out=Path(folder, out)
        )

        assert torch.equal(found.features, whole.features)
        assert found.labels == whole.labels
        assert (found.paths, found.skipped) == (whole.paths, whole.skipped)
        if out == "gallery":
            assert Gallery.load(Path(folder, out)).labels.tolist() == whole.labels


@given(pictures=folders, batch_size=batch_sizes)
def test_a_finder_changes_nothing_but_who_has_a_face(pictures, batch_size):
    with TemporaryDirectory() as folder:
        good = write_folder(folder, pictures)

        found = extract_features_from_folder(
            folder, Decoder(), batch_size, aligner=Finder()
        )

        # A larger picture has a face here.
        readable = {i for i, (_, kind) in enumerate(pictures, 1) if kind != "bad"}
        assert set(by_number(found)) == readable
        assert good.items() <= by_number(found).items()


@given(n=st.integers(1, 6), batch_size=batch_sizes)
def test_a_folder_of_bad_pictures_alone_is_an_error(n, batch_size):
    with TemporaryDirectory() as folder:
        write_folder(folder, [("ann", "bad")] * n)

        with pytest.raises(AllItemsFailedError, match=f"none of {n} pictures"):
            extract_features_from_folder(folder, Decoder(), batch_size)
