"""Distances of gait embeddings, who is closest, and how often that is right."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait import distance, evaluate, rank


def embeddings(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def places(*values):
    """Return embeddings of one number each."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)


# --- distance ------------------------------------------------------------------------


def test_distance_is_the_mean_over_parts():
    a, b = embeddings(3, 256, 16), embeddings(5, 256, 16, seed=1)

    found = distance(a, b)

    assert_close(found, (a[:, None] - b).norm(dim=2).mean(-1))
    flat = (a[:, None] - b).flatten(2).norm(dim=2)
    assert not torch.allclose(found, flat)


def test_cosine_distance_is_one_minus_the_mean_cosine():
    a, b = embeddings(3, 8, 4), embeddings(2, 8, 4, seed=1)

    found = distance(a, b, metric="cosine")

    wanted = 1 - torch.cosine_similarity(a[:, None], b[None], dim=2).mean(-1)
    assert_close(found, wanted)
    assert_close(distance(a, 0 * b, "cosine"), torch.ones(3, 2))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_leading_dimensions_are_kept(metric):
    a, b = embeddings(2, 3, 8, 4), embeddings(8, 4, seed=1)

    assert distance(a, a, metric).shape == (2, 3, 2, 3)
    assert distance(a, b, metric).shape == (2, 3)
    assert distance(b, b, metric).shape == ()
    assert distance(a[:0], a, metric).shape == (0, 3, 2, 3)
    assert distance(a, a[:0], metric).shape == (2, 3, 0, 3)


def test_equal_embeddings_are_not_apart():
    far = embeddings(4, 256, 16) + 1000

    assert distance(far, far).diagonal().max() < 1e-7 * far.norm(dim=1).max()


def test_large_galleries_are_compared_in_tiles(monkeypatch):
    a, b = embeddings(7, 8, 4), embeddings(10, 8, 4, seed=1)
    wanted = {metric: distance(a, b, metric) for metric in ("euclidean", "cosine")}
    monkeypatch.setattr("unfussy.models.gait.distances._TILE", 3)

    for metric, whole in wanted.items():
        assert_close(distance(a, b, metric), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_are_in_single_precision_or_finer(dtype):
    a = embeddings(2, 8, 4).to(dtype).requires_grad_()

    found = distance(a, a.float())

    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert not found.requires_grad


def test_arrays_are_taken_too():
    a = embeddings(2, 8, 4)

    assert_close(distance(a.numpy(), a), distance(a, a))


def test_what_cannot_be_compared_is_refused():
    a = embeddings(2, 8, 4)
    with pytest.raises(InputValueError, match=r"one size and device, got \(2, 8, 4\)"):
        distance(a, a[:, :5])
    with pytest.raises(InputValueError, match="'euclidean' or 'cosine', got 'l1'"):
        distance(a, a, "l1")
    with pytest.raises(InputValueError, match=r"\(..., D, P\), got \(4,\)"):
        distance(a[0, 0], a)
    with pytest.raises(InputTypeError, match="b is an array or a tensor .* got list"):
        distance(a, [1])


# --- rank ----------------------------------------------------------------------------


def test_the_closest_come_first():
    gallery = places(0, 10, 4, 6)

    found = rank(places(5.5, 9), gallery, k=3)

    assert found.indices.tolist() == [[3, 2, 1], [1, 3, 2]]
    assert_close(found.distances, torch.tensor([[0.5, 1.5, 4.5], [1.0, 3.0, 5.0]]))


def test_of_equal_distances_the_first_row_comes_first():
    gallery = places(1, -1, 1, 0, -1)

    assert rank(places(0), gallery, k=5).indices.tolist() == [[3, 0, 1, 2, 4]]


def test_a_single_probe_gives_a_single_row():
    assert rank(places(0)[0], places(3, 2)).indices.tolist() == [1]


def test_galleries_may_be_small_or_empty():
    assert rank(places(0), places(3, 2), k=9).indices.tolist() == [[1, 0]]
    assert rank(places(0, 1), places(), k=2).indices.shape == (2, 0)
    assert rank(places(), places(1, 2), k=2).indices.shape == (0, 2)


def test_large_tables_are_sorted_in_blocks(monkeypatch):
    probes, gallery = embeddings(9, 8, 4), embeddings(5, 8, 4, seed=1)
    wanted = rank(probes, gallery, k=2)
    monkeypatch.setattr("unfussy.models.gait.ranking._ENTRIES", 10)

    found = rank(probes, gallery, k=2)

    assert torch.equal(found.indices, wanted.indices)
    assert_close(found.distances, wanted.distances)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(InputValueError, match="k is 1 or more, got 0"):
        rank(places(0), places(1), k=0)
    with pytest.raises(InputValueError, match=r"gallery is \(n, D, P\), got \(1, 1\)"):
        rank(places(0), places(1)[0])


# --- evaluate ------------------------------------------------------------------------


def slow_scores(probes, probe_labels, gallery, gallery_labels):
    """Count by hand."""
    firsts, aps, inps = [], [], []
    for probe, label in zip(probes, probe_labels):
        order = sorted(
            range(len(gallery)), key=lambda i: (distance(probe, gallery[i]).item(), i)
        )
        right = [r for r, i in enumerate(order, start=1) if gallery_labels[i] == label]
        if right:
            firsts.append(right[0])
            aps.append(np.mean([(j + 1) / r for j, r in enumerate(right)]))
            inps.append(len(right) / right[-1])
    share = {k: np.mean([f <= k for f in firsts]) for k in (1, 5, 10)}
    return share, np.mean(aps), np.mean(inps), len(firsts)


def test_scores_are_those_counted_by_hand():
    probes, gallery = embeddings(30, 4, 2), embeddings(40, 4, 2, seed=1)
    draw = np.random.default_rng(0)
    probe_labels, gallery_labels = draw.integers(0, 9, 30), draw.integers(2, 9, 40)

    found = evaluate(probes, probe_labels, gallery, gallery_labels)

    ranks, mean_ap, mean_inp, n = slow_scores(
        probes, probe_labels, gallery, gallery_labels
    )
    assert found.ranks == pytest.approx(ranks)
    assert found.mean_ap == pytest.approx(mean_ap)
    assert found.mean_inp == pytest.approx(mean_inp)
    assert (found.n_probes, found.n_without) == (n, 30 - n)
    assert 0 < n < 30


def test_pairs_may_not_count():
    walks = places(0, 1, 10, 11)
    labels = ["ann", "ann", "bob", "bob"]

    with_itself = evaluate(walks, labels, walks, labels, ks=[1])
    others = evaluate(walks, labels, walks, labels, ks=[1], ignore=torch.eye(4))

    assert with_itself.ranks == {1: 1.0}
    assert (others.ranks, others.mean_ap, others.n_probes) == ({1: 1.0}, 1.0, 4)
    alone = evaluate(walks, [*"abcd"], walks, [*"abcd"], ignore=np.eye(4))
    assert alone.n_without == 4


def test_scores_print_well():
    found = evaluate(places(0, 6, 9), [1, 2, 3], places(1, 5, 8), [1, 1, 2], ks=[1, 2])

    assert str(found) == (
        "rank-1 50.00%, rank-2 100.00%, mAP 75.00%, mINP 75.00% "
        "(2 probes, 1 without a match)"
    )


def test_without_a_gallery_there_is_no_score():
    found = evaluate(places(0), ["ann"], places(), [])

    assert np.isnan(found.mean_ap)
    assert (found.n_probes, found.n_without) == (0, 1)
    assert evaluate(places(), [], places(1), ["ann"]).n_probes == 0


def test_labels_may_be_a_tensor():
    found = evaluate(places(0), torch.tensor([7]), places(0, 3), torch.tensor([7, 8]))

    assert found.ranks[1] == 1


def test_labels_have_to_be_as_many():
    with pytest.raises(InputValueError, match="probe_labels has 2 labels for 1 embedd"):
        evaluate(places(0), [1, 2], places(0), [1])
    with pytest.raises(InputValueError, match=r"ignore is a table \(1, 1\), got \(2,"):
        evaluate(places(0), [1], places(0), [1], ignore=np.zeros((2, 1)))
