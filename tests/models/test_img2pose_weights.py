"""The weights of Img2Pose, in every spelling that there is, and what is beside them."""

import re
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.img2poses import NARROW, TINY, filled_network, picture, ready
from unfussy.errors import CheckpointError, InputTypeError, InputValueError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._locating import CheckpointNotFoundError
from unfussy.models._saving import save_weights
from unfussy.models.img2pose.architectures import ARCHITECTURES
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.statistics import statistics_beside, write_statistics
from unfussy.models.img2pose.weights import (
    architecture_in,
    build_filled,
    build_seeded,
    opened,
)

MEAN, STDDEV = np.arange(6), np.arange(1, 7) / 4


def assert_same(network, other):
    assert_close(dict(network.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert not network.training


def plain(state):
    return dict(state)


def of_a_parallel_wrapper(state):
    return {f"module.{key}": x for key, x in state.items()}


def with_the_old_names_of_the_pyramid(state):
    return {re.sub(r"(_blocks\.\d)\.0", r"\1", key): x for key, x in state.items()}


def with_counters_of_frozen_norms(state):
    norms = [key.removesuffix("running_mean") for key in state if "running_mean" in key]
    return state | {f"{norm}num_batches_tracked": torch.tensor(7) for norm in norms}


def without_counters(state):
    return {key: x for key, x in state.items() if "tracked" not in key}


def with_all_of_it(state):
    state = with_counters_of_frozen_norms(with_the_old_names_of_the_pyramid(state))
    return of_a_parallel_wrapper(state)


SPELLINGS = [
    plain,
    of_a_parallel_wrapper,
    with_the_old_names_of_the_pyramid,
    with_counters_of_frozen_norms,
    without_counters,
    with_all_of_it,
]


# --- networks ------------------------------------------------------------------------


def test_seeded_weights_are_the_same_and_private():
    before = torch.get_rng_state()

    first, again, other = (build_seeded(TINY, seed) for seed in (0, 0, 1))

    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, again)
    key = "rpn.head.conv.weight"
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


@pytest.mark.parametrize("architecture", [TINY, NARROW, 18])
def test_seeded_weights_give_numbers_of_a_moderate_size(architecture):
    network = build_seeded(architecture, n_candidates=100, n_proposals=50)
    images, size = ready(picture(60, 80))

    with torch.no_grad():
        maps = network.backbone(images)
        (found,) = network.detect(images, [size], threshold=0)

    assert all(0.01 < x.std() < 100 for x in maps)
    assert found.dofs.isfinite().all()
    assert len(found.scores) > 5


@pytest.mark.parametrize("spell", SPELLINGS)
def test_state_dicts_are_read_in_every_spelling(spell):
    network = filled_network()

    again = build_filled(spell(network.state_dict()))

    again.roi_heads.box_predictor.dof_pred[1].num_batches_tracked.zero_()
    assert_same(again, network)
    assert again.architecture == TINY


def test_settings_reach_the_network():
    state = filled_network().state_dict()

    network = build_filled(state, frozen_eps=0.0, n_proposals=7)

    assert network.rpn.n_proposals == 7
    assert network.backbone.body.bn1.eps == 0


@pytest.mark.parametrize("architecture", [*ARCHITECTURES.values(), NARROW])
def test_architectures_are_read_off_the_weights(architecture):
    with torch.device("meta"):
        state = Img2PoseNetwork(architecture).state_dict()

    assert architecture_in(state) == architecture


def test_architectures_are_called_by_their_layers():
    assert {depth: each.depth for depth, each in ARCHITECTURES.items()} == {
        18: 18,
        50: 50,
        101: 101,
    }


def test_double_precision_is_kept():
    network = build_filled(filled_network().double().state_dict())

    assert network.rpn.head.conv.weight.dtype == torch.float64


def test_a_missing_and_a_foreign_tensor_are_listed():
    state = filled_network().state_dict()
    del state["rpn.head.conv.bias"]
    state["rpn.head.foreign"] = torch.zeros(1)

    with pytest.raises(CheckpointError, match=r"depth(.|\n)*1 missing(.|\n)*1 unexpec"):
        build_filled(state)


@pytest.mark.parametrize("state", [{}, {"a.weight": torch.zeros(2)}])
def test_other_weights_are_refused(state):
    with pytest.raises(CheckpointError, match="does not hold weights of Img2Pose"):
        build_filled(state)


def test_what_is_no_state_dict_is_refused():
    with pytest.raises(InputTypeError, match="maps keys to tensors"):
        build_filled([torch.zeros(2)])


def test_a_depth_that_is_not_there_is_refused():
    with pytest.raises(InputValueError, match="depth is one of 18, 50, 101"):
        build_seeded(19)


# --- files ---------------------------------------------------------------------------


def training_checkpoint(state):
    moments = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    return {"fpn_model": with_all_of_it(state), "optimizer": moments}


def lean(state):
    return {"fpn_model": of_a_parallel_wrapper(state)}


def loaded(path):
    with opened(path) as file:
        return build_filled(read_state_dict(file), str(file))


@pytest.mark.parametrize("write", [plain, lean, training_checkpoint])
def test_official_files_are_read(tmp_path, write):
    network = filled_network()
    torch.save(write(network.state_dict()), tmp_path / "img2pose_v1.pth")

    again = loaded(tmp_path / "img2pose_v1.pth")

    again.roi_heads.box_predictor.dof_pred[1].num_batches_tracked.zero_()
    assert_same(again, network)


def test_what_is_saved_is_read_again(tmp_path):
    network = filled_network()

    save_weights(network, tmp_path, "Img2Pose")

    assert_same(loaded(tmp_path), network)


def release(folder):
    """Write the folder that the official archive unpacks to."""
    models = folder / "models"
    models.mkdir()
    network = filled_network()
    torch.save(lean(network.state_dict()), models / "img2pose_v1.pth")
    np.save(models / "WIDER_train_pose_mean_v1.npy", MEAN)
    np.save(models / "WIDER_train_pose_stddev_v1.npy", STDDEV)
    return network


def test_the_folder_of_the_release_is_read(tmp_path):
    network = release(tmp_path)

    with opened(tmp_path) as file:
        mean, stddev = statistics_beside(file)

    assert_same(loaded(tmp_path), network)
    assert mean.dtype == stddev.dtype == np.float32
    assert (mean == MEAN).all()
    assert (stddev == STDDEV).all()


def test_the_archive_of_the_release_is_read(tmp_path):
    network = release(tmp_path)
    archive = tmp_path / "models.zip"
    with ZipFile(archive, "w") as packed:
        for file in (tmp_path / "models").iterdir():
            packed.write(file, f"../models/{file.name}")
        packed.writestr("models/readme.txt", "not unpacked")

    with opened(archive) as file:
        inside = sorted(each.name for each in file.parent.iterdir())
        mean, _ = statistics_beside(file)

    assert_same(loaded(archive), network)
    assert (mean == MEAN).all()
    assert inside == [
        "WIDER_train_pose_mean_v1.npy",
        "WIDER_train_pose_stddev_v1.npy",
        "img2pose_v1.pth",
    ]
    assert not file.exists()


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    torch.save({"fpn_model": {"a": Trap()}}, tmp_path / "trap.pth")

    with pytest.raises(CheckpointError, match="fpn_model"):
        read_state_dict(tmp_path / "trap.pth")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there_is_looked_for_with_advice(tmp_path):
    with (
        pytest.raises(CheckpointNotFoundError, match="vitoralbiero/img2pose"),
        opened(tmp_path / "no.pth"),
    ):
        pass


# --- statistics ----------------------------------------------------------------------


def test_statistics_that_are_not_there_are_none(tmp_path):
    assert statistics_beside(tmp_path / "model.pth") is None


def test_statistics_are_written_where_they_are_found(tmp_path):
    write_statistics(tmp_path / "model.safetensors", MEAN, STDDEV)

    mean, stddev = statistics_beside(tmp_path)

    assert mean.tolist() == MEAN.tolist()
    assert stddev.tolist() == STDDEV.tolist()


def test_one_statistic_without_the_other_is_refused(tmp_path):
    np.save(tmp_path / "pose_mean.npy", MEAN)

    with pytest.raises(CheckpointError, match="but pose_mean.npy: pass pose_mean"):
        statistics_beside(tmp_path)


@pytest.mark.parametrize("numbers", [np.zeros(5), np.full(6, np.nan)], ids=["5", "nan"])
def test_statistics_are_six_finite_numbers(tmp_path, numbers):
    write_statistics(tmp_path, numbers, STDDEV)

    with pytest.raises(CheckpointError, match="six finite numbers"):
        statistics_beside(tmp_path)


def test_statistics_that_are_no_array_are_refused(tmp_path):
    write_statistics(tmp_path, MEAN, STDDEV)
    (tmp_path / "pose_mean.npy").write_bytes(b"<html>")

    with pytest.raises(CheckpointError, match="holds no array of numbers"):
        statistics_beside(tmp_path)
