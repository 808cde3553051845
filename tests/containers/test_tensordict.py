"""Containers of TensorDict: device, lock, names and other data stay what they were."""

from typing import Any

import pytest
import torch
from tensordict import (
    LazyStackedTensorDict,
    NonTensorData,
    TensorDict,
    TensorDictParams,
    tensorclass,
)

from tests.givers import InPlace, OnMeta
from unfussy import tree_leaves, tree_map, tree_paths

X = torch.ones(2, 3)


def nested(device="cpu"):
    inner = {"c": torch.zeros(2, requires_grad=True), "name": "inner"}
    items = {"a": X, "b": inner, "name": "hello"}
    return TensorDict(items, batch_size=[2], device=device, names=["batch"])


class Own(TensorDict):
    """A subclass, which is registered nowhere."""


@tensorclass
class Sample:
    a: torch.Tensor
    name: str
    nothing: Any = None
    inner: Any = None


@pytest.mark.parametrize("device", ["cpu", None])
@pytest.mark.parametrize("kind", [TensorDict, Own])
def test_a_tensordict_moves_and_says_so(kind, device):
    before = kind({"a": X, "b": {"c": X}, "n": "x"}, batch_size=[2], device=device)

    moved = OnMeta().moved([before])[0]

    assert type(moved) is kind
    assert moved["a"].is_meta
    assert moved["b", "c"].is_meta
    assert moved["n"] == "x"
    assert moved.batch_size == (2,)
    assert moved.device == (device and torch.device("meta"))
    assert before["a"] is X or before["a"].is_cpu


def test_names_and_other_data_of_a_tensordict_are_kept():
    moved = OnMeta().moved(nested())

    assert moved.names == ["batch"]
    assert (moved["name"], moved["b", "name"]) == ("hello", "inner")
    assert moved["b"].device.type == "meta"


@pytest.mark.parametrize("locked", [True, False])
def test_the_lock_of_a_tensordict_is_kept(locked):
    before = nested()
    before = before.lock_() if locked else before

    mapped = tree_map(torch.clone, before)

    assert mapped.is_locked == locked
    assert before.is_locked == locked


def test_a_tensordict_in_which_nothing_changes_comes_back():
    before = nested()

    assert tree_map(lambda x: x, before) is before
    assert InPlace().arrays([before])[0]["a"].is_cpu


def test_a_tensordict_of_two_devices_claims_none():
    tree = nested()

    mapped = tree_map(lambda x: x.to("meta") if x is tree["a"] else x, tree)

    assert mapped.device is None
    assert mapped["b", "c"].is_cpu


def test_paths_lead_into_a_tensordict():
    tree = {"x": nested()}

    paths = dict(tree_paths(tree))

    assert list(paths) == ["['x']['a']", "['x']['b']['c']"]
    for path, leaf in paths.items():
        assert eval(f"tree{path}") is leaf  # noqa: S307


def test_a_tensordict_among_arrays_stays_one_without_gradients():
    result = InPlace().arrays({"x": nested()})["x"]

    assert type(result) is TensorDict
    assert not result["b", "c"].requires_grad


def test_a_lazy_stack_moves():
    parts = [TensorDict(a=torch.ones(i + 1), device="cpu") for i in range(2)]

    moved = OnMeta().moved(LazyStackedTensorDict(*parts))

    assert type(moved) is LazyStackedTensorDict
    assert [x.device.type for x in tree_leaves(moved)] == ["meta", "meta"]
    assert moved.device.type == "meta"


def test_a_tensorclass_moves_field_by_field():
    before = Sample(a=X, name="kept", inner=nested(), batch_size=[2], device="cpu")

    moved = OnMeta().moved(before)

    assert type(moved) is Sample
    assert moved.a.is_meta
    assert moved.inner["b", "c"].is_meta
    assert (moved.name, moved.nothing, moved.batch_size) == ("kept", None, (2,))
    assert moved.device.type == "meta"
    assert [path for path, _ in tree_paths(before)] == [
        ".a",
        ".inner['a']",
        ".inner['b']['c']",
    ]
    assert before.a is X


def test_data_that_is_no_tensor_stays():
    data = NonTensorData("text", batch_size=[2])

    assert OnMeta().moved([data])[0] is data


def test_parameters_of_a_module_are_left_to_the_module():
    parameters = TensorDictParams(TensorDict(a=X.clone()))

    assert OnMeta().moved([parameters])[0] is parameters
