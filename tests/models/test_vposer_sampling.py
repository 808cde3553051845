"""Random and interpolated latents: official numbers, and private generators."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.models.vposers import numpys_random_state, reference, small_vposer
from unfussy.errors import InputTypeError, InputValueError

MODEL = small_vposer()


def test_samples_are_the_official_ones():
    model = small_vposer().train()
    before = numpys_random_state(), torch.get_rng_state()

    poses = model.sample_poses(3, seed=123)

    known = reference()["sample123_pose_body"]
    assert_close(poses["pose_body"], known, rtol=0, atol=1e-4)
    assert poses["pose_body_matrot"].shape == (3, 21, 9)
    assert model.training
    assert not poses["pose_body"].requires_grad
    assert not poses["pose_body"].is_inference()
    assert numpys_random_state() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_seeds_and_generators_of_every_kind_are_taken():
    official = MODEL.sample_poses(3, 123)["pose_body"]

    stream = np.random.RandomState(123)
    first = MODEL.sample_poses(1, stream)["pose_body"]
    rest = MODEL.sample_poses(2, stream)["pose_body"]

    assert_close(torch.cat((first, rest)), official, rtol=0, atol=1e-5)
    assert_close(MODEL.sample_poses(3, np.int64(123))["pose_body"], official)
    generator = torch.Generator().manual_seed(0)
    drawn = MODEL.sample_poses(3, generator=generator)
    more = MODEL.sample_poses(3, generator=generator)
    assert not torch.equal(more["pose_body"], drawn["pose_body"])
    generator.manual_seed(0)
    assert_close(MODEL.sample_poses(3, generator=generator), drawn)


def test_without_a_seed_samples_are_new():
    np.random.seed(0)  # noqa: NPY002 - it must not matter
    first = MODEL.sample_poses(2)["pose_body"]

    np.random.seed(0)  # noqa: NPY002 - it must not matter

    assert not torch.equal(MODEL.sample_poses(2)["pose_body"], first)


def test_samples_come_in_the_form_asked_for():
    poses = MODEL.sample_poses(3, seed=0, return_numpy=True, batch_size=2)

    assert type(poses["pose_body"]) is np.ndarray
    assert MODEL.sample_poses(0, seed=0)["pose_body"].shape == (0, 21, 3)


@pytest.mark.parametrize(
    ("count", "seed", "error", "message"),
    [
        (-1, 0, InputValueError, "whole number from 0, got -1"),
        (1.5, 0, InputTypeError, "whole number, got a float"),
        (1, -1, InputValueError, "from 0 to 2"),
        (1, "one", InputTypeError, "whole number, .* got a str"),
    ],
)
def test_counts_and_seeds_are_checked(count, seed, error, message):
    with pytest.raises(error, match=message):
        MODEL.sample_poses(count, seed)


def test_two_sources_are_refused():
    with pytest.raises(InputValueError, match="seed= or generator=, not both"):
        MODEL.sample_poses(1, 0, generator=torch.Generator())


# --- in between --------------------------------------------------------------------

steps = st.integers(1, 6)
latents = st.lists(st.floats(-3, 3, width=32), min_size=8, max_size=8)


@pytest.mark.property
@given(a=latents, b=latents, n=steps, kind=st.sampled_from(["linear", "spherical"]))
def test_both_ends_are_included(a, b, n, kind):
    between = MODEL.interpolate(a, b, n, kind)

    assert between.shape == (n, 8)
    assert between.isfinite().all()
    assert_close(between[0], torch.tensor(a), rtol=1e-5, atol=1e-5)
    if n > 1:
        assert_close(between[-1], torch.tensor(b), rtol=1e-5, atol=1e-5)


def test_linear_steps_are_even():
    between = MODEL.interpolate(np.zeros(8), torch.ones(8), 5)

    assert_close(between, torch.linspace(0, 1, 5)[:, None].expand(5, 8))


def test_spherical_steps_turn_evenly():
    a, b = 3 * torch.eye(8)[0], 3 * torch.eye(8)[1]

    between = MODEL.interpolate(a, b, 4, "spherical")

    angles = torch.linspace(0, math.pi / 2, 4)
    expected = torch.stack((angles.cos(), angles.sin()), -1)
    assert_close(between[:, :2], 3 * expected)


@pytest.mark.parametrize("b", [torch.ones(8), -torch.ones(8), torch.zeros(8)])
def test_directions_without_a_plane_are_joined_by_a_line(b):
    a = torch.ones(8)

    between = MODEL.interpolate(a, b, 3, "spherical")

    assert_close(between, MODEL.interpolate(a, b, 3))


def test_batches_are_interpolated_together_and_broadcast():
    a, b = torch.zeros(2, 1, 8), torch.ones(3, 8)

    assert MODEL.interpolate(a, b, 4).shape == (4, 2, 3, 8)


def test_results_can_be_decoded_and_differentiated():
    a = torch.zeros(8, requires_grad=True)

    between = MODEL.interpolate(a, torch.ones(8), 3)
    between.sum().backward()

    assert_close(a.grad, torch.full((8,), 1.5))
    assert MODEL.easy_decode(between)["pose_body"].shape == (3, 21, 3)


def test_the_module_decides_on_precision():
    ends = [0] * 8, [1] * 8

    assert small_vposer().double().interpolate(*ends, 2).dtype == torch.float64
    assert small_vposer().half().interpolate(*ends, 2).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(8), torch.zeros(8), 0), "whole number from 1, got 0"),
        ((torch.zeros(8), torch.zeros(8), 2, "cubic"), "'spherical', got 'cubic'"),
        ((torch.zeros(7), torch.zeros(8), 2), r"interpolate\(\) takes latents"),
        ((torch.zeros(63), torch.zeros(8), 2), r"easy_encode\(\) makes latents"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(arguments, message):
    with pytest.raises(InputValueError, match=message):
        MODEL.interpolate(*arguments)
