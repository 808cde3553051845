"""Which file a path means, and whether its weights are the model's."""

import sys
import types

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from unfussy.errors import CheckpointError
from unfussy.models import _locating
from unfussy.models._checkpoints import strip_prefixes
from unfussy.models._locating import CheckpointNotFoundError, find_weights
from unfussy.models._matching import load_strictly

# --- places ------------------------------------------------------------------------


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_a_file_means_itself(tmp_path):
    make(tmp_path, "any.name")
    file = tmp_path / "any.name"

    assert find_weights(str(file)) == file
    assert find_weights(file, "any.name") == file
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint 3 among 'any.nam"):
        find_weights(file, 3)


def test_a_folder_with_one_file_means_that(tmp_path):
    make(tmp_path, "model.safetensors", "config.json", "x.log")

    assert find_weights(tmp_path).name == "model.safetensors"


def test_snapshots_come_first(tmp_path):
    make(tmp_path, "old.pt")
    make(tmp_path / "snapshots", "TR00_E096.pt")

    assert find_weights(tmp_path).name == "TR00_E096.pt"


@pytest.mark.parametrize(
    ("names", "latest"),
    [
        (["V_epoch=08_v=0.3.ckpt", "V_epoch=13_v=0.3.ckpt"], "V_epoch=13_v=0.3.ckpt"),
        (["a_epoch=9.ckpt", "a_epoch=10.ckpt"], "a_epoch=10.ckpt"),
        (["TR00_E096.pt", "TR00_E100.pt"], "TR00_E100.pt"),
        (["last.ckpt", "epoch=0.ckpt"], "epoch=0.ckpt"),
    ],
)
@pytest.mark.parametrize("is_reversed", [True, False])
def test_of_several_the_highest_epoch_is_taken(tmp_path, names, latest, is_reversed):
    make(tmp_path / "snapshots", *(reversed(names) if is_reversed else names))

    with pytest.warns(UserWarning, match=rf"taking {latest}.*checkpoint="):
        assert find_weights(tmp_path).name == latest


@pytest.mark.parametrize("choice", ["epoch=08.ckpt", "epoch=08", 8])
def test_one_of_several_can_be_chosen(tmp_path, choice):
    make(tmp_path, "epoch=08.ckpt", "epoch=13.ckpt")

    assert find_weights(tmp_path, choice).name == "epoch=08.ckpt"
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint 9 among 'epoch="):
        find_weights(tmp_path, 9)


def test_several_without_an_epoch_are_refused(tmp_path):
    make(tmp_path, "a.pt", "b.pt")

    with pytest.raises(
        CheckpointError, match=r"checkpoint= and one of 'a\.pt', 'b\.pt'"
    ):
        find_weights(tmp_path)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "found nothing"),
        (["a.log"], "found a.log"),
        ([f"{i}.log" for i in range(6)], "found 0.log, 1.log, 2.log, 3.log and 2 more"),
    ],
)
def test_folders_without_weights_tell_what_they_hold(tmp_path, names, found):
    make(tmp_path, *names)

    with pytest.raises(FileNotFoundError, match=rf"\*\.ckpt.*{found}\. Register"):
        find_weights(tmp_path, advice="Register.")


@pytest.mark.parametrize("path", ["missing", "a/b/c", "runs/x.ckpt", "./a", "/a/b"])
def test_missing_files_are_not_looked_for_elsewhere(path, monkeypatch):
    monkeypatch.setattr(_locating, "weights_extra", pytest.fail)

    with pytest.raises(CheckpointNotFoundError, match=r"no file or folder .*Register"):
        find_weights(path, advice="Register.")


def test_repositories_are_fetched(tmp_path, monkeypatch):
    make(tmp_path, "model.safetensors")
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(tmp_path)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.delitem(sys.modules, "unfussy.models._hub", raising=False)

    found = find_weights("someone/vposer-small")

    assert found == tmp_path / "model.safetensors"
    assert asked[0][0] == "someone/vposer-small"
    assert "*.safetensors" in asked[0][1]
    monkeypatch.delitem(sys.modules, "unfussy.models._hub")


def test_without_the_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "unfussy.models._hub", raising=False)

    with pytest.raises(CheckpointNotFoundError, match=r"unfussy\[weights\].*Register"):
        find_weights("someone/vposer", advice="Register.")


# --- keys --------------------------------------------------------------------------


def test_prefixes_are_cut_off_in_any_order():
    weights = {"a.weight": torch.ones(2), "a.bias": torch.zeros(2)}
    state = {f"module.model.{key}": x for key, x in weights.items()}

    assert strip_prefixes(state, ["model.", "module."]) == weights
    assert strip_prefixes({"models.a": 1}, ["model."]) == {"models.a": 1}


def test_keys_that_collide_are_refused():
    with pytest.raises(CheckpointError, match="two tensors are called 'a'"):
        strip_prefixes({"a": 1, "model.a": 2}, ["model."])


def test_weights_that_match_are_copied():
    module = nn.BatchNorm1d(2)
    state = {key: x + 3 for key, x in module.state_dict().items()}
    state.pop("num_batches_tracked")

    load_strictly(module, state, title="norm")

    assert_close(module.running_mean, torch.full((2,), 3.0))
    state["running_mean"].zero_()
    assert_close(module.running_mean, torch.full((2,), 3.0))


def test_weights_that_differ_are_listed():
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    state = module.state_dict()
    for key in list(state)[:6]:
        state[f"n.{key}"] = state.pop(key)
    state["3.bias"] = torch.zeros(3)

    with pytest.raises(CheckpointError) as caught:
        load_strictly(module, state, title="the net", source="x.pt")

    assert str(caught.value).splitlines() == [
        "x.pt does not hold the weights of the net:",
        "  6 missing: 0.weight; 0.bias; 1.weight; 1.bias; and 2 more",
        "  6 unexpected: n.0.weight; n.0.bias; n.1.weight; n.1.bias; and 2 more",
        "  1 of another shape: 3.bias (3,), expected (2,)",
    ]
