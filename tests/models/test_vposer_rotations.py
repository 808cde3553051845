"""Rotations: exact up to half turns, differentiable everywhere, float32 or finer."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from unfussy.models.vposer import axis_angle_to_matrix, matrix_to_axis_angle
from unfussy.models.vposer.ops import at_least_float32, six_to_matrix, without_autocast

ANGLES = [0.0, 1e-9, 1e-6, 2e-6, 1e-3, 0.1, 1.0, 2.0, 3.0, 3.13, 3.14, 3.1415, math.pi]

unit = st.floats(-1, 1, width=32)
axes = st.tuples(unit, unit, unit).filter(lambda v: math.hypot(*v) > 1e-3)
angles = st.floats(0, math.pi) | st.sampled_from(ANGLES)


def rotations(angle, n=200):
    """Return exact axis-angle vectors of *angle*, and their matrices, in doubles."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    vectors = torch.nn.functional.normalize(axes, dim=-1) * angle
    return vectors, torch.linalg.matrix_exp(skew(vectors))


def skew(vectors):
    x, y, z = vectors.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).reshape(*x.shape, 3, 3)


@pytest.mark.parametrize("angle", ANGLES)
def test_matrices_agree_with_the_exponential(angle):
    vectors, exact = rotations(angle)

    matrices = axis_angle_to_matrix(vectors.float())

    assert_close(matrices, exact.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angles_agree_up_to_half_turns(angle):
    vectors, exact = rotations(angle)

    found = matrix_to_axis_angle(exact.float())

    # At a half turn both ends of the axis are right.
    same = (found - vectors).norm(dim=-1)
    turned = 2 * math.pi - (found - vectors).norm(dim=-1) if angle > 3 else same
    assert torch.minimum(same, turned.abs()).max() < 2e-6
    assert found.norm(dim=-1).max() <= math.pi + 1e-6


@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_are_finite_and_moderate(angle):
    vectors, exact = rotations(angle)
    vectors, matrices = vectors.float().requires_grad_(), exact.float().requires_grad_()

    axis_angle_to_matrix(vectors).square().sum().backward()
    matrix_to_axis_angle(matrices).sum().backward()

    assert vectors.grad.isfinite().all()
    assert matrices.grad.abs().max() < 10


def test_gradients_are_right():
    vectors, matrices = rotations(1.2, n=5)

    assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors.requires_grad_())
    assert torch.autograd.gradcheck(matrix_to_axis_angle, matrices.requires_grad_())


def test_at_the_identity_there_and_back_has_the_identity_for_gradient():
    def there_and_back(vector):
        return matrix_to_axis_angle(axis_angle_to_matrix(vector))

    jacobian = torch.autograd.functional.jacobian(there_and_back, torch.zeros(3))

    assert_close(jacobian, torch.eye(3))


def test_every_half_turn_about_a_main_axis_is_found():
    turns = torch.stack([torch.diag(2 * row - 1) for row in torch.eye(3)])

    assert_close(matrix_to_axis_angle(turns), torch.eye(3) * math.pi)


@pytest.mark.property
@given(axis=axes, angle=angles)
def test_matrices_survive_the_way_there_and_back(axis, angle):
    vector = torch.nn.functional.normalize(torch.tensor(axis), dim=-1) * angle
    matrix = axis_angle_to_matrix(vector)

    again = axis_angle_to_matrix(matrix_to_axis_angle(matrix))

    assert_close(again, matrix, rtol=0, atol=2e-6)


@pytest.mark.property
@given(six=st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6))
def test_six_numbers_give_columns_no_longer_than_one(six):
    matrix = six_to_matrix(torch.tensor(six))

    assert (matrix.norm(dim=-2) <= 1 + 1e-6).all()


def test_six_numbers_are_a_matrix_of_two_columns_row_by_row():
    first, second = [2.0, 0.0, 0.0], [5.0, 3.0, 0.0]
    six = torch.tensor([first, second]).T.reshape(6)

    assert_close(six_to_matrix(six), torch.eye(3))


def test_six_numbers_of_zero_have_finite_gradients():
    six = torch.zeros(2, 6, requires_grad=True)

    matrix_to_axis_angle(six_to_matrix(six)).sum().backward()

    assert six.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    six = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).to(dtype)

    matrices = six_to_matrix(six)

    eye = torch.eye(3).expand(50, 3, 3)
    assert_close(matrices.mT @ matrices, eye, rtol=0, atol=1e-5)
    assert at_least_float32(six).dtype == torch.float32


def test_double_precision_stays():
    vectors, matrices = rotations(1.0, n=3)

    assert matrix_to_axis_angle(matrices).dtype == torch.float64
    assert_close(axis_angle_to_matrix(vectors), matrices)


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3), (2, 0, 3)])
def test_leading_dimensions_are_kept(shape):
    matrices = axis_angle_to_matrix(torch.ones(*shape, 3))

    assert matrices.shape == (*shape, 3, 3)
    assert matrix_to_axis_angle(matrices).shape == (*shape, 3)
    assert six_to_matrix(matrices.flatten(-2)[..., :6]).shape == (*shape, 3, 3)


def test_autocast_does_not_reach_in():
    vectors, matrices = rotations(2.0, n=9)

    with torch.autocast("cpu", torch.bfloat16):
        found = axis_angle_to_matrix(vectors.float())

    assert_close(found, matrices.float(), rtol=0, atol=1e-6)


def test_devices_without_autocast_are_left_alone():
    with without_autocast(torch.device("meta")):
        assert not torch.is_autocast_enabled("cpu")
