"""The four doors of AdaFace: seeded, from a state dict, from files, and saved."""

import sys
import types

import pytest
import torch
from torch.testing import assert_close

from tests.models.adafaces import (
    TINY,
    faces,
    reference,
    small_adaface,
    tiny_adaface,
)
from unfussy.errors import CheckpointError, InputTypeError, InputValueError
from unfussy.models.adaface import (
    ARCHITECTURES,
    AdaFace,
    OcclusionAdaFace,
    load_pretrained_model,
)


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


def tiny_with_head(version):
    return tiny_adaface(OcclusionAdaFace, version=version)


def assert_same(model, other):
    assert type(model) is type(other)
    assert model.architecture == other.architecture
    assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert not model.training


def trained(model, prefix="model."):
    """Return a state dict as the trainer saves it, with the classes it learnt."""
    head = {"head.kernel": torch.ones(512, 7), "head.t": torch.zeros(1)}
    head |= {"head.batch_mean": torch.ones(1), "head.batch_std": torch.ones(1)}
    return {f"{prefix}{key}": x for key, x in model.state_dict().items()} | head


def lightning(path, model, monkeypatch):
    """Write a checkpoint as the trainer does, naming a class that goes away."""
    name = "lightning_of_2022"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        torch.save(
            {
                "epoch": 25,
                "pytorch-lightning_version": "1.5.0",
                "hyper_parameters": {"arch": "ir_101"},  # not to be relied on
                "callbacks": {module.ModelCheckpoint: {"best": torch.tensor(0.9)}},
                "optimizer_states": [{"state": {}}],
                "state_dict": trained(model),
            },
            path,
        )


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


# --- seeded ------------------------------------------------------------------------


def test_seeded_weights_are_the_same_and_private():
    before = torch.get_rng_state()

    first, again = AdaFace.from_config("ir_18"), AdaFace.from_config("ir_18", seed=0)

    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, again)
    other = AdaFace.from_config("ir_18", 1)
    key = "body.3.res_layer.1.weight"
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_seeded_weights_are_spread_as_officially():
    state = AdaFace.from_config("ir_18").state_dict()

    for key, outputs in {
        "input_layer.0.weight": 64 * 9,
        "body.3.res_layer.4.weight": 128 * 9,
        "output_layer.3.weight": 512,
    }.items():
        spread = torch.tensor((2 / outputs) ** 0.5)
        assert_close(state[key].std(), spread, rtol=0.05, atol=0)
    assert state["output_layer.3.bias"].count_nonzero() == 0
    assert state["body.0.res_layer.3.weight"].unique().tolist() == [0.25]


def test_the_default_is_the_architecture_of_the_paper():
    with torch.device("meta"):
        assert AdaFace().architecture.name == "ir_50"


@pytest.mark.parametrize("version", [1, 2])
def test_models_with_a_head_are_seeded_too(version):
    model = OcclusionAdaFace.from_config("ir_18", version=version)

    assert model.version == version
    assert not model.training
    assert all(x.isfinite().all() for x in model.state_dict().values())


# --- state dicts -------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "net.", "module.model."])
def test_prefixes_and_classes_do_not_matter(prefix):
    model = tiny_adaface()

    assert_same(AdaFace.from_state_dict(trained(model, prefix)), model)


def test_counters_may_be_absent():
    model = tiny_adaface()
    state = {k: x for k, x in model.state_dict().items() if "num_batches" not in k}

    assert_same(AdaFace.from_state_dict(state), model)


def test_the_state_dict_is_copied():
    state = tiny_adaface().state_dict()
    model = AdaFace.from_state_dict(state)

    state["output_layer.3.weight"].zero_()

    assert model.output_layer[3].weight.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_precision_is_that_of_the_weights(dtype):
    model = tiny_adaface().to(dtype)

    assert_same(AdaFace.from_state_dict(model.state_dict()), model)


@pytest.mark.parametrize(
    "name", ["ir_34", "ir_50", "ir_101", "ir_152", "ir_200", "ir_se_18", "ir_se_200"]
)
def test_architectures_are_inferred(name, monkeypatch):
    module = "unfussy.models.adaface.model.build_filled"
    monkeypatch.setattr(module, lambda make, state, **_: make())
    with torch.device("meta"):
        state = AdaFace(name).state_dict()
        found = AdaFace.from_state_dict(state)

    assert found.architecture.name == name


def test_the_size_of_faces_is_inferred():
    model = tiny_adaface(size=224)

    assert AdaFace.from_state_dict(model.state_dict()).size == 224


def test_missing_foreign_and_misshapen_tensors_are_listed():
    state = tiny_adaface().state_dict()
    state["input_layer.1.weight"] = torch.ones(66)
    state["extra.weight"] = state.pop("output_layer.3.bias")

    with pytest.raises(CheckpointError) as caught:
        AdaFace.from_state_dict(state)

    assert str(caught.value).splitlines() == [
        "the state dict does not hold the weights of AdaFace tiny:",
        "  1 missing: output_layer.3.bias",
        "  1 unexpected: extra.weight",
        "  1 of another shape: input_layer.1.weight (66,), expected (16,)",
    ]


def test_other_weights_are_refused():
    state = tiny_adaface().state_dict()
    cut = {k: x for k, x in state.items() if not k.startswith("body.4.")}
    small = state | {"output_layer.3.weight": torch.ones(512, 32 * 4)}

    with pytest.raises(CheckpointError, match=r"has 4 basic units, .*\(ir_18, .*cut"):
        AdaFace.from_state_dict(cut)
    with pytest.raises(CheckpointError, match=r"for faces of 32 pixels"):
        AdaFace.from_state_dict(small)
    with pytest.raises(CheckpointError, match=r"lacks .* and has 'conv.weight'"):
        AdaFace.from_state_dict({"conv.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match="has nothing"):
        AdaFace.from_state_dict({})
    with pytest.raises(InputTypeError, match="got a Tensor"):
        AdaFace.from_state_dict(torch.ones(2))


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_the_head_are_told_apart(version):
    model = tiny_with_head(version)

    assert model.version == version
    again = OcclusionAdaFace.from_state_dict(trained(model))
    assert_same(again, model)


def test_the_other_class_is_named():
    with pytest.raises(CheckpointError, match="head: load it with OcclusionAdaFace"):
        AdaFace.from_state_dict(tiny_with_head(2).state_dict())
    with pytest.raises(
        CheckpointError, match="no occlusion head: load it with AdaFace"
    ):
        OcclusionAdaFace.from_state_dict(tiny_adaface().state_dict())


# --- files -------------------------------------------------------------------------


def test_lightning_checkpoints_load_without_lightning(tmp_path, monkeypatch):
    lightning(tmp_path / "adaface_ir18_casia.ckpt", tiny_adaface(), monkeypatch)

    model = AdaFace.from_pretrained(tmp_path / "adaface_ir18_casia.ckpt")

    assert_same(model, tiny_adaface())


def test_no_code_of_a_file_is_run(tmp_path):
    mark = tmp_path / "mark"
    payload = {"state_dict": trained(tiny_adaface()), "bomb": Bomb(mark)}
    torch.save(payload, tmp_path / "x.ckpt")

    model = AdaFace.from_pretrained(tmp_path / "x.ckpt")

    assert not mark.exists()
    assert_same(model, tiny_adaface())


@pytest.mark.parametrize("version", [1, 2])
def test_files_with_a_head_give_a_model_that_has_it(tmp_path, version):
    model = tiny_with_head(version)
    torch.save({"state_dict": trained(model)}, tmp_path / "x.ckpt")

    assert_same(AdaFace.from_pretrained(tmp_path / "x.ckpt"), model)
    assert_same(OcclusionAdaFace.from_pretrained(tmp_path / "x.ckpt"), model)


def test_the_architecture_that_is_asked_for_has_to_be_the_file_s(tmp_path):
    torch.save(trained(tiny_adaface(), "net."), tmp_path / "x.pt")

    assert_same(load_pretrained_model("tiny", tmp_path / "x.pt"), tiny_adaface())
    with pytest.raises(CheckpointError, match=r"x\.pt is of tiny, not of ir_50"):
        load_pretrained_model("ir_50", tmp_path / "x.pt")
    with pytest.raises(InputValueError, match="no architecture 'r50'; there are ir_18"):
        load_pretrained_model("r50", tmp_path / "x.pt")


def test_asking_for_an_architecture_may_give_a_head(tmp_path):
    torch.save(trained(tiny_with_head(1)), tmp_path / "x.pt")

    model = load_pretrained_model("tiny", tmp_path / "x.pt")

    assert isinstance(model, OcclusionAdaFace)


def test_who_has_no_weights_learns_where_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"https://github.com/mk-minchul/AdaF"):
        AdaFace.from_pretrained(tmp_path / "adaface_ir50_ms1mv2.ckpt")


# --- saved -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tiny_adaface, lambda: tiny_with_head(1)])
@pytest.mark.parametrize("name", ["faces", "x.safetensors"])
def test_saved_weights_load_again(tmp_path, make, name):
    model = make()

    file = model.save_pretrained(tmp_path / name)

    assert file.suffix == ".safetensors"
    assert_same(AdaFace.from_pretrained(tmp_path / name), model)


def test_weights_in_channels_last_are_saved(tmp_path):
    model = tiny_adaface().to(memory_format=torch.channels_last)

    model.save_pretrained(tmp_path)

    assert_same(AdaFace.from_pretrained(tmp_path), tiny_adaface())


def test_names_of_other_formats_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"write x\.safetensors, or a folder's"):
        tiny_adaface().save_pretrained(tmp_path / "x.ckpt")


def test_loaded_models_embed(tmp_path):
    small_adaface().save_pretrained(tmp_path)

    embedding = AdaFace.from_pretrained(tmp_path).easy_embed(faces())

    known = torch.from_numpy(reference()["g10_embedding"])
    assert_close(embedding, known, rtol=0, atol=3e-6)
