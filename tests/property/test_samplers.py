"""Laws of samplers: what is in a batch, for any number of identities and images."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfussy.models.adaface.samplers import GraphSampler, RandomIdentitySampler

pytestmark = pytest.mark.property

EPOCHS = st.integers(0, 3)


@st.composite
def data_sets(draw):
    """Return the identity of each image, and how to make batches of them."""
    n_groups = draw(st.integers(2, 4))
    counts = draw(st.lists(st.integers(1, 7), min_size=n_groups, max_size=9))
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    num_instance = draw(st.integers(1, 5))
    batching = {
        "batch_size": n_groups * num_instance,
        "num_instance": num_instance,
        "seed": draw(st.integers(0, 5)),
    }
    return draw(st.permutations(labels)), batching


def random_sampler(labels, batching, **ranks):
    return RandomIdentitySampler(range(len(labels)), labels=labels, **batching, **ranks)


def graph_sampler(labels, batching, **ranks):
    return GraphSampler(
        range(len(labels)), labels=labels, features=faces, **batching, **ranks
    )


def faces(images):
    """Return features that differ from image to image."""
    return np.array([np.random.default_rng(i).normal(size=4) for i in images])


samplers = st.sampled_from([random_sampler, graph_sampler])


@given(make=samplers, data=data_sets(), epoch=EPOCHS)
def test_a_batch_has_as_many_images_of_each_of_its_identities(make, data, epoch):
    labels, batching = data
    sampler = make(labels, batching)
    sampler.set_epoch(epoch)

    for batch in sampler.batches:
        counts = Counter(labels[i] for i in batch)
        assert len(batch) == batching["batch_size"]
        assert set(counts.values()) == {batching["num_instance"]}


@given(make=samplers, data=data_sets())
def test_no_image_is_in_a_batch_more_often_than_it_has_to_be(make, data):
    labels, batching = data
    n_images = Counter(labels)

    for batch in make(labels, batching).batches:
        for image, times in Counter(batch).items():
            n = n_images[labels[image]]
            assert times <= -(-batching["num_instance"] // n)


@given(make=samplers, data=data_sets())
def test_images_of_an_identity_take_turns(make, data):
    labels, batching = data

    used = Counter(make(labels, batching))

    for label in {labels[i] for i in used}:
        times = [used[i] for i, other in enumerate(labels) if other == label]
        assert max(times) - min(times) <= 1


@given(make=samplers, data=data_sets(), epoch=EPOCHS)
def test_the_flat_sampler_has_the_batches_in_order_and_the_length_it_says(
    make, data, epoch
):
    sampler, by_batch = make(*data), make(*data).batches
    sampler.set_epoch(epoch)
    by_batch.set_epoch(epoch)
    said = len(sampler), len(by_batch)

    flat, batches = list(sampler), list(by_batch)

    assert flat == [i for batch in batches for i in batch]
    assert said == (len(flat), len(batches))


@given(make=samplers, data=data_sets(), epoch=EPOCHS)
def test_seed_and_epoch_decide_everything(make, data, epoch):
    counting, jumping = make(*data), make(*data)
    for _ in range(epoch):
        list(counting)
    jumping.set_epoch(epoch)

    assert list(counting) == list(jumping)


@given(make=samplers, data=data_sets(), n=st.integers(1, 3), epoch=EPOCHS)
def test_ranks_share_the_groups_of_one_process(make, data, n, epoch):
    labels, batching = data
    whole = groups_of(make(labels, batching), labels, epoch)
    if n > len(whole):
        return

    of_ranks = [
        groups_of(make(labels, batching, rank=i, world_size=n), labels, epoch)
        for i in range(n)
    ]

    assert {len(groups) for groups in of_ranks} == {len(whole) // n}
    in_turns = [group for groups in zip(*of_ranks) for group in groups]
    assert in_turns == whole[: len(in_turns)]


def groups_of(sampler, labels, epoch):
    """Return the identities of each batch."""
    sampler.set_epoch(epoch)
    return [list(dict.fromkeys(labels[i] for i in batch)) for batch in sampler.batches]


@given(data=data_sets(), epoch=EPOCHS)
def test_no_identity_is_twice_in_an_epoch_of_random_ones(data, epoch):
    groups = groups_of(random_sampler(*data), data[0], epoch)

    chosen = [identity for group in groups for identity in group]
    size = data[1]["batch_size"] // data[1]["num_instance"]
    assert len(chosen) == len(set(chosen)) == len(set(data[0])) // size * size


@given(data=data_sets(), epoch=EPOCHS)
def test_every_identity_is_last_once_behind_those_most_like_it(data, epoch):
    labels, batching = data
    sampler = graph_sampler(labels, batching)

    groups = groups_of(sampler, labels, epoch)

    images = sampler.graph.images
    identities = [labels[i] for i in images]
    similar = similarities(faces(images))
    assert sorted(group[-1] for group in groups) == sorted(set(labels))
    for *neighbours, itself in groups:
        order = np.argsort(-similar[identities.index(itself)], kind="stable")
        assert neighbours == [identities[i] for i in order[: len(neighbours)]]


def similarities(features):
    units = features / np.linalg.norm(features, axis=1)[:, None]
    similar = units @ units.T
    np.fill_diagonal(similar, -np.inf)
    return similar
