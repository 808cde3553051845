"""What the easy methods of VPoser take: any shape and kind, or a refusal that helps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.models.vposers import (
    numbers,
    reference,
    small_vposer,
    small_vposer_v1,
)
from unfussy.errors import InputTypeError, InputValueError

CLOSE = {"rtol": 0, "atol": 1e-5}
MODEL = small_vposer()


@pytest.fixture(params=[small_vposer, small_vposer_v1])
def model(request):
    return request.param()


@pytest.fixture
def poses():
    return reference()["pose_body"]


# --- shapes ------------------------------------------------------------------------

leads = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@pytest.mark.property
@given(
    lead=leads,
    is_jointed=st.booleans(),
    is_array=st.booleans(),
    batch_size=st.none() | st.integers(1, 4),
)
def test_leading_dimensions_come_back(lead, is_jointed, is_array, batch_size):
    x = numbers((*lead, 63))
    x = x.unflatten(-1, (21, 3)) if is_jointed else x
    x = x.double().numpy() if is_array else x

    z = MODEL.easy_encode(x, batch_size=batch_size)
    poses = MODEL.easy_decode(z, batch_size=batch_size, return_numpy=True)

    assert z.shape == (*lead, 8)
    assert poses["pose_body"].shape == (*lead, 21, 3)
    assert poses["pose_body_matrot"].shape == (*lead, 21, 9)
    rows = MODEL.easy_encode(numbers((*lead, 63)).reshape(-1, 63) if z.numel() else [])
    assert_close(z.reshape(-1, 8), rows, **CLOSE)


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize(
    ("x", "shape"),
    [
        ([0.0] * 63, (8,)),
        ([0] * 63, (8,)),
        ([[0.0] * 63] * 2, (2, 8)),
        ([[[0.0] * 3] * 21], (1, 8)),
        ((np.zeros(63), np.zeros(63)), (2, 8)),
        ([np.zeros((21, 3), np.float32)] * 3, (3, 8)),
        ([torch.zeros(4, 63)] * 2, (2, 4, 8)),
        ([torch.zeros(63), np.zeros(63)], (2, 8)),
        ([[torch.zeros(63)], [torch.ones(63)]], (2, 1, 8)),
        ([], (0, 8)),
        (np.zeros((21, 63)), (21, 8)),
        (np.zeros((2, 1, 63)), (2, 1, 8)),
    ],
)
def test_lists_and_corner_cases_have_one_reading(model, x, shape, batch_size):
    assert model.easy_encode(x, batch_size=batch_size).shape == shape


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float16, np.float32, ">f8", np.int64, np.uint8]
)
def test_arrays_of_any_numbers_are_taken(model, dtype):
    x = np.ones((2, 63), dtype)

    assert_close(model.easy_encode(x), model.easy_encode(torch.ones(2, 63)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32])
def test_tensors_of_any_numbers_are_taken(model, dtype):
    x = torch.ones(2, 63, dtype=dtype)

    assert_close(model.easy_encode(x), model.easy_encode(torch.ones(2, 63)))


def test_awkward_strides_are_taken(model, poses):
    array = poses.reshape(5, 21, 3).numpy()
    turned = np.asfortranarray(array)[::-1]
    frozen = array.copy()
    frozen.setflags(write=False)

    z = model.easy_encode(poses)

    assert_close(model.easy_encode(turned), z.flip(0), **CLOSE)
    assert_close(model.easy_encode(frozen), z)


@pytest.mark.parametrize("width", [66, 72, 156, 165])
@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
def test_wider_poses_are_refused_with_the_columns_to_take(model, width, lead):
    flat, jointed = np.zeros((*lead, width)), np.zeros((*lead, width // 3, 3))

    with pytest.raises(InputValueError, match=r"easy_encode\(\).*x\[\.\.\., 3:66\]"):
        model.easy_encode(flat)
    with pytest.raises(InputValueError, match=r"easy_encode\(\).*x\[\.\.\., 1:22, :\]"):
        model.easy_encode(jointed)
    assert model.easy_encode(flat[..., 3:66]).shape == (*lead, 8)
    assert model.easy_encode(jointed[..., 1:22, :]).shape == (*lead, 8)


def test_bodies_with_hands_are_refused_with_the_columns_to_take(model):
    with pytest.raises(InputValueError, match=r"x\[\.\.\., 0:63\]"):
        model.easy_encode(np.zeros((4, 69)))
    with pytest.raises(InputValueError, match=r"x\[\.\.\., 0:21, :\]"):
        model.easy_encode(np.zeros((4, 23, 3)))


@pytest.mark.parametrize("shape", [(2, 21, 9), (21, 3, 3), (2, 21, 3, 3)])
def test_matrices_are_refused_with_the_way_to_convert_them(model, shape):
    with pytest.raises(InputValueError, match=r"matrix_to_axis_angle\(\)"):
        model.easy_encode(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (64,), (3, 21), (2, 62), (2, 5, 3)])
def test_other_shapes_are_refused(model, shape):
    with pytest.raises(InputValueError, match=r"takes poses shaped .*, got \("):
        model.easy_encode(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (7,), (8, 7)])
def test_what_is_no_latent_is_refused(model, shape):
    with pytest.raises(InputValueError, match=r"shaped \(8,\) or \(\.\.\., 8\), got"):
        model.easy_decode(np.zeros(shape))


@pytest.mark.parametrize("shape", [(63,), (2, 63), (2, 21, 3)])
def test_decoding_poses_is_refused_with_the_way_to_encode_them(model, shape):
    with pytest.raises(InputValueError, match=r"poses: easy_encode\(\)"):
        model.easy_decode(np.zeros(shape))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("pose.npy", "str is no tensor"),
        (None, "NoneType is no tensor"),
        ({"pose_body": torch.zeros(63)}, r"dict .* pass its \['pose_body'\]"),
        ({}, "dict is no tensor, array or list$"),
        (torch.distributions.Normal(0.0, 1.0), r"Normal .* pass its \.mean"),
        (np.zeros(63, object), "dtype object"),
        (np.ma.zeros(63), "masked array"),
        (np.zeros(63, complex), "real numbers, got torch.complex128"),
        ([1j] * 63, "real numbers, got torch.complex128"),
        ([np.zeros(63), "pose"], "str is no tensor"),
    ],
)
def test_what_is_no_pose_is_refused_by_name(model, x, message):
    with pytest.raises(InputTypeError, match=rf"easy_encode\(\).*{message}"):
        model.easy_encode(x)


def test_uneven_lists_are_refused(model):
    with pytest.raises(InputValueError, match=r"shape, got \(2, 63\) and \(3, 63\)"):
        model.easy_encode([np.zeros((2, 63)), np.zeros((3, 63))])
    with pytest.raises(InputValueError, match="differ in length"):
        model.easy_encode([[0.0] * 63, [0.0] * 62])
