"""The four doors of VPoser: seeded, from a state dict, from files, and saved."""

import sys
import types

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.vposers import reference, small_vposer, small_vposer_v1
from unfussy.errors import CheckpointError, UnfussyError
from unfussy.models.vposer import VPoser, VPoserV1

KINDS = [small_vposer, small_vposer_v1]


def assert_same(model, other):
    assert type(model) is type(other)
    assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert not model.training


def body_model():
    """Return what the official trainer saved along: buffers of a body model."""
    return {"bm_train.f": torch.zeros(4, 3), "bm_train.weights": torch.ones(1, 6)}


def lightning(path, model, monkeypatch):
    """Write a checkpoint as the Lightning of 2020 did, naming a class of its own."""
    name = "lightning_of_2020"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    state = {f"vp_model.{key}": x for key, x in model.state_dict().items()}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        torch.save(
            {
                "epoch": 13,
                "pytorch-lightning_version": "1.0.8",
                "callbacks": {module.ModelCheckpoint: {"best": torch.tensor(0.03)}},
                "optimizer_states": [{"state": {}}],
                "state_dict": state | body_model(),
            },
            path,
        )


# --- seeded ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VPoser, VPoserV1])
def test_seeded_weights_are_the_same_and_private(kind):
    before = torch.get_rng_state()

    first, again = kind.from_config(64, 8), kind.from_config(num_neurons=64, latentD=8)

    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, again)
    other = kind.from_config(64, 8, seed=1)
    matrices = [x for x in first.parameters() if x.ndim > 1]
    others = [x for x in other.parameters() if x.ndim > 1]
    assert not any(torch.equal(x, y) for x, y in zip(matrices, others))


def test_seeded_weights_are_spread_as_usual():
    torch.manual_seed(0)
    usual, seeded = VPoser(64, 8).state_dict(), VPoser.from_config(64, 8).state_dict()

    for key, like in usual.items():
        assert seeded[key].shape == like.shape
        assert seeded[key].isfinite().all()
        if like.numel() > 100:
            assert_close(seeded[key].std(), like.std(), rtol=0.2, atol=0)
            assert seeded[key].abs().max() <= like.abs().max() * 1.2


def test_the_default_configuration_is_the_published_one():
    model = VPoser.from_config()

    assert (model.num_neurons, model.latentD) == (512, 32)


def test_official_configurations_are_taken():
    params = types.SimpleNamespace(num_neurons=16, latentD=4)

    model = VPoser.from_config(types.SimpleNamespace(model_params=params))

    assert (model.num_neurons, model.latentD) == (16, 4)


# --- state dicts -------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("prefix", ["", "vp_model.", "module.", "model.vp_model."])
def test_prefixes_and_body_models_do_not_matter(make, prefix):
    model = make()
    state = {f"{prefix}{key}": x for key, x in model.state_dict().items()}

    again = type(model).from_state_dict(state | body_model())

    assert_same(again, model)


@pytest.mark.parametrize("make", KINDS)
def test_counters_may_be_absent(make):
    model = make()
    state = {k: x for k, x in model.state_dict().items() if "num_batches" not in k}

    assert_same(type(model).from_state_dict(state), model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_precision_is_that_of_the_weights(dtype):
    model = small_vposer().to(dtype)

    assert_same(VPoser.from_state_dict(model.state_dict()), model)


def test_the_state_dict_is_copied():
    state = small_vposer().state_dict()
    model = VPoser.from_state_dict(state)

    state["encoder_net.2.weight"].zero_()

    assert model.encoder_net[2].weight.abs().max() > 0


def test_missing_foreign_and_misshapen_tensors_are_listed():
    state = small_vposer().state_dict()
    state["encoder_net.1.weight"] = torch.ones(66)
    state["extra.weight"] = state.pop("decoder_net.3.bias")

    with pytest.raises(CheckpointError) as caught:
        VPoser.from_state_dict(state)

    title = "VPoser v2 with num_neurons=64, latentD=8"
    assert str(caught.value).splitlines() == [
        f"the state dict does not hold the weights of {title}:",
        "  1 missing: decoder_net.3.bias",
        "  1 unexpected: extra.weight",
        "  1 of another shape: encoder_net.1.weight (66,), expected (63,)",
    ]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "neither 'encoder_net.2.weight' .v2. nor .* but nothing"),
        ({"net.encoder_net.2.weight": torch.ones(2, 2)}, "but 'net.encoder_net.2.w"),
        ({"encoder_net.2.weight": torch.tensor(1.0)}, "but 'encoder_net.2.weight'"),
        (torch.ones(2), "a state dict maps keys to tensors, got a Tensor"),
    ],
)
def test_other_weights_are_refused(state, message):
    with pytest.raises(UnfussyError, match=message):
        VPoser.from_state_dict(state)


def test_the_other_version_is_named():
    with pytest.raises(CheckpointError, match=r"is of VPoser v1: .* with VPoserV1"):
        VPoser.from_state_dict(small_vposer_v1().state_dict())
    with pytest.raises(CheckpointError, match=r"is of VPoser v2: .* with VPoser$"):
        VPoserV1.from_state_dict(small_vposer().state_dict())


# --- files -------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
def test_lightning_checkpoints_load_without_lightning(tmp_path, monkeypatch, make):
    lightning(tmp_path / "x.ckpt", make(), monkeypatch)

    assert_same(VPoser.from_pretrained(tmp_path / "x.ckpt"), make())


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_plain_state_dicts_load(tmp_path, make, suffix):
    torch.save(make().state_dict(), tmp_path / f"x{suffix}")

    assert_same(VPoser.from_pretrained(str(tmp_path / f"x{suffix}")), make())


def test_the_official_folder_loads_by_epoch_and_not_by_date(tmp_path, monkeypatch):
    snapshots = tmp_path / "V02_05" / "snapshots"
    snapshots.mkdir(parents=True)
    (tmp_path / "V02_05" / "V02_05.yaml").write_text("model_params: {}")
    new, old = small_vposer(), VPoser.from_config(16, 4)
    lightning(snapshots / "V02_05_epoch=13_val_loss=0.03.ckpt", new, monkeypatch)
    lightning(snapshots / "V02_05_epoch=08_val_loss=0.03.ckpt", old, monkeypatch)

    with pytest.warns(UserWarning, match=r"epoch=13.*checkpoint="):
        latest = VPoser.from_pretrained(tmp_path / "V02_05")

    assert_same(latest, new)
    assert_same(VPoser.from_pretrained(tmp_path / "V02_05", checkpoint=8), old)
    name = "V02_05_epoch=08_val_loss=0.03.ckpt"
    assert_same(VPoser.from_pretrained(tmp_path / "V02_05", checkpoint=name), old)
    assert_same(VPoser.from_pretrained(snapshots / name), old)


def test_the_official_folder_of_version_1_loads(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "TR00_004_00_WO_accad.ini").write_text("[All]")
    model = small_vposer_v1()
    torch.save(
        model.state_dict(),
        tmp_path / "snapshots" / "TR00_E096.pt",
        _use_new_zipfile_serialization=False,
    )

    assert_same(VPoser.from_pretrained(tmp_path), model)
    assert_same(VPoserV1.from_pretrained(tmp_path), model)


def test_errors_name_the_file_and_the_version(tmp_path):
    torch.save(small_vposer().state_dict(), tmp_path / "x.pt")
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "y.pt")

    with pytest.raises(CheckpointError, match=r"x\.pt is of VPoser v2"):
        VPoserV1.from_pretrained(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"y\.pt does not hold .* 'conv.weight'"):
        VPoser.from_pretrained(tmp_path / "y.pt")


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_who_has_no_weights_learns_where_they_are(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        FileNotFoundError, match=r"register at https://smpl-x.*snapshots/"
    ):
        VPoser.from_pretrained(path)


# --- saved -------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", ["vposer", "x.safetensors", "new/vposer", "v2.05"])
def test_saved_weights_load_again(tmp_path, make, name):
    model = make()

    file = model.save_pretrained(tmp_path / name)

    assert file.suffix == ".safetensors"
    assert_same(VPoser.from_pretrained(tmp_path / name), model)
    assert_same(VPoser.from_pretrained(file), model)


def test_half_precision_is_saved_as_it_is(tmp_path):
    model = small_vposer().bfloat16()
    model.save_pretrained(tmp_path)

    assert_same(VPoser.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("name", ["x.pt", "x.ckpt", "x.pth"])
def test_names_of_other_formats_are_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match=r"write x\.safetensors, or a folder's"):
        small_vposer().save_pretrained(tmp_path / name)


def test_loaded_models_encode(tmp_path):
    small_vposer().save_pretrained(tmp_path)

    model = VPoser.from_pretrained(tmp_path)

    known = reference()
    z = model.easy_encode(known["pose_body"].double().numpy(), return_numpy=True)
    np.testing.assert_allclose(z, known["mean"].numpy(), rtol=0, atol=1e-5)
