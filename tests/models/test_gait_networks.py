"""The gait networks: official keys, official numbers, and what they refuse."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

from tests.models.filling import filled
from tests.models.gaits import (
    KINDS,
    TINY,
    inputs,
    manifests,
    new_tiny,
    official,
    reference,
    relative,
    tiny,
    walk,
)
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.gait import (
    DeepGaitV2,
    GaitBase,
    SkeletonGaitPP,
    XGait,
    runs_of,
)
from unfussy.models.gait.attention import PartGate
from unfussy.models.gait.heads import PartNecks

OFFICIAL = {
    "deepgaitv2_2d": (DeepGaitV2, {"mode": "2d"}),
    "deepgaitv2_3d": (DeepGaitV2, {"mode": "3d"}),
    "deepgaitv2_p3d": (DeepGaitV2, {}),
    "deepgaitv2_p3d_1111": (DeepGaitV2, {"layers": (1, 1, 1, 1), "class_num": 74}),
    "gaitbase": (GaitBase, {}),
    "skeletongaitpp": (SkeletonGaitPP, {}),
    "skeletongaitpp_1111": (SkeletonGaitPP, {"layers": (1,) * 4, "class_num": 100}),
    "xgait": (XGait, {}),
}


def lines(state):
    return [
        " ".join(filter(None, (key, "x".join(map(str, x.shape)), str(x.dtype)[6:])))
        for key, x in state.items()
    ]


# --- keys and numbers ----------------------------------------------------------------


@pytest.mark.parametrize("name", OFFICIAL)
def test_keys_shapes_and_their_order_are_official(name):
    kind, settings = OFFICIAL[name]

    with torch.device("meta"):
        found = lines(kind(**settings).state_dict())

    assert found == [" ".join(line) for line in manifests()[name]]


@pytest.mark.parametrize(
    ("name", "manifest", "kind"),
    [("base", "gaitbase", GaitBase), ("p3d", "deepgaitv2_p3d_1111", DeepGaitV2)],
)
def test_embeddings_are_official(name, manifest, kind):
    state = {k: x for k, x in official(manifest).items() if "BNNecks" not in k}
    model, numbers = kind.from_state_dict(filled(state)), reference()
    lengths = ("s2", "s12", "s1")

    found = model.easy_embed([numbers[f"sil_{length}"] for length in lengths])

    for embedding, length in zip(found, lengths):
        assert relative(embedding[None], numbers[f"{name}_{length}"]) < 5e-6


def test_necks_give_official_scores():
    necks, numbers = PartNecks(16, 256, 74), reference()
    state = official("deepgaitv2_p3d_1111")
    weights = filled({k: x for k, x in state.items() if k.startswith("BNNecks.")})
    necks.load_state_dict({k.removeprefix("BNNecks."): x for k, x in weights.items()})

    with torch.no_grad():
        units, scores = necks.eval()(torch.from_numpy(numbers["p3d_s12"]))

    assert relative(units, numbers["p3d_neck_s12"]) < 5e-6
    assert relative(scores[:, :8], numbers["p3d_logits_s12"]) < 5e-6


def test_seeded_networks_are_of_the_official_size():
    model = DeepGaitV2.from_config(layers=(1, 1, 1, 1), class_num=None)

    assert (model.parts, model.embedding_dim) == (16, 256)
    assert model.easy_embed([]).shape == (0, 256, 16)
    assert not any("BNNecks" in key for key in model.state_dict())


# --- shapes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_dense_frames_and_frames_on_one_axis_are_the_same(name):
    model, x = tiny(name), inputs(name, (2, 3))

    with torch.no_grad():
        dense = model(*x)
        packed = model(*(part.flatten(0, 1) for part in x), lengths=[3, 3])

    assert dense.shape == (2, 5, model.parts)
    assert_close(packed, dense, rtol=0, atol=0)


@pytest.mark.parametrize("name", KINDS)
def test_lengths_may_differ(name):
    model, x = tiny(name), inputs(name, (1, 7))

    with torch.no_grad():
        packed = model(*(part[0] for part in x), lengths=[2, 1, 4])
        alone = [model(*(p[:, a:b] for p in x)) for a, b in ((0, 2), (2, 3), (3, 7))]

    assert relative(packed, torch.cat(alone)) < 1e-6


def test_one_channel_may_be_left_out():
    (x,) = inputs("base", (1, 2))

    with torch.no_grad():
        assert torch.equal(tiny("base")(x[:, :, 0]), tiny("base")(x))


def test_larger_frames_have_the_same_parts():
    x = torch.rand(1, 2, 128, 88)

    with torch.no_grad():
        found = tiny("p3d")(x), tiny("x")(x.floor(), x)

    assert [part.shape for part in found] == [(1, 5, 4), (1, 5, 16)]


def test_strips_may_have_several_sizes():
    model = new_tiny("base", strips=7)

    with torch.no_grad():
        found = model(*inputs("base", (1, 2)))

    assert model.bins == (4, 2, 1)
    assert found.shape == (1, 5, 7)


# --- attention -----------------------------------------------------------------------


def test_xgait_takes_parsing_first():
    labels, levels = inputs("x", (1, 3))

    with torch.no_grad():
        right, wrong = tiny("x")(labels, levels), tiny("x")(levels, labels)

    assert relative(wrong, right) > 1e-2


def test_gates_see_the_top_quarter_of_silhouettes_for_every_part():
    gate = tiny("x").pcm_down
    maps = torch.rand(2, 2, 10, 16, 11)
    labels = torch.randint(0, 12, (2, 1, 16, 11)).float()
    changed = maps[0].clone()
    changed[:, :, :4] += 1

    with torch.no_grad():
        before, after = gate(maps[0], maps[1], labels), gate(changed, maps[1], labels)

    assert before.shape == (2, 10, 4, 11)
    assert not torch.allclose(before, after)  # of rows 12 to 15


def test_gates_tell_parts_by_their_labels():
    gate = PartGate("up", 10, reduction=5)
    gate.load_state_dict({k: torch.ones_like(x) for k, x in gate.state_dict().items()})
    maps = torch.rand(2, 1, 10, 16, 11) / 100
    labels = torch.zeros(1, 1, 16, 11)

    with torch.no_grad():
        found = [gate(maps[0], maps[1], labels + label) for label in (0, 1, 2)]

    assert torch.equal(found[0], found[2])
    assert (found[0] < found[1]).all()


def test_fused_weights_add_up_to_one():
    fusion, maps = tiny("skeleton").fusion, torch.rand(3, 4, 16, 11)

    with torch.no_grad():
        assert_close(fusion(maps, maps), maps)


# --- training ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_gradients_reach_every_weight(name):
    model = new_tiny(name).train()

    _, scores = model.classify(model(*inputs(name, (3, 3))))
    scores.logsumexp(1).sum().backward()

    idle = [k for k, p in model.named_parameters() if p.grad is None]
    assert idle == []


def test_batch_norm_of_one_axis_is_that_of_a_dense_batch():
    dense, packed = new_tiny("p3d").train(), new_tiny("p3d").train()
    (x,) = inputs("p3d", (2, 3))

    dense(x)
    packed(x.flatten(0, 1), lengths=[3, 3])

    assert_close(dict(dense.state_dict()), dict(packed.state_dict()))


# --- refused -------------------------------------------------------------------------


def test_frames_with_margins_are_refused():
    with pytest.raises(InputValueError, match="without their margins, 64 x 44 or 128"):
        tiny("base")(torch.zeros(1, 2, 64, 64))


@pytest.mark.parametrize("shape", [(3, 64, 44), (1, 2, 2, 64, 44), (64, 44)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputValueError, match=r"\(n, s, H, W\) or \(n, s, 1, H, W\)"):
        tiny("base")(torch.zeros(shape))


def test_lengths_have_to_add_up():
    with pytest.raises(InputValueError, match="add up to 4 frames, but there are 5"):
        tiny("base")(torch.zeros(5, 64, 44), lengths=[2, 2])


def test_empty_sequences_are_refused():
    with pytest.raises(InputValueError, match="sequence 1 has 0 frames"):
        runs_of([2, 0], 2)
    with pytest.raises(InputValueError, match="has no frames"):
        tiny("base")(torch.zeros(2, 0, 64, 44))


def test_heights_without_equal_strips_are_refused():
    with pytest.raises(InputValueError, match="15 rows has no 4 equal strips"):
        tiny("base")(torch.zeros(1, 1, 60, 44))


def test_other_precisions_and_kinds_are_refused():
    with pytest.raises(InputTypeError, match="frames in its own torch.float32"):
        tiny("base")(torch.zeros(1, 1, 64, 44, dtype=torch.float64))
    with pytest.raises(InputTypeError, match="takes a tensor, got list"):
        tiny("base")([1.0])


def test_parsing_and_silhouettes_have_one_shape():
    with pytest.raises(InputValueError, match="parsing and silhouettes have one shape"):
        tiny("x")(torch.zeros(1, 2, 64, 44), torch.zeros(1, 3, 64, 44))


def test_networks_that_there_are_not_are_refused():
    with pytest.raises(InputValueError, match="mode is 'p3d', '3d' or '2d', got '4d'"):
        DeepGaitV2("4d")
    with pytest.raises(InputValueError, match="layers are four numbers from 1"):
        DeepGaitV2(layers=(1, 4, 4))
    with pytest.raises(InputValueError, match="parts are a power of two"):
        GaitBase(**TINY | {"strips": 12})


def test_classifying_needs_necks():
    with pytest.raises(InputValueError, match="no BNNecks"):
        new_tiny("base", class_num=None).classify(torch.zeros(1, 5, 4))


# --- copies --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p3d", "x"])
def test_copies_and_pickles_give_the_same(name):
    model, sequence = tiny(name), walk(name, 3)

    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))  # noqa: S301
    found = [other.easy_embed(sequence) for other in copies]

    wanted = model.easy_embed(sequence)
    assert torch.equal(found[0], wanted)
    assert torch.equal(found[1], wanted)


def test_a_traced_network_gives_the_same():
    model, x = new_tiny("p3d", layers=(1, 1, 1, 1)), inputs("p3d", (2, 3))

    program = torch.export.export(model, x)

    with torch.no_grad():
        assert relative(program.module()(*x), model(*x)) < 1e-6
