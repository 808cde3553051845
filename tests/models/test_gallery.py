"""Galleries: forms, files, edges and errors."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface import gallery_files, searching
from unfussy.models.adaface.gallery import Gallery

NAMES = ["ann", "bob", "ann"]
FEATURES = np.array([[1, 0], [0, 2], [3, 4]], np.float32)


@pytest.fixture
def gallery():
    return Gallery(FEATURES, NAMES)


# --- search ------------------------------------------------------------------------


def test_scores_are_cosines_the_best_first(gallery):
    found = gallery.search(np.array([[0.0, 5.0]]), k=2)

    assert found.labels.tolist() == [["bob", "ann"]]
    assert found.indices.tolist() == [[1, 2]]
    np.testing.assert_array_equal(found.scores, np.float32([[1, 0.8]]))


def test_one_query_gives_one_row_of_results(gallery):
    found = gallery.search([0.0, 1.0], k=1)

    assert found.scores.shape == found.indices.shape == found.labels.shape == (1,)


@pytest.mark.parametrize(
    "queries", [[[1.0, 0.0]] * 2, [np.ones(2)] * 2, [torch.ones(2), np.ones(2)]]
)
def test_lists_give_arrays(gallery, queries):
    found = gallery.search(queries)

    assert isinstance(found.scores, np.ndarray)
    assert found.indices.shape == (2, 3)


def test_tensors_of_any_kind_give_tensors_of_single_precision(gallery):
    query = torch.ones(1, 2, dtype=torch.bfloat16, requires_grad=True)

    found = gallery.search(query)

    assert (found.scores.dtype, found.indices.dtype) == (torch.float32, torch.int64)
    assert not found.scores.requires_grad


def test_a_list_of_tensors_is_a_batch_of_tensors(gallery):
    found = gallery.search([torch.ones(2), torch.ones(2)])

    assert isinstance(found.scores, torch.Tensor)


def test_a_gallery_gives_all_it_has_where_more_is_asked_for(gallery):
    assert gallery.search(np.ones((4, 2)), k=10).scores.shape == (4, 3)


def test_an_empty_gallery_finds_nobody():
    gallery = Gallery(np.empty((0, 512)), [])

    found = gallery.search(np.ones((3, 512)))

    assert found.scores.shape == found.indices.shape == found.labels.shape == (3, 0)


def test_no_queries_give_no_results(gallery):
    assert gallery.search(np.empty((0, 2)), k=2).labels.shape == (0, 2)


def test_zero_vectors_are_like_nothing():
    gallery = Gallery(np.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]))

    found = gallery.search(np.array([[1.0, 0.0], [0.0, 0.0]]), k=3)

    assert found.scores.tolist() == [[1, 0, -1], [0, 0, 0]]
    assert found.indices.tolist() == [[2, 0, 1], [0, 1, 2]]


def test_more_queries_than_are_compared_at_once_stay_in_order():
    features = np.random.default_rng(0).normal(size=(2500, 8)).astype("f4")

    found = Gallery(features).search(features, k=1)

    assert found.indices[:, 0].tolist() == list(range(2500))


def test_scores_nearer_than_single_precision_can_tell_are_ordered_exactly():
    # In a gallery of features that are all but equal, rounding decides a fast search.
    random = np.random.default_rng(0)
    features = 1 + 1e-5 * random.normal(size=(3000, 256))
    query = 1 + 1e-5 * random.normal(size=(1, 256))

    found = Gallery(features.astype("f4")).search(query, k=20)

    exact = features.astype("f4").astype("f8")
    scores = (exact / np.linalg.norm(exact, axis=1)[:, None]) @ (
        query / np.linalg.norm(query)
    )[0]
    order = np.argsort(-scores.astype("f4"), kind="stable")
    np.testing.assert_array_equal(found.indices[0], order[:20])


def test_candidates_that_are_too_many_to_wait_are_compared_in_between(monkeypatch):
    monkeypatch.setattr(searching, "_WAITING", 10)
    gallery = Gallery(np.ones((500, 4)))

    found = gallery.search(np.ones((2, 4)), k=3, block_size=7)

    assert found.indices.tolist() == [[0, 1, 2]] * 2


def test_settings_of_pytorch_do_not_lower_the_precision(gallery):
    expected = gallery.search(torch.tensor([[0.3, 0.7]]))

    with torch.autocast("cpu", torch.bfloat16):
        found = gallery.search(torch.tensor([[0.3, 0.7]]))

    assert_close(found.scores, expected.scores, rtol=0, atol=0)


# --- verification ------------------------------------------------------------------


def test_a_claim_is_compared_with_all_features_of_that_person(gallery):
    scores = gallery.verify(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), ["ann", "ann"])

    assert_close(scores, torch.tensor([1.0, 0.8]))


def test_one_claim_holds_for_all_queries(gallery):
    assert gallery.verify(np.eye(2), "bob").tolist() == [0, 1]


def test_one_query_gives_one_score(gallery):
    assert gallery.verify([0.0, 1.0], "bob").shape == ()


def test_a_label_that_nobody_has_is_named(gallery):
    with pytest.raises(
        InputValueError, match="nobody in this gallery has the label 'e'"
    ):
        gallery.verify(np.ones(2), "e")


def test_as_many_claims_as_queries(gallery):
    with pytest.raises(InputValueError, match="one for each query, got 1 for 2"):
        gallery.verify(np.eye(2), ["ann"])


# --- making ------------------------------------------------------------------------


def test_without_labels_rows_are_numbered():
    assert Gallery(np.eye(3)).labels.tolist() == [0, 1, 2]


def test_labels_may_be_numbers_of_any_kind():
    kinds = [np.array([3, 4]), torch.tensor([3, 4]), [np.int32(3), 4], range(3, 5)]

    for labels in kinds:
        assert Gallery(np.eye(2), labels).labels.tolist() == [3, 4]


def test_features_are_kept_and_not_copied():
    gallery = Gallery(FEATURES, NAMES)

    assert np.shares_memory(gallery.features, FEATURES)
    assert not gallery.features.flags.writeable


def test_a_gallery_says_what_it_holds(gallery):
    assert repr(gallery) == "Gallery of 3 features of 2 numbers, 2 labels"
    assert len(gallery) == 3


@pytest.mark.parametrize(
    ("features", "labels", "error", "text"),
    [
        (np.eye(2), ["a"], InputValueError, "one label a feature, got 1 labels and 2"),
        (np.eye(2), [1.5, 2], InputTypeError, "strings or whole numbers, got 1.5"),
        (np.eye(2), [True, 2], InputTypeError, "got True, a bool"),
        (np.ones(3), None, InputValueError, r"takes features \(N, D\), got \(3,\)"),
        ([[1, np.nan]], None, InputValueError, "feature 0 has the length nan"),
        ([[1, 1], [1, np.inf]], None, InputValueError, "feature 1 has the length inf"),
        ([[1e-20, 0]], None, InputValueError, "feature 0 has the length 1e-20"),
        ([[1j]], None, InputTypeError, "real numbers, got complex128"),
        (np.ma.ones((2, 2)), None, InputTypeError, "got a MaskedArray"),
        ("face.npy", None, InputTypeError, "a tensor, an array or a list, got a str"),
    ],
)
def test_what_cannot_be_a_gallery_is_refused(features, labels, error, text):
    with pytest.raises(error, match=text):
        Gallery(features, labels)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.ones((1, 3)),), r"takes queries \(Q, 2\) or \(2,\), got \(1, 3\)"),
        ((np.ones((1, 1, 2)),), r"got \(1, 1, 2\)"),
        (([[np.nan, 1]],), "query 0 has the length nan"),
        ((np.ones((1, 2)), 0), "k is a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(gallery, arguments, text):
    with pytest.raises(InputValueError, match=text):
        gallery.search(*arguments)


# --- files -------------------------------------------------------------------------


def test_a_loaded_gallery_is_mapped_and_not_read(gallery, tmp_path):
    loaded = Gallery.load(gallery.save(tmp_path / "people"))

    assert isinstance(loaded.features, np.memmap)
    assert loaded.search(FEATURES, k=1).labels.tolist() == [["ann"], ["bob"], ["ann"]]


def test_saving_over_a_gallery_leaves_no_file_of_the_old_one(gallery, tmp_path):
    gallery.save(tmp_path)

    Gallery(np.eye(4), "abcd").save(tmp_path)

    assert len(list(tmp_path.iterdir())) == 3
    assert Gallery.load(tmp_path).labels.tolist() == list("abcd")


def test_a_gallery_can_be_saved_over_the_files_that_it_maps(gallery, tmp_path):
    loaded = Gallery.load(gallery.save(tmp_path))

    loaded.save(tmp_path)

    np.testing.assert_array_equal(Gallery.load(tmp_path).features, FEATURES)


class KilledError(Exception):
    """A process that ends in the middle of things."""


@pytest.mark.parametrize("step", range(6))
def test_who_is_killed_while_saving_leaves_labels_that_belong_to_features(
    gallery, tmp_path, monkeypatch, step
):
    gallery.save(tmp_path)
    steps = iter(range(99))

    def killed(function):
        def run(*arguments):
            if next(steps) == step:
                raise KilledError
            return function(*arguments)

        return run

    monkeypatch.setattr(gallery_files.os, "fsync", killed(gallery_files.os.fsync))
    monkeypatch.setattr(
        gallery_files.Path, "replace", killed(gallery_files.Path.replace)
    )

    with pytest.raises(KilledError):
        Gallery(np.eye(4), "abcd").save(tmp_path)

    loaded = Gallery.load(tmp_path)
    np.testing.assert_array_equal(loaded.features, FEATURES)
    assert loaded.labels.tolist() == NAMES


def test_files_of_two_galleries_are_refused(gallery, tmp_path):
    saved = json.loads((gallery.save(tmp_path) / "gallery.json").read_text())
    saved["labels"].pop()
    (tmp_path / "gallery.json").write_text(json.dumps(saved))

    with pytest.raises(InputValueError, match="3 features, 3 norms and 2 labels"):
        Gallery.load(tmp_path)


def test_a_folder_without_a_gallery_is_named(tmp_path):
    with pytest.raises(InputValueError, match="holds no whole gallery"):
        Gallery.load(tmp_path / "nothing")


def test_features_that_are_cut_short_are_refused(gallery, tmp_path):
    gallery.save(tmp_path)
    (file,) = tmp_path.glob("features-*.npy")
    file.write_bytes(file.read_bytes()[:-4])

    with pytest.raises(InputValueError, match="holds no whole gallery"):
        Gallery.load(tmp_path)


def test_a_folder_of_features_is_a_gallery(tmp_path):
    (tmp_path / "eve").mkdir()
    np.save(tmp_path / "ann.npy", FEATURES[0])
    np.save(tmp_path / "eve" / "1.npy", FEATURES[1:])

    gallery = Gallery.from_folder(tmp_path)

    assert gallery.labels.tolist() == ["ann", "eve/1", "eve/1"]
    np.testing.assert_array_equal(gallery.features, FEATURES)


def test_files_of_features_are_named_as_the_caller_says(tmp_path):
    (tmp_path / "eve").mkdir()
    np.save(tmp_path / "eve" / "1.npy", FEATURES)

    gallery = Gallery.from_folder(tmp_path, label=lambda path: path.parent.name)

    assert gallery.labels.tolist() == ["eve"] * 3


def test_a_folder_of_other_arrays_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(2))
    np.save(tmp_path / "b.npy", np.ones(3))

    with pytest.raises(InputValueError, match=r"b.npy holds an array \(1, 3\)"):
        Gallery.from_folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputValueError, match="no .npy files below"):
        Gallery.from_folder(tmp_path)
