"""Laws of galleries: the search is that of comparing everything, in whatever blocks."""

from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from unfussy.models.adaface.gallery import Gallery

pytestmark = pytest.mark.property

SIZE = 3

# Whole numbers: their products are exact in any order, and many scores are equal.
digits = st.integers(-2, 2)
dtypes = st.sampled_from(["float16", "float32", "float64", "int64"])
labels = st.sampled_from(["ann", "bob", "eve", 7])


def rows(least=0, most=12):
    return stn.arrays(
        "int64", st.tuples(st.integers(least, most), st.just(SIZE)), elements=digits
    )


def cosines(queries, features):
    """Compare everything, in double precision."""
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(
        features, axis=1
    )
    return (queries @ features.T / np.where(lengths == 0, 1, lengths)).astype("f4")


def ranked(scores):
    """Order each row from the best, equal ones as they stand."""
    return np.argsort(-scores, axis=1, kind="stable")


@given(
    features=rows(),
    queries=rows(most=5),
    k=st.integers(1, 14),
    block_size=st.none() | st.integers(1, 14),
    dtype=dtypes,
)
def test_search_is_that_of_comparing_everything(
    features, queries, k, block_size, dtype
):
    gallery = Gallery(features.astype(dtype))

    found = gallery.search(queries, k, block_size=block_size)

    scores = cosines(queries, features)
    best = ranked(scores)[:, :k]
    np.testing.assert_array_equal(found.indices, best)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, best, 1))


@given(
    seed=st.integers(0, 99),
    copies=st.integers(1, 4),
    k=st.integers(1, 40),
    block_size=st.integers(1, 40),
)
def test_no_block_size_changes_a_bit_of_the_result(seed, copies, k, block_size):
    random = np.random.default_rng(seed)
    features = np.tile(random.normal(size=(9, 64)).astype("f4"), (copies, 1))
    gallery = Gallery(features)

    found = gallery.search(features[:3], k, block_size=block_size)

    whole = gallery.search(features[:3], k, block_size=len(features))
    np.testing.assert_array_equal(found.indices, whole.indices)
    np.testing.assert_array_equal(found.scores, whole.scores)
    # Copies have equal scores, so they come in the order of rows.
    first = found.indices[:, : min(k, copies)]
    np.testing.assert_array_equal(first, ranked_copies(copies)[:, : min(k, copies)])


def ranked_copies(copies):
    return np.arange(3)[:, None] + 9 * np.arange(copies)


@given(features=rows(), queries=rows(most=4), k=st.integers(1, 5))
def test_tensors_give_what_arrays_give(features, queries, k):
    gallery = Gallery(torch.from_numpy(features))

    found = gallery.search(torch.from_numpy(queries), k)

    of_arrays = Gallery(features).search(queries, k)
    assert isinstance(found.scores, torch.Tensor)
    np.testing.assert_array_equal(found.indices.numpy(), of_arrays.indices)
    np.testing.assert_array_equal(found.scores.numpy(), of_arrays.scores)


@given(data=st.data(), features=rows(), queries=rows(most=4), dtype=dtypes)
def test_a_saved_gallery_is_the_same_from_disk(data, features, queries, dtype):
    names = data.draw(
        st.lists(labels | st.text(), min_size=len(features), max_size=len(features))
    )
    gallery = Gallery(features.astype(dtype), names)

    with TemporaryDirectory() as folder:
        loaded = Gallery.load(gallery.save(folder))
        found = loaded.search(queries)

    assert loaded.labels.tolist() == names
    np.testing.assert_array_equal(found.scores, gallery.search(queries).scores)
    np.testing.assert_array_equal(found.indices, gallery.search(queries).indices)
    np.testing.assert_array_equal(found.labels, gallery.search(queries).labels)


@given(data=st.data(), features=rows(least=1), queries=rows(most=5))
def test_verification_is_the_best_of_all_scores_with_that_label(
    data, features, queries
):
    n = len(features)
    names = data.draw(st.lists(labels, min_size=n, max_size=n))
    known, n = sorted(set(names), key=str), len(queries)
    claimed = data.draw(st.lists(st.sampled_from(known), min_size=n, max_size=n))

    scores = Gallery(features, names).verify(queries, claimed)

    everything = cosines(queries, features)
    expected = [
        max(score for score, name in zip(row, names) if name == claim)
        for row, claim in zip(everything.tolist(), claimed)
    ]
    assert scores.tolist() == expected
