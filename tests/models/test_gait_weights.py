"""The four doors of gait models: seeded, from a state dict, from files, and saved."""

from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from tests.models.gaits import KINDS, TINY, inputs, new_tiny, tiny
from unfussy.errors import CheckpointError, InputTypeError, InputValueError
from unfussy.models.gait import DeepGaitV2, GaitBase, SkeletonGaitPP, XGait, kind_of

CLASSES = {"p3d": DeepGaitV2, "base": GaitBase, "skeleton": SkeletonGaitPP, "x": XGait}
TITLES = {"p3d": "DeepGaitV2", "base": "GaitBase", "x": "XGait"}
TITLES["skeleton"] = "SkeletonGaitPP"


def weights(name, **settings):
    return new_tiny(name, **settings).state_dict()


def assert_same(model, other):
    assert type(model) is type(other)
    assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert not model.training


def training_checkpoint(path, state, prefix=""):
    """Write what a training run writes."""
    torch.save(
        {
            "model": {f"{prefix}{key}": x for key, x in state.items()},
            "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}},
            "scheduler": {"milestones": Counter({20000: 1}), "last_epoch": 7},
            "iteration": 60000,
        },
        path,
    )


# --- seeded ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_seeded_weights_are_the_same_and_private(name):
    (kind, own), before = KINDS[name], torch.get_rng_state()

    first, again = (kind.from_config(**TINY | own, seed=3) for _ in range(2))

    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, again)
    other = kind.from_config(**TINY | own)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("name", KINDS)
def test_seeded_networks_neither_die_nor_explode(name):
    kind, own = KINDS[name]
    model = kind.from_config(**own, class_num=None)

    with torch.no_grad():
        found = model(*(x[:1, :2] for x in inputs(name, (1, 2))))

    assert 0.05 < found.std() < 50
    assert found.isfinite().all()


# --- from a state dict ---------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_settings_are_read_off_the_weights(name):
    model = tiny(name)

    found = type(model).from_state_dict(model.state_dict())

    assert_same(found, model)
    assert found.kinds == model.kinds
    assert found.bins == model.bins


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": (2, 1, 3, 1)},
        {"channels": (4, 4, 4, 4)},
        {"strips": 7},
        {"embedding_dim": 3},
        {"class_num": 11},
        {"class_num": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", CLASSES)
def test_any_configuration_is_inferred(name, settings):
    if name == "x" and "channels" in settings:
        settings = settings | {"reduction": 2}
    model = new_tiny(name, **settings)

    found = CLASSES[name].from_state_dict(model.state_dict())

    assert_same(found, model)
    for setting, value in settings.items():
        if hasattr(model, setting):
            assert getattr(found, setting) == value


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_models_have_the_precision_of_their_weights(dtype):
    state = {
        k: x.to(dtype) if x.is_floating_point() else x
        for k, x in weights("base").items()
    }

    model = GaitBase.from_state_dict(state)

    assert model.inference_dtype == dtype
    assert model.easy_embed([torch.zeros(1, 64, 44)]).dtype in {dtype, torch.float32}


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model."])
def test_prefixes_are_cut_off(prefix):
    state = {f"{prefix}{key}": x for key, x in weights("p3d").items()}

    assert_same(DeepGaitV2.from_state_dict(state), tiny("p3d"))


def test_what_is_around_the_weights_is_taken_off():
    outer = {"model": weights("base"), "iteration": 7}

    assert_same(GaitBase.from_state_dict(outer), tiny("base"))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("missing", ["BNNecks", "bn1d"])
def test_necks_may_be_missing(name, missing):
    state = {k: x for k, x in weights(name).items() if missing not in k}

    model = CLASSES[name].from_state_dict(state)

    assert model.class_num is None
    with torch.no_grad():
        x = inputs(name, (1, 2))
        assert torch.equal(model(*x), tiny(name)(*x))


def test_counters_may_be_missing():
    state = {k: x for k, x in weights("p3d").items() if "num_batches" not in k}

    assert_same(DeepGaitV2.from_state_dict(state), tiny("p3d"))


def test_the_model_has_a_copy():
    state = weights("base")
    model = GaitBase.from_state_dict(state)

    next(iter(state.values())).zero_()

    assert_same(model, tiny("base"))


# --- refused -------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", CLASSES)
@pytest.mark.parametrize("given", CLASSES)
def test_another_class_is_named(wanted, given):
    state = weights(given)

    assert kind_of(state) == TITLES[given]
    if wanted == given:
        return
    with pytest.raises(CheckpointError) as caught:
        CLASSES[wanted].from_state_dict(state)
    text = f"holds weights of {TITLES[given]}, not of {TITLES[wanted]}: load it with"
    assert text in str(caught.value)


def test_another_mode_than_expected_is_refused():
    assert_same(DeepGaitV2.from_state_dict(weights("2d"), mode="2d"), tiny("2d"))
    with pytest.raises(CheckpointError, match="mode='2d', not 'p3d'"):
        DeepGaitV2.from_state_dict(weights("2d"), mode="p3d")
    with pytest.raises(CheckpointError, match=r"layers=\(2, 1, 1, 1\), not \(1, 4"):
        DeepGaitV2.from_state_dict(weights("2d"), layers=[1, 4, 4, 1])
    with pytest.raises(InputValueError, match="no setting 'depth', only mode, layers"):
        DeepGaitV2.from_state_dict(weights("2d"), depth=3)


def test_the_older_baseline_is_told_apart():
    state = {"Backbone.forward_block.feature.0.conv.weight": torch.zeros(64, 1, 5, 5)}
    state |= {"FCs.fc_bin": torch.zeros(31, 256, 256)}

    with pytest.raises(CheckpointError, match=r"the plain network .* called Baseline"):
        GaitBase.from_state_dict(state)


def test_weights_of_something_else_are_refused():
    with pytest.raises(CheckpointError, match="nor of XGait.*it has 'fc.weight'"):
        GaitBase.from_state_dict({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match="it has no tensor"):
        GaitBase.from_state_dict({})
    with pytest.raises(InputTypeError, match="maps keys to tensors, got a list"):
        GaitBase.from_state_dict([])


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_but_necks_may_be_missing(name):
    state = weights(name)
    needed = [key for key in state if "BNNecks" not in key and "num_b" not in key]

    for key in needed[::4]:
        less = {other: x for other, x in state.items() if other != key}
        with pytest.raises(CheckpointError):
            CLASSES[name].from_state_dict(less)


def test_what_is_missing_is_listed():
    state = weights("p3d")
    del state["layer3.0.sbn.bias"]

    with pytest.raises(CheckpointError, match="1 missing: layer3.0.sbn.bias"):
        DeepGaitV2.from_state_dict(state)


def test_what_is_too_much_is_listed():
    state = weights("p3d") | {"layer5.weight": torch.zeros(2)}

    with pytest.raises(CheckpointError, match="1 unexpected: layer5.weight"):
        DeepGaitV2.from_state_dict(state)


def test_other_shapes_are_listed():
    state = weights("base")
    state["Backbone.forward_block.bn1.weight"] = torch.zeros(9)

    with pytest.raises(CheckpointError, match=r"bn1.weight \(9,\), expected \(4,\)"):
        GaitBase.from_state_dict(state)


def test_tensors_of_other_dimensions_are_refused():
    state = weights("base")
    state["FCs.fc_bin"] = torch.zeros(3)

    with pytest.raises(CheckpointError, match=r"FCs.fc_bin has 3 dimensions .* \(3,\)"):
        GaitBase.from_state_dict(state)


# --- files ---------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", CLASSES)
def test_official_checkpoints_are_read(name, prefix, tmp_path):
    file = tmp_path / "Model-60000.pt"
    training_checkpoint(file, weights(name), prefix)

    assert_same(CLASSES[name].from_pretrained(file), tiny(name))


def test_plain_state_dicts_are_read(tmp_path):
    torch.save(weights("base"), tmp_path / "base.pt")

    assert_same(GaitBase.from_pretrained(tmp_path / "base.pt"), tiny("base"))


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_saved_is_read(name, tmp_path):
    pytest.importorskip("safetensors")

    file = tiny(name).save_pretrained(tmp_path / "gait")

    assert file.name == "model.safetensors"
    assert_same(CLASSES[name].from_pretrained(tmp_path / "gait"), tiny(name))


def test_errors_name_the_file(tmp_path):
    training_checkpoint(tmp_path / "p3d.pt", weights("p3d"))

    with pytest.raises(CheckpointError, match=r"p3d\.pt holds weights of DeepGaitV2"):
        GaitBase.from_pretrained(tmp_path / "p3d.pt")
    with pytest.raises(CheckpointError, match=r"p3d\.pt .* mode='p3d', not '3d'"):
        DeepGaitV2.from_pretrained(tmp_path / "p3d.pt", mode="3d")
    with pytest.raises(CheckpointError, match="opengait/OpenGait"):
        GaitBase.from_pretrained(tmp_path / "none.pt")
