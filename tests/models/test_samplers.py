"""Samplers of identities: edges, errors, networks, matchers and several processes."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from tests.ranks import ranks
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface.graph import build_graph
from unfussy.models.adaface.identities import Decks, Identities
from unfussy.models.adaface.matching import QAConv, nearest_by
from unfussy.models.adaface.samplers import GraphSampler, RandomIdentitySampler
from unfussy.models.adaface.shares import Share

LABELS = [name for name in ("ann", "bob", "eve", "kim") for _ in range(3)]
ITEMS = [(f"{i}.png", name, 0, 0) for i, name in enumerate(LABELS)]


def line(images):
    """Return a unit vector for each image, at an angle for each identity."""
    angles = np.array([0.0, 0.5, 0.8, 2.0])[np.array(images) // 3]
    return np.stack((np.cos(angles), np.sin(angles)), 1)


def graph_sampler(**options):
    options = {"batch_size": 4, "num_instance": 2, "features": line, **options}
    return GraphSampler(ITEMS, **options)


# --- who is on an image ------------------------------------------------------------


class Targets:
    """Named as torchvision's data sets do, whose items are slow to make."""

    targets = torch.tensor([5, 6, 5])

    def __len__(self):
        return 3

    def __getitem__(self, i):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("data_source", "labels", "expected"),
    [
        ([("a", 7, 0, 0), ("b", 8, 0, 0), ("c", 7, 0, 0)], None, (7, 8)),
        ([("a", "x"), ("b", "y"), ("c", "x")], None, ("x", "y")),
        ([("a", torch.tensor(1)), ("b", np.int64(2)), ("c", 1)], None, (1, 2)),
        (Targets(), None, (5, 6)),
        (Targets(), np.array([3, 4, 3]), (3, 4)),
    ],
)
def test_identities_are_read_from_labels_targets_or_items(
    data_source, labels, expected
):
    identities = Identities.of(data_source, labels)

    assert identities.labels == expected
    assert identities.images.tolist() == [0, 2, 1]
    assert identities.starts.tolist() == [0, 2, 3]


def test_as_many_labels_as_images():
    with pytest.raises(InputValueError, match="2 labels for 12 images"):
        RandomIdentitySampler(ITEMS, labels=["a", "b"])


def test_items_that_do_not_say_who_is_on_them_are_refused():
    with pytest.raises(InputTypeError, match="got a int; pass labels="):
        RandomIdentitySampler([1, 2, 3])


def test_every_image_is_dealt_before_any_is_dealt_again():
    decks = Decks(Identities.of(range(5), ["a"] * 5), np.random.default_rng(0))

    dealt = np.concatenate([decks.deal(0, 3) for _ in range(5)])

    assert [sorted(dealt[i : i + 5]) for i in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3


# --- batches -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 7, "num_instance": 2}, "batch_size=7 is no such multiple"),
        ({"batch_size": 4, "num_instance": 4}, "two identities or more"),
        ({"batch_size": 4, "num_instance": 0}, "num_instance=0"),
        ({"batch_size": 10, "num_instance": 2}, "takes 5 identities, the data have 4"),
        ({"seed": -1}, "seed is a whole number from 0, got -1"),
        ({"rank": 1}, "both rank= and world_size=, or neither"),
        ({"rank": 2, "world_size": 2}, "got rank=2, world_size=2"),
    ],
)
@pytest.mark.parametrize("kind", [RandomIdentitySampler, graph_sampler])
def test_what_makes_no_batches_is_refused_at_once(kind, options, text):
    options = {"batch_size": 4, "num_instance": 2, **options}
    make = kind if kind is graph_sampler else lambda **options: kind(ITEMS, **options)

    with pytest.raises(InputValueError, match=text):
        make(**options)


def test_more_ranks_than_batches_are_refused():
    sampler = RandomIdentitySampler(ITEMS, 4, 2, rank=0, world_size=3)

    with pytest.raises(InputValueError, match="2 batches an epoch are too few for 3"):
        len(sampler)


def test_epochs_differ_and_are_counted():
    sampler = RandomIdentitySampler(ITEMS, 4, 2)

    first, second = list(sampler), list(sampler)
    sampler.set_epoch(0)

    assert first != second
    assert list(sampler) == first


def test_no_global_random_state_is_read_or_advanced():
    random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002

    drawn = list(graph_sampler())

    random.seed(2)
    assert list(graph_sampler()) == drawn
    random.seed(1)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002


@pytest.mark.parametrize(
    "make", [lambda: RandomIdentitySampler(ITEMS, 4, 2), graph_sampler]
)
def test_loaders_take_the_sampler_or_its_batches(make):
    flat = DataLoader(range(12), batch_size=4, sampler=make())
    by_batch = DataLoader(range(12), batch_sampler=make().batches)

    assert len(flat) == len(by_batch)
    assert_close(list(flat), list(by_batch))


# --- the graph ---------------------------------------------------------------------


def test_a_batch_is_the_nearest_identities_and_then_the_identity():
    pairs = {
        tuple(dict.fromkeys(LABELS[i] for i in batch))
        for batch in graph_sampler().batches
    }

    assert pairs == {("bob", "ann"), ("eve", "bob"), ("bob", "eve"), ("eve", "kim")}


def test_a_graph_serves_as_many_epochs_as_it_is_said():
    asked = []

    def features(images):
        asked.append(images)
        return line(images)

    sampler = graph_sampler(features=features, refresh_every=2)
    batches = [list(sampler) for _ in range(4)]

    assert len(asked) == 2
    assert batches[0] != batches[1]


def test_the_length_is_right_before_any_epoch():
    sampler = graph_sampler()

    assert sampler.graph is None
    assert len(sampler) == 16 == len(list(sampler))


def test_graphs_are_saved(tmp_path):
    sampler = graph_sampler(save_path=tmp_path / "graphs")

    list(sampler)
    list(sampler)

    with np.load(tmp_path / "graphs" / "graph-0001.npz") as saved:
        np.testing.assert_array_equal(saved["neighbours"], sampler.graph.neighbours)
        np.testing.assert_array_equal(saved["images"], sampler.graph.images)


def test_identities_that_all_look_the_same_never_have_themselves_for_neighbours():
    graph = build_graph(
        np.arange(9), 3, lambda images: np.ones((len(images), 4)), None,
        share=Share(), sizes=(4, 4),
    )  # fmt: skip

    assert graph.neighbours[0].tolist() == [1, 2, 3]
    assert graph.neighbours[8].tolist() == [0, 1, 2]
    assert not (graph.neighbours == np.arange(9)[:, None]).any()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_features_are_asked_for_in_pieces(size):
    sizes = []

    def features(images):
        sizes.append(len(images))
        return line(images)

    list(graph_sampler(features=features, prob_batch_size=size))

    assert max(sizes) <= size
    assert sum(sizes) == 4


def test_one_row_an_image():
    with pytest.raises(InputValueError, match="got 1 rows for 4 images"):
        list(graph_sampler(features=lambda images: np.ones((1, 2))))


@pytest.mark.parametrize("options", [{"features": None}, {"model": nn.Identity()}])
def test_features_come_from_a_model_or_from_a_function(options):
    with pytest.raises(InputValueError, match="takes model= or features=, one of both"):
        graph_sampler(**options)


@pytest.mark.parametrize("name", ["gal_batch_size", "prob_batch_size", "refresh_every"])
def test_sizes_are_at_least_one(name):
    with pytest.raises(InputValueError, match="are whole numbers from 1, got 0"):
        graph_sampler(**{name: 0})


# --- networks ----------------------------------------------------------------------


class Net(nn.Module):
    """Gives the mean colour, and its length as AdaFace does."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        means = self.norm(x).mean((2, 3))
        return means, means.norm(dim=1, keepdim=True)


def paint(folder):
    for i, (x, y) in enumerate(line(range(12))):
        colour = int(128 + 120 * x), int(128 + 120 * y), 128
        Image.new("RGB", (112, 112), colour).save(folder / f"{i}.png")


def to_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1


@pytest.mark.parametrize("transformer", [None, to_tensor])
def test_a_network_sees_files_and_is_left_as_it_was(tmp_path, transformer):
    paint(tmp_path)
    net = Net().train()

    sampler = GraphSampler(ITEMS, tmp_path, transformer, net, None, 4, 2)
    list(sampler)

    assert net.training
    assert net.norm.num_batches_tracked == 0
    assert sampler.graph.neighbours.tolist() == [[1], [2], [1], [2]]


def test_a_network_sees_what_items_hold():
    items = [(torch.full((3, 2, 2), float(i // 3 - 1)), i // 3) for i in range(12)]

    sampler = GraphSampler(items, model=Net(), batch_size=4, num_instance=2)

    assert len(list(sampler)) == 16


# --- matchers ----------------------------------------------------------------------


def maps(n, seed=0):
    return torch.randn(n, 8, 3, 2, generator=torch.Generator().manual_seed(seed))


def trained_matcher():
    matcher = QAConv(8, 3, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*matcher.parameters(), matcher.bn.running_mean):
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return matcher.eval()


def test_qaconv_scores_places_by_their_best_matches():
    matcher, probe, gallery = trained_matcher(), maps(2), maps(3, seed=1)

    with torch.no_grad():
        scores = matcher(probe, gallery)

    for i, j in np.ndindex(2, 3):
        dots = probe[i].flatten(1).T @ gallery[j].flatten(1)  # (probe place, gallery's)
        both = torch.stack((dots.amax(0), dots.amax(1)))
        with torch.no_grad():
            score = matcher.fc(matcher.bn(both[:, None])[:, 0]).sum()
            score = matcher.logit_bn(score.reshape(1, 1))[0, 0]
        assert_close(scores[i, j], score)


def test_qaconv_has_the_official_keys():
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    keys = [f"bn.{x}" for x in norm] + ["fc.weight", "fc.bias"]

    assert list(QAConv(8, 3, 2).state_dict()) == keys + [f"logit_bn.{x}" for x in norm]


def test_qaconv_refuses_other_feature_maps():
    with pytest.raises(
        InputValueError, match=r"maps \(n, 8, 3, 2\), got \(2, 8, 2, 3\)"
    ):
        QAConv(8, 3, 2)(maps(2), maps(2).mT)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (100, 100)])
@pytest.mark.parametrize("is_module", [True, False])
def test_neighbours_by_a_matcher_are_those_of_all_its_scores(sizes, is_module):
    features, matcher = maps(9), trained_matcher()
    with torch.no_grad():
        scores = matcher(features, features).fill_diagonal_(-torch.inf)
    rows = np.array([0, 4, 8])

    called = matcher.train() if is_module else trained_matcher().forward
    found = nearest_by(called, features, rows, 3, sizes)

    np.testing.assert_array_equal(found, scores.topk(3).indices.numpy()[rows])
    assert matcher.training is is_module


def test_equal_scores_of_a_matcher_are_in_the_order_of_rows():
    found = nearest_by(
        lambda a, b: torch.zeros(len(a), len(b)), maps(6), np.array([1]), 3, (2, 2)
    )

    assert found.tolist() == [[0, 2, 3]]


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        (lambda a, b: torch.zeros(len(b)), r"finite scores \(2, 2\), got \(2,\)"),
        (lambda a, b: torch.full((len(a), len(b)), torch.nan), "with 4 others"),
    ],
)
def test_other_scores_of_a_matcher_are_refused(matcher, text):
    with pytest.raises(InputValueError, match=text):
        nearest_by(matcher, maps(2), np.arange(2), 1, (2, 2))


def test_a_matcher_decides_who_is_near():
    sampler = graph_sampler(matcher=lambda a, b: -(a @ b.T))

    list(sampler)

    assert sampler.graph.neighbours.tolist() == [[3], [3], [3], [0]]


# --- processes ---------------------------------------------------------------------


def counted_graph(rank):
    seen = []

    def features(images):
        seen.extend(images)
        return line(images)

    sampler = graph_sampler(features=features)
    batches = list(sampler.batches)
    return len(seen), sampler.graph.neighbours, batches


def test_processes_share_the_work_and_get_one_graph_and_other_batches(tmp_path):
    alone = graph_sampler()
    list(alone)

    with ranks(3, tmp_path) as on_ranks:
        seen = on_ranks(counted_graph)

    assert [n for n, _, _ in seen] == [2, 1, 1]
    for _, neighbours, batches in seen:
        np.testing.assert_array_equal(neighbours, alone.graph.neighbours)
        assert len(batches) == 1
    assert len({LABELS[batches[0][-1]] for _, _, batches in seen}) == 3
