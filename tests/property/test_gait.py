"""Laws of gait models: an embedding depends on its sequence alone."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.models.gaits import FRAMEWISE, IN_TIME, KINDS, relative, tiny, walk
from unfussy.models.gait import Run, distance, evaluate, rank, runs_of
from unfussy.models.gait.packed import along_time, pool_time
from unfussy.models.gait.sequences import to_frames

pytestmark = pytest.mark.property

CLOSE = 5e-6

names = st.sampled_from(sorted(KINDS))
lengths = st.lists(st.integers(1, 4), min_size=1, max_size=3)
seeds = st.integers(0, 99)


@functools.cache
def alone(name, length, i=0):
    """Return what a sequence gives by itself."""
    with torch.no_grad():
        return tiny(name).embed_frames(frames(name, length, i), (Run(1, length),))


def frames(name, length, i):
    model = tiny(name)
    return to_frames(
        walk(name, length, i), model.kinds, model.in_channels, torch.float32
    )


def shuffled(sequence, order):
    if isinstance(sequence, dict):
        return {kind: part[order] for kind, part in sequence.items()}
    return sequence[order]


# --- batches -------------------------------------------------------------------------


@given(name=names, counts=lengths, batch_size=st.none() | st.integers(1, 4))
def test_a_sequence_gets_what_it_gets_alone_whatever_is_beside_it(
    name, counts, batch_size
):
    batch = [walk(name, length, i) for i, length in enumerate(counts)]

    found = tiny(name).easy_embed(batch, batch_size=batch_size)

    wanted = [alone(name, length, i) for i, length in enumerate(counts)]
    assert relative(found, torch.cat(wanted)) < CLOSE


@given(name=names, counts=lengths, seed=seeds)
def test_frames_of_all_sequences_run_at_once_as_they_run_alone(name, counts, seed):
    model, draw = tiny(name), torch.Generator().manual_seed(seed)
    packed = torch.rand(sum(counts), model.in_channels, 16, 11, generator=draw)

    with torch.no_grad():
        found = model.embed_frames(packed, runs_of(counts, len(packed)))
        wanted = [
            model.embed_frames(part, (Run(1, len(part)),))
            for part in packed.split(counts)
        ]

    assert relative(found, torch.cat(wanted)) < CLOSE


@given(name=names, counts=lengths, data=st.data())
def test_permuted_sequences_give_permuted_embeddings(name, counts, data):
    order = data.draw(st.permutations(range(len(counts))))

    found = tiny(name).easy_embed([walk(name, counts[i], i) for i in order])

    wanted = torch.cat([alone(name, counts[i], i) for i in order])
    assert relative(found, wanted) < CLOSE


# --- frames --------------------------------------------------------------------------


@given(name=st.sampled_from(FRAMEWISE), data=st.data())
def test_the_order_of_frames_does_not_matter_where_each_is_seen_by_itself(name, data):
    sequence = walk(name, 4)
    order = data.draw(st.permutations(range(4)))

    found = tiny(name).easy_embed(shuffled(sequence, order))

    assert relative(found[None], alone(name, 4)) < CLOSE


@given(name=st.sampled_from(IN_TIME), seed=seeds)
def test_the_order_of_frames_matters_where_time_is_seen(name, seed):
    model, draw = tiny(name), torch.Generator().manual_seed(seed)
    x = torch.rand(4, model.in_channels, 16, 11, generator=draw)

    with torch.no_grad():
        found, swapped = model.embed_frames(
            torch.cat([x, x[[1, 0, 2, 3]]]), (Run(2, 4),)
        )

    assert relative(swapped[None], found[None]) > 100 * CLOSE


@given(name=st.sampled_from(FRAMEWISE), times=st.integers(2, 3))
def test_repeated_frames_add_nothing_where_each_is_seen_by_itself(name, times):
    order = [*range(4)] * times

    found = tiny(name).easy_embed(shuffled(walk(name, 4), order))

    assert relative(found[None], alone(name, 4)) < CLOSE


@given(counts=lengths, seed=seeds)
def test_what_looks_along_time_sees_one_sequence_and_zeros_around_it(counts, seed):
    draw = torch.Generator().manual_seed(seed)
    conv = torch.nn.Conv3d(2, 3, (3, 1, 1), padding=(1, 0, 0), bias=False).double()
    x = torch.rand(sum(counts), 2, 4, 3, generator=draw, dtype=torch.float64)

    with torch.no_grad():
        found = along_time(conv, x, runs_of(counts, len(x)))

    taps = conv.weight.detach()[..., 0, 0]
    wanted = []
    for part in x.split(counts):
        zero = torch.zeros_like(part[:1])
        padded = torch.cat([zero, part, zero])
        wanted += [
            sum(
                torch.einsum("oc,chw->ohw", taps[..., k], padded[t + k])
                for k in range(3)
            )
            for t in range(len(part))
        ]
    assert_close(found, torch.stack(wanted))


@given(counts=lengths, seed=seeds)
def test_pooling_takes_the_maximum_of_each_sequence(counts, seed):
    x = torch.rand(sum(counts), 2, generator=torch.Generator().manual_seed(seed))

    found = pool_time(x, runs_of(counts, len(x)))

    assert torch.equal(found, torch.stack([part.amax(0) for part in x.split(counts)]))


# --- values --------------------------------------------------------------------------


@given(most=st.integers(2, 255), seed=seeds)
def test_levels_are_divided_by_255_whatever_they_are(most, seed):
    levels = np.random.default_rng(seed).integers(0, most + 1, (2, 64, 44))
    levels[0, 0, 0] = most

    found = to_frames(levels, ("silhouettes",), 1, torch.float32)

    wanted = (levels / 255).astype(np.float32)
    assert np.array_equal(found[:, 0].numpy(), wanted)


# --- distances -----------------------------------------------------------------------


def embeddings(n, seed):
    # Few values: distances that are equal are frequent.
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, (n, 3, 2), generator=draw).double()


counts = st.integers(1, 8)


@given(n=counts, m=counts, seed=seeds, metric=st.sampled_from(["euclidean", "cosine"]))
def test_distance_does_not_depend_on_the_side(n, m, seed, metric):
    a, b = embeddings(n, seed), embeddings(m, seed + 1)

    assert_close(distance(a, b, metric), distance(b, a, metric).T)


@given(n=counts, m=counts, seed=seeds)
def test_distance_is_the_mean_over_parts(n, m, seed):
    a, b = embeddings(n, seed), embeddings(m, seed + 1)

    wanted = (a[:, None] - b).norm(dim=2).mean(-1)
    assert_close(distance(a, b), wanted, rtol=0, atol=1e-6)


@given(n=counts, m=counts, seed=seeds, k=st.integers(1, 9))
def test_ranks_are_those_of_a_stable_sort(n, m, seed, k):
    a, b = embeddings(n, seed), embeddings(m, seed + 1)

    found = rank(a, b, k)

    table = distance(a, b)
    wanted = np.argsort(table.numpy(), axis=1, kind="stable")[:, :k]
    assert np.array_equal(found.indices.numpy(), wanted)
    assert torch.equal(found.distances, table.gather(1, found.indices))


@given(n=counts, m=counts, seed=seeds)
def test_scores_are_shares_that_grow_with_rank(n, m, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, n), draw.integers(0, 3, m)
    probes, gallery = embeddings(n, seed), embeddings(m, seed + 1)

    found = evaluate(probes, labels[0], gallery, labels[1], ks=(1, 3, m))

    known = np.isin(*labels)
    assert (found.n_probes, found.n_without) == (known.sum(), n - known.sum())
    if known.any():
        closest = labels[1][rank(probes, gallery).indices[:, 0].numpy()]
        assert found.ranks[1] == pytest.approx((closest == labels[0])[known].mean())
        assert found.ranks[1] <= found.ranks[3] <= found.ranks[m] == 1
        assert 0 < found.mean_ap <= 1
        assert 0 < found.mean_inp <= 1
