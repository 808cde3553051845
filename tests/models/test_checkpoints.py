"""Checkpoints of every format are read, and no code in them is run."""

import collections
import io
import os
import pickle
import struct
import sys
import tarfile
import types

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from unfussy.errors import CheckpointError, MissingExtraError
from unfussy.models import _unpickler
from unfussy.models._checkpoints import read_state_dict, write_state_dict


@pytest.fixture
def weights():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


@pytest.fixture
def foreign(monkeypatch):
    """A class of a package that is gone when the checkpoint is read."""
    module = types.ModuleType("framework_of_2020")

    class ModelCheckpoint(dict):
        pass

    ModelCheckpoint.__module__ = module.__name__
    ModelCheckpoint.__qualname__ = "ModelCheckpoint"
    module.ModelCheckpoint = ModelCheckpoint
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return ModelCheckpoint


class Attack:
    """Pickles as a call of os.system."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


# --- formats -----------------------------------------------------------------------


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_plain_and_wrapped_state_dicts_are_read(tmp_path, weights, wrapper, is_zip):
    payload = weights if wrapper is None else {"epoch": 3, wrapper: weights}
    torch.save(payload, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)

    assert_close(read_state_dict(tmp_path / "x.pt"), weights, rtol=0, atol=0)


def test_safetensors_are_written_and_read(tmp_path, weights):
    tied = weights | {"tied": weights["a.weight"].T}
    file = tmp_path / "new" / "x.safetensors"

    write_state_dict(file, tied, {"model": "test"})

    assert_close(read_state_dict(file), tied, rtol=0, atol=0)
    assert [path.name for path in file.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_checkpoints_that_name_missing_classes_are_read(
    tmp_path, weights, foreign, monkeypatch, is_zip
):
    callback = foreign(best=1.0)
    callback.history = [{3}, frozenset({4})]
    payload = {
        "pytorch-lightning_version": "1.0.8",
        "callbacks": {foreign: {"best": torch.tensor(0.03)}, "instance": callback},
        "state_dict": collections.OrderedDict(weights),
        "sizes": (torch.Size([1]), torch.float32, {1, 2}),
        "hyper_parameters": types.SimpleNamespace(lr=1e-3),
        "lr_schedulers": [nn.Linear(2, 2)],
    }
    torch.save(payload, tmp_path / "x.ckpt", _use_new_zipfile_serialization=is_zip)
    monkeypatch.delitem(sys.modules, foreign.__module__)

    assert_close(read_state_dict(tmp_path / "x.ckpt"), weights, rtol=0, atol=0)
    assert foreign.__module__ not in sys.modules


def test_parameters_are_read_as_plain_tensors(tmp_path, weights, foreign, monkeypatch):
    parameters = {key: nn.Parameter(x) for key, x in weights.items()}
    torch.save({"state_dict": parameters, "by": foreign}, tmp_path / "x.pt")
    monkeypatch.delitem(sys.modules, foreign.__module__)

    read = read_state_dict(tmp_path / "x.pt")

    assert all(type(tensor) is torch.Tensor for tensor in read.values())
    assert not any(tensor.requires_grad for tensor in read.values())


@pytest.mark.filterwarnings("ignore:Python 3.14 will")  # of tarfile, in torch.load
def test_archives_of_the_earliest_years_are_read(tmp_path):
    values = torch.arange(6.0)

    with tarfile.open(tmp_path / "x.pth", "w") as archive:
        storages, tensors, objects = io.BytesIO(), io.BytesIO(), Persistent()
        for item in (1, (7, "cpu", torch.FloatStorage)):
            pickle.dump(item, storages, protocol=2)
        storages.write(struct.pack("<q", 6) + values.numpy().tobytes())
        pickle.dump([], storages, protocol=2)
        for item in (1, (8, 7, torch.FloatTensor)):
            pickle.dump(item, tensors, protocol=2)
        tensors.write(struct.pack("<i4xqqqqq", 2, 2, 3, 3, 1, 0))
        objects.dump({"w": "tensor 8"})
        for name, file in [
            ("storages", storages),
            ("tensors", tensors),
            ("pickle", objects.file),
        ]:
            member = tarfile.TarInfo(name)
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)

    assert_close(read_state_dict(tmp_path / "x.pth"), {"w": values.reshape(2, 3)})


class Persistent:
    """Writes "tensor 8" as the persistent object 8."""

    def __init__(self):
        self.file = io.BytesIO()

    def dump(self, value):
        pickler = pickle.Pickler(self.file, protocol=2)
        pickler.persistent_id = lambda x: 8 if x == "tensor 8" else None
        pickler.dump(value)


# --- attacks -----------------------------------------------------------------------


@pytest.mark.parametrize("is_zip", [True, False])
def test_calls_in_a_checkpoint_are_not_made(tmp_path, weights, is_zip):
    payload = {"state_dict": weights, "callbacks": Attack(tmp_path / "mark")}
    torch.save(payload, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)

    assert_close(read_state_dict(tmp_path / "x.pt"), weights, rtol=0, atol=0)
    assert not (tmp_path / "mark").exists()


def test_calls_in_a_bare_pickle_are_not_made(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Attack(tmp_path / "mark")))

    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state_dict(tmp_path / "x.pt")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__builtin__", "exec"),
        ("os", "system"),
        ("torch", "load"),
        ("torch", "FloatTensor"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("numpy", "load"),
    ],
)
def test_names_beyond_tensors_are_stand_ins(module, name):
    found = _unpickler.Unpickler(io.BytesIO()).find_class(module, name)

    made = found("touch", "mark")
    assert _unpickler.is_stand_in(made)
    assert made("again") is made


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage")],
)
def test_what_a_pickle_is_given_is_not_shared_with_the_program(module, name):
    reader = _unpickler.Unpickler(io.BytesIO())
    reader.name = "x.pt"  # it is otherwise an object like any

    reader.find_class(module, name).mark = True

    assert not hasattr(reader.find_class(module, name), "mark")
    assert not hasattr(getattr(sys.modules[module], name), "mark")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_programs_are_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.ReLU()), tmp_path / "x.pt")

    with pytest.raises(CheckpointError, match="TorchScript"):
        read_state_dict(tmp_path / "x.pt")


# --- what is no checkpoint ---------------------------------------------------------


@pytest.mark.parametrize("is_zip", [True, False])
def test_whole_modules_are_refused_with_the_way_to_save_them(tmp_path, is_zip):
    for payload in (nn.Linear(2, 2), {"model": nn.Linear(2, 2)}):
        file = tmp_path / "x.pt"
        torch.save(payload, file, _use_new_zipfile_serialization=is_zip)

        with pytest.raises(CheckpointError, match=r"whole pickled.*state_dict\(\)"):
            read_state_dict(file)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"epoch": 3, "weights": [1]}, "keys 'epoch', 'weights'"),
        ([torch.ones(2)], "it is of type list"),
        (torch.ones(2), "it is of type Tensor"),
        ({}, "no state dict"),
        ({1: torch.ones(2)}, "keys 1"),
    ],
)
def test_files_without_a_state_dict_are_refused(tmp_path, payload, message):
    torch.save(payload, tmp_path / "x.pt")

    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"PK\x03\x04 cut short", "cannot be read; it is cut short"),
        (b"neither this nor that", "cannot be read; it is cut short"),
        (b"\x80\x02.", "cannot be read"),
    ],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_other_files_are_refused_by_what_they_are(tmp_path, content, message, suffix):
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)

    with pytest.raises(CheckpointError, match=f"{file.name} .*{message}"):
        read_state_dict(file)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_truncated_files_are_refused(tmp_path, weights, part, is_zip):
    file = tmp_path / "x.pt"
    torch.save(weights, file, _use_new_zipfile_serialization=is_zip)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(CheckpointError, match="cut short"):
        read_state_dict(file)


def test_truncated_safetensors_are_refused(tmp_path, weights):
    file = tmp_path / "x.safetensors"
    write_state_dict(file, weights, {})
    file.write_bytes(file.read_bytes()[:-4])

    with pytest.raises(CheckpointError, match="cut short"):
        read_state_dict(file)


def test_a_missing_extra_is_named(tmp_path, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    monkeypatch.delitem(sys.modules, "unfussy.models._safetensors", raising=False)

    with pytest.raises(MissingExtraError, match=r"pip install 'unfussy\[weights\]'"):
        write_state_dict(tmp_path / "x.safetensors", weights, {})
