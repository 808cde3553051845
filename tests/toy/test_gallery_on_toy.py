"""Searching a gallery where the queries live: on an accelerator with real values."""

import numpy as np
import torch
from torch.testing import assert_close

from unfussy.models.adaface.gallery import Gallery

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(300, 16)).astype("f4")
QUERIES = torch.from_numpy(RANDOM.normal(size=(7, 16)).astype("f4"))


def test_a_search_on_an_accelerator_gives_what_one_on_the_cpu_gives(toy):
    gallery = Gallery(FEATURES)

    found = gallery.search(QUERIES.to(toy.device), block_size=64)

    expected = gallery.search(QUERIES)
    assert found.scores.device == found.indices.device == toy.device
    assert_close(found.scores.cpu(), expected.scores, rtol=0, atol=0)
    assert_close(found.indices.cpu(), expected.indices, rtol=0, atol=0)


def test_scores_of_verification_are_where_the_queries_were(toy):
    scores = Gallery(FEATURES).verify(QUERIES.to(toy.device), 3)

    assert scores.device == toy.device
    assert_close(scores.cpu(), Gallery(FEATURES).verify(QUERIES, 3), rtol=0, atol=0)


def test_a_gallery_is_made_of_features_on_an_accelerator(toy):
    gallery = Gallery(torch.from_numpy(FEATURES).to(toy.device))

    np.testing.assert_array_equal(gallery.features, FEATURES)
