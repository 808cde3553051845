"""The network of Img2Pose: official keys and numbers, and what it promises besides."""

import pytest
import torch
from torch.testing import assert_close

from tests.models.img2poses import (
    NARROW,
    PICTURES,
    TINY,
    digest,
    filled_network,
    official_keys,
    picture,
    ready,
    reference,
    tiny_network,
)
from unfussy.errors import InputValueError
from unfussy.models.img2pose import Img2PoseNetwork
from unfussy.models.img2pose.heads import pool_regions
from unfussy.models.img2pose.resnet import FrozenNorm
from unfussy.models.img2pose.transform import on_canvas


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def assert_close_detections(found, wanted):
    assert_close(found.proposals, wanted.proposals, rtol=0, atol=1e-3)
    assert_close(found.scores, wanted.scores, rtol=0, atol=1e-6)
    assert_close(found.dofs, wanted.dofs, rtol=0, atol=1e-5)


# --- official ------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_keys_and_shapes_are_official(depth):
    facts = official_keys()[depth]

    with torch.device("meta"):
        state = Img2PoseNetwork(depth).state_dict()

    assert len(state) == facts["tensors"]
    assert sum(x.numel() for x in state.values()) == facts["numbers"]
    assert digest(state) == facts["digest"]


@pytest.fixture(scope="module")
def official_network():
    return filled_network(18, n_proposals=300)


@pytest.mark.parametrize("name", PICTURES)
def test_numbers_are_official(official_network, name):
    numbers = {
        key.removeprefix(name + "_"): torch.from_numpy(x)
        for key, x in reference("network").items()
        if key.startswith(name)
    }
    images, size = ready(picture(*PICTURES[name]), 320, 700)

    maps = official_network.backbone(images)
    (found,) = official_network.detect(images, [size], threshold=0)

    for i, features in enumerate(maps[:4]):
        mean, deviation, largest = numbers[f"map_{i}"]
        told = features.double().mean(), features.double().std(), features.abs().max()
        assert_close(
            torch.stack([x.double() for x in told]),
            torch.stack([mean, deviation, largest]),
            rtol=1e-5,
            atol=1e-6,
        )
    scores = numbers["cls_logits"].softmax(1)[:, 1]
    likely = scores > 0.05
    assert_close(found.proposals, numbers["proposals"][likely], rtol=0, atol=1e-2)
    assert_close(found.scores, scores[likely], rtol=0, atol=1e-5)
    assert_close(found.dofs, numbers["dof_raw"][likely, 6:], rtol=0, atol=1e-5)


def test_norms_are_what_their_formula_says():
    norm = FrozenNorm(2, eps=0.5)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([0.5, 3.5]))
    norm.weight.copy_(torch.tensor([3.0, 4.0]))
    norm.bias.copy_(torch.tensor([5.0, 6.0]))

    changed = norm(torch.tensor([7.0, 8.0]).reshape(1, 2, 1, 1))

    assert_close(changed.flatten(), torch.tensor([23.0, 18.0]))


def test_no_eps_is_allowed_for_weights_that_were_trained_so():
    images, _ = ready(picture(60, 80))

    with_eps, without = (
        filled_network(frozen_eps=eps).backbone(images)[3] for eps in (1e-5, 0)
    )

    assert not torch.equal(with_eps, without)
    assert_close(with_eps, without, rtol=1e-3, atol=1e-3)


# --- batches -------------------------------------------------------------------------


def test_a_picture_gets_what_it_gets_alone():
    network = tiny_network()
    pairs = [ready(picture(60, 80, kind)) for kind in range(4)]
    alone = [network.detect(images, [size])[0] for images, size in pairs]

    for order in ([0, 1, 2, 3], [3, 1], [2, 2, 0]):
        images = torch.cat([pairs[i][0] for i in order])
        together = network.detect(images, [pairs[i][1] for i in order])

        for i, found in zip(order, together):
            assert len(found.scores) > 5
            assert_close_detections(found, alone[i])


def test_on_a_shared_canvas_boxes_stay_inside_their_pictures():
    pictures = [ready(picture(80, 60)), ready(picture(60, 80, 1))]
    sizes = [size for _, size in pictures]
    images = [x[0, :, :h, :w] for (x, _), (h, w) in zip(pictures, sizes)]

    found = tiny_network().detect(on_canvas(images, (96, 96)), sizes)

    for each, (height, width) in zip(found, sizes):
        assert each.proposals[:, 2].max() <= width < 96
        assert each.proposals[:, 3].max() <= height


def test_a_panorama_before_changes_nothing():
    network = filled_network(n_candidates=200, n_proposals=40)
    images, size = ready(picture(60, 80))
    (before,) = network.detect(images, [size])

    panorama, long = ready(picture(10, 350), 64, 224)
    network.detect(panorama, [long])

    assert_close_detections(network.detect(images, [size])[0], before)


def test_a_picture_with_nan_gets_nothing_and_disturbs_no_other():
    images, size = ready(picture(60, 80))
    (alone,) = tiny_network().detect(images, [size])

    broken, sound = tiny_network().detect(
        torch.cat((images * torch.nan, images)), [size, size]
    )

    assert broken.proposals.shape == (0, 4)
    assert broken.scores.shape == (0,)
    assert broken.dofs.shape == (0, 6)
    assert_close_detections(sound, alone)


def test_no_pictures_give_no_results():
    assert tiny_network().detect(torch.zeros(0, 3, 64, 64), []) == []


def test_sizes_may_be_a_tensor_and_the_call_that_of_the_module():
    images, size = ready(picture(60, 80))
    (wanted,) = tiny_network().detect(images, [size])

    (found,) = tiny_network()(images, torch.tensor([size]))

    assert_close_detections(found, wanted)


# --- thresholds ----------------------------------------------------------------------


def test_a_higher_threshold_leaves_what_exceeds_it():
    images, size = ready(picture(60, 80))
    (all_of_them,) = tiny_network().detect(images, [size])
    level = all_of_them.scores.median().item()

    (found,) = tiny_network().detect(images, [size], threshold=level)

    passes = all_of_them.scores >= level
    assert 0 < passes.sum() < len(passes)
    assert_close(found.scores, all_of_them.scores[passes], rtol=0, atol=1e-6)
    assert_close(found.dofs, all_of_them.dofs[passes], rtol=0, atol=1e-5)


def test_scores_of_five_percent_and_less_never_pass():
    images, size = ready(picture(60, 80))

    (found,) = tiny_network().detect(images, [size], threshold=0)

    assert found.scores.min() > 0.05


def test_poses_are_told_only_of_what_passes():
    network = filled_network(n_candidates=200, n_proposals=40)
    rows = []
    network.roi_heads.poses = lambda pooled: (
        rows.append(len(pooled)) or (torch.zeros(len(pooled), 6))
    )
    images, size = ready(picture(60, 80))

    network.detect(images, [size], threshold=1)
    (found,) = network.detect(images, [size], threshold=0.5)

    assert rows == [0, len(found.scores)]


# --- precision -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_pooling_and_heads_stay_in_float32(dtype, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "unfussy.models.img2pose.heads.pool_regions",
        lambda maps, *rest: (
            seen.append((maps[0].dtype, torch.is_autocast_enabled("cpu")))
            or pool_regions(maps, *rest)
        ),
    )
    images, size = ready(picture(60, 80))

    with torch.autocast("cpu", dtype):
        (found,) = tiny_network().detect(images, [size], threshold=0)

    assert seen == [(torch.float32, False)]
    assert {found.proposals.dtype, found.scores.dtype, found.dofs.dtype} == {
        torch.float32
    }
    assert found.scores.unique().numel() == len(found.scores)


def test_under_autocast_anchors_are_told_apart_as_finely_as_float32_can():
    images, _ = ready(picture(60, 80))

    with torch.autocast("cpu", torch.bfloat16):
        maps = tiny_network().backbone(images)
        logits, moves = tiny_network().rpn.head(maps[0])

    assert maps[0].dtype == torch.bfloat16
    assert logits.dtype == moves.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.parametrize(
    ("dtype", "result"),
    [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)],
)
def test_other_precisions_of_the_weights_run(dtype, result):
    network = filled_network(n_candidates=200, n_proposals=40).to(dtype)
    images, size = ready(picture(60, 80))

    (found,) = network.detect(images.to(dtype), [size], threshold=0)

    assert found.scores.dtype == found.dofs.dtype == result
    assert len(found.scores) > 5


# --- misuse --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "sizes", "message"),
    [
        ((3, 64, 64), [(64, 64)], r"takes images \(N, 3, H, W\), got \(3, 64, 64\)"),
        ((1, 3, 64, 70), [(64, 70)], "multiples of 32, got 64 x 70"),
        ((2, 3, 64, 64), [(64, 64)], "one size per image, got 1 for 2"),
    ],
)
def test_misuse_is_explained(shape, sizes, message):
    with pytest.raises(InputValueError, match=message):
        tiny_network().detect(torch.zeros(shape), sizes)


def test_other_depths_are_refused():
    with pytest.raises(InputValueError, match="depth is one of 18, 50, 101, got 34"):
        Img2PoseNetwork(34)


def test_units_with_bottlenecks_run():
    images, size = ready(picture(60, 80))

    (found,) = filled_network(NARROW, n_proposals=30).detect(images, [size])

    assert found.dofs.shape[1] == 6
    assert NARROW.widths == (32, 64, 128, 256)
    assert TINY.widths == (8, 16, 32, 64)
