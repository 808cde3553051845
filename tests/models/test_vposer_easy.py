"""The easy methods of VPoser: any input, any shape, and no trace of the call."""

import copy
import inspect
import threading

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.vposers import (
    is_orthonormal,
    numbers,
    numpys_random_state,
    reference,
    small_vposer,
    small_vposer_v1,
)
from unfussy import configure, explain, options, unfuss
from unfussy.errors import InputTypeError, InputValueError, UnfussyError
from unfussy.models.vposer import matrix_to_axis_angle

CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(params=[small_vposer, small_vposer_v1])
def model(request):
    return request.param()


@pytest.fixture
def poses():
    return reference()["pose_body"]


# --- results -----------------------------------------------------------------------


def test_encoding_gives_the_mean(model, poses):
    with torch.no_grad():
        q_z = model.encode(poses)

    z, (mean, std) = model.easy_encode(poses, return_stats=True)

    assert_close(model.easy_encode(poses), q_z.mean)
    assert_close((z, mean, std), (q_z.mean, q_z.mean, q_z.scale))


def test_decoding_gives_both_forms_or_the_one_asked_for(model):
    z = numbers((3, 8))

    both = model.easy_decode(z)

    assert list(both) == ["pose_body", "pose_body_matrot"]
    assert_close(model.easy_decode(z, output="aa"), both["pose_body"])
    assert_close(model.easy_decode(z, output="matrot"), both["pose_body_matrot"])
    with pytest.raises(InputValueError, match="'both', 'aa' or 'matrot', got 'quat'"):
        model.easy_decode(z, output="quat")


def test_versions_agree_with_their_pure_methods():
    z = numbers((3, 8))
    v1, v2 = small_vposer_v1(), small_vposer()

    assert_close(v2.easy_decode(z), v2.decode(z), **CLOSE)
    assert_close(v1.easy_decode(z, output="aa"), v1.decode(z, "aa")[:, 0], **CLOSE)


# --- options -----------------------------------------------------------------------


def test_results_are_arrays_where_asked_for(model, poses):
    z, (mean, std) = model.easy_encode(poses, return_stats=True, return_numpy=True)

    assert all(type(part) is np.ndarray for part in (z, mean, std))
    assert z.dtype == np.float32
    assert not np.shares_memory(z, mean)
    decoded = model.easy_decode(z, return_numpy=True)
    assert all(type(part) is np.ndarray for part in decoded.values())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_chunks_change_nothing(model, poses, batch_size):
    x = poses.reshape(5, 1, 21, 3)

    whole = model.easy_encode(x, return_stats=True)
    parts = model.easy_encode(x, return_stats=True, batch_size=batch_size)

    assert_close(parts, whole, **CLOSE)
    seeded = {"sample": True, "seed": 7}
    parts = model.easy_encode(x, batch_size=batch_size, **seeded)
    assert_close(parts, model.easy_encode(x, **seeded), **CLOSE)


def test_a_batch_equals_its_poses_one_by_one(model, poses):
    whole = model.easy_decode(model.easy_encode(poses), output="matrot")

    single = [model.easy_decode(model.easy_encode(p), output="matrot") for p in poses]

    assert_close(torch.stack(single), whole, **CLOSE)


def test_progress_is_told(model, poses):
    done = []

    model.easy_encode(poses, batch_size=2, progress=done.append)

    assert done == [2, 2, 1]


@pytest.mark.parametrize("precision", ["bf16", "bfloat16", torch.bfloat16, "fp16"])
def test_low_precision_keeps_rotations_rotations(model, precision):
    z = numbers((64, 8))

    low = model.easy_decode(z, precision=precision, batch_size=16)

    assert low["pose_body"].dtype == torch.float32
    assert is_orthonormal(low["pose_body_matrot"], 1e-4)
    assert not torch.equal(low["pose_body"], model.easy_decode(z, output="aa"))


def test_full_precision_is_the_default_whatever_surrounds_it(model, poses):
    z = model.easy_encode(poses)

    with torch.autocast("cpu", torch.bfloat16):
        inside = model.easy_encode(poses)

    assert_close(inside, z)


def test_doubles_follow_the_module(model, poses):
    doubles = poses.double()
    assert model.easy_encode(doubles).dtype == torch.float32
    with pytest.raises(InputTypeError, match=r"torch.float32, got torch.float64"):
        model.easy_encode(doubles, fix_float64=False)

    model.double()

    assert model.easy_encode(poses.numpy()).dtype == torch.float64
    assert model.easy_encode(doubles, fix_float64=False).dtype == torch.float64
    assert model.easy_decode(numbers((2, 8)))["pose_body"].dtype == torch.float64


def test_options_of_a_block_and_configured_methods_apply(model, poses):
    z = model.easy_encode(poses)

    with options(out="mirror", batch_size=2):
        assert isinstance(model.easy_encode(poses.numpy()), np.ndarray)
        assert isinstance(model.easy_encode(poses), torch.Tensor)
    encode = configure(model.easy_encode, batch_size=2, out="numpy")
    assert_close(torch.from_numpy(encode(poses.reshape(5, 21, 3))), z, **CLOSE)
    sampled = configure(model.easy_encode, out="tensor")(poses, sample=True, seed=3)
    assert_close(sampled, model.easy_encode(poses, sample=True, seed=3), **CLOSE)


def test_a_call_can_be_explained(model, poses):
    text = str(explain(model.easy_encode, poses.double().numpy(), batch_size=None))

    assert "easy_encode() on cpu, float32" in text
    assert "array (5, 63) float64 -> tensor (5, 63) float32" in text
    assert "inference mode" in text


def test_signatures_show_the_options(model):
    shown = inspect.signature(model.easy_encode)

    assert list(shown.parameters) == [
        *("x", "return_stats", "sample", "seed", "precision", "fix_float64"),
        *("non_blocking", "batch_size", "return_numpy", "progress"),
    ]
    assert shown.parameters["precision"].default == "fp32"
    assert list(inspect.signature(model.easy_decode).parameters)[:2] == ["z", "output"]


def test_unknown_options_are_refused(model, poses):
    with pytest.raises(TypeError, match="does not take 'bacth_size'; its options"):
        model.easy_encode(poses, bacth_size=2)
    with pytest.raises(TypeError, match="does not take 'bacth_size'; its options"):
        model.easy_decode(numbers((2, 8)), bacth_size=2)


# --- sampling ----------------------------------------------------------------------


def test_samples_follow_the_distribution(model, poses):
    many = poses[:1].expand(4000, 63)

    z, (mean, std) = model.easy_encode(many, sample=True, seed=0, return_stats=True)

    assert_close(z.mean(0), mean[0], rtol=0, atol=0.1)
    assert_close(z.std(0), std[0], rtol=0.1, atol=0)


SEEDS = {
    "number": lambda: 5,
    "legacy generator": lambda: np.random.RandomState(5),
    "generator": lambda: np.random.default_rng(5),
    "PyTorch generator": lambda: torch.Generator().manual_seed(5),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_equal_seeds_give_equal_samples(model, poses, kind):
    first = model.easy_encode(poses, sample=True, seed=SEEDS[kind]())

    again = model.easy_encode(poses, sample=True, seed=SEEDS[kind]())

    assert_close(again, first)
    assert not torch.equal(model.easy_encode(poses, sample=True), first)


def test_a_seed_without_sampling_is_refused(model, poses):
    with pytest.raises(InputValueError, match="only with sample=True"):
        model.easy_encode(poses, seed=0)


# --- no trace ----------------------------------------------------------------------


def state_of(model):
    """Return everything that a call could leave behind in a module."""
    return [
        (name, part.training, {k: v for k, v in vars(part).items() if k[0] != "_"})
        for name, part in model.named_modules()
    ]


def test_nothing_is_kept_in_the_network(model, poses):
    model.train()
    list(model.children())[-1].eval()
    twin = copy.deepcopy(model)
    before, weights = state_of(model), copy.deepcopy(model.state_dict())
    random = torch.get_rng_state(), numpys_random_state()

    model.easy_decode(model.easy_encode(poses, sample=True, batch_size=2))
    model.sample_poses(3)
    with pytest.raises(UnfussyError):
        model.easy_encode(torch.zeros(2, 64))

    assert state_of(model) == before
    assert_close(dict(model.state_dict()), dict(weights), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random[0])
    assert numpys_random_state() == random[1]
    assert not any(
        tensor.is_inference() for tensor in [*model.parameters(), *model.buffers()]
    )
    for each in (model, twin):
        torch.manual_seed(0)
        q_z = each.train().encode(poses)
        q_z.mean.sum().backward()
    grads = [[p.grad for p in each.parameters()] for each in (model, twin)]
    assert_close(*grads, rtol=0, atol=0)


def test_the_input_is_left_alone(model, poses):
    x = poses.clone().requires_grad_()

    z = model.easy_encode(x)

    assert not z.requires_grad
    assert x.grad is None
    assert_close(x.detach(), poses, rtol=0, atol=0)


def test_fitting_may_start_from_an_encoded_pose(model, poses):
    target = poses.reshape(5, 21, 3)
    z, (mean, _) = model.easy_encode(poses, return_stats=True)
    kept = mean.clone()
    optimizer = torch.optim.Adam([z.requires_grad_()], lr=0.05)

    def loss():
        found = matrix_to_axis_angle(model.decode_matrices(z))
        return (found - target).square().mean()

    first = loss().item()
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    assert loss().item() < first
    assert_close(mean, kept, rtol=0, atol=0)


def test_one_pose_is_encoded_while_training(model, poses):
    model.train()

    z = model.easy_encode(poses[0])

    assert_close(z, model.eval().easy_encode(poses)[0], **CLOSE)


def test_overlapping_callers_see_eval_mode_and_leave_training(model, poses):
    model.train()
    results = []

    def call():
        results.extend(model.easy_encode(poses) for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert model.training
    assert len(results) == 80
    assert all(torch.equal(result, results[0]) for result in results)


def test_easy_methods_can_be_compiled(model, poses):
    encode = torch.compile(model.easy_encode, backend="eager")

    assert_close(encode(poses), model.easy_encode(poses), **CLOSE)


def test_a_proxy_encodes_the_same(model, poses):
    assert_close(unfuss(model).easy_encode(poses), model.easy_encode(poses))


def test_warming_up_encodes(model, poses):
    assert model.warmup(poses) is model
