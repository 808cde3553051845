"""The pure methods of VPoser: official numbers, and nothing done behind one's back."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from tests.models.vposers import is_orthonormal, reference, small_vposer
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.vposer import VPoser, axis_angle_to_matrix

CLOSE = {"rtol": 0, "atol": 1e-5}
CLOSE_ANGLES = {"rtol": 0, "atol": 1e-4}


@pytest.fixture
def model():
    return small_vposer()


# --- numbers -----------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("kind", ["", "edge_"])
def test_encode_gives_the_official_distribution(model, kind):
    known = reference()

    q_z = model.encode(known[f"{kind}pose_body"])

    assert_close(q_z.mean, known[f"{kind}mean"], **CLOSE)
    assert_close(q_z.scale, known[f"{kind}scale"], **CLOSE)


@torch.no_grad()
def test_decode_gives_the_official_poses(model):
    known = reference()

    poses = model.decode(known["z"])

    assert list(poses) == ["pose_body", "pose_body_matrot"]
    assert_close(poses["pose_body"], known["z_pose_body"], **CLOSE_ANGLES)
    some = poses["pose_body_matrot"][[0, 1, 5]]
    assert_close(some, known["z_pose_body_matrot"], **CLOSE)


@torch.no_grad()
def test_poses_near_half_turns_are_right_as_matrices(model):
    known = reference()

    poses = model.decode(known["edge_mean"][:2])

    expected = known["edge_rec_pose_body_matrot"]
    assert_close(poses["pose_body_matrot"], expected, **CLOSE)
    again = axis_angle_to_matrix(poses["pose_body"]).flatten(-2)
    assert_close(again, expected, **CLOSE)


@torch.no_grad()
def test_forward_gives_the_official_draw(model):
    known = reference()
    torch.manual_seed(11)

    result = model(known["pose_body"])

    matrices = result["pose_body_matrot"][:2]
    assert_close(matrices, known["forward_seed11_pose_body_matrot"], **CLOSE)
    assert_close(result["poZ_body_mean"], known["mean"], **CLOSE)
    assert_close(result["poZ_body_std"], known["scale"], **CLOSE)
    assert isinstance(result["q_z"], Normal)
    assert len(result) == 5


@torch.no_grad()
def test_double_precision_agrees_with_the_official_doubles(model):
    known, model = reference(), model.double()

    q_z = model.encode(known["pose_body"].double())
    poses = model.decode(known["z"][[0, 1, 5]].double())

    assert_close(q_z.mean, known["mean_f64"])
    assert_close(q_z.scale, known["scale_f64"])
    assert_close(poses["pose_body"], known["z_pose_body_f64"])


def test_the_published_size_is_the_default():
    model = VPoser()

    assert sum(parameter.numel() for parameter in model.parameters()) == 936_252
    assert len(model.state_dict()) == 26
    assert (model.num_neurons, model.latentD, model.num_joints) == (512, 32, 21)
    assert model.latent_dim == 32


def test_an_official_configuration_makes_a_model():
    params = SimpleNamespace(num_neurons=16, latentD=4)

    model = VPoser(SimpleNamespace(model_params=params))

    assert (model.num_neurons, model.latentD) == (16, 4)


# --- inputs ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 21, 3), (5, 1, 63), (5, 1, 21, 3)])
def test_encode_takes_the_official_shapes(model, shape):
    poses = reference()["pose_body"]

    assert_close(model.encode(poses.reshape(shape)).mean, model.encode(poses).mean)


def test_encode_takes_views_of_any_strides(model):
    poses = reference()["pose_body"]
    whole = torch.cat((torch.zeros(5, 3), poses, torch.zeros(5, 90)), dim=1)
    transposed = poses.reshape(5, 21, 3).transpose(0, 2).contiguous().transpose(0, 2)

    assert not transposed.is_contiguous()
    assert_close(model.encode(whole[:, 3:66]).mean, model.encode(poses).mean)
    assert_close(model.encode(transposed).mean, model.encode(poses).mean)


def test_empty_batches_give_empty_results(model):
    assert model.encode(torch.zeros(0, 63)).mean.shape == (0, 8)
    assert model.decode(torch.zeros(0, 8))["pose_body"].shape == (0, 21, 3)


@pytest.mark.parametrize("shape", [(63,), (21, 3), (2, 3, 63), (2, 64), (2, 3, 21), ()])
def test_encode_refuses_other_shapes(model, shape):
    with pytest.raises(InputValueError, match=r"\(B, 63\) or \(B, 21, 3\), got"):
        model.encode(torch.zeros(shape))


def test_encode_tells_which_columns_to_take(model):
    with pytest.raises(InputValueError, match=r"pass x\[\.\.\., 3:66\]"):
        model.encode(torch.zeros(2, 156))


@pytest.mark.parametrize("shape", [(8,), (2, 3, 8), (2, 9)])
def test_decode_refuses_other_shapes_instead_of_merging_them(model, shape):
    with pytest.raises(InputValueError, match=r"\(B, 8\), got .* easy_decode\(\)"):
        model.decode(torch.zeros(shape))


def test_pure_methods_do_not_convert(model):
    with pytest.raises(InputTypeError, match=r"takes a tensor of poses, got ndarray"):
        model.encode(np.zeros((2, 63)))
    with pytest.raises(InputTypeError, match=r"takes a tensor of latents, got list"):
        model.decode([0.0] * 8)
    with pytest.raises(InputTypeError, match=r"torch.float32, got torch.float64"):
        model.encode(torch.zeros(2, 63, dtype=torch.float64))
    with pytest.raises(InputTypeError, match=r"torch.float32, got torch.int64"):
        model.decode(torch.zeros(2, 8, dtype=torch.int64))


def test_pure_methods_keep_the_mode_and_the_graph(model):
    model.train()
    poses = torch.randn(4, 63, requires_grad=True)

    model(poses)["pose_body"].sum().backward()

    assert model.training
    assert poses.grad.isfinite().all()
    assert model.encoder_net[1].num_batches_tracked == 1
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.encode(poses[:1])


def test_poses_with_nan_disturb_no_other(model):
    poses = reference()["pose_body"].clone()
    poses[1, 7] = torch.nan

    mean = model.encode(poses).mean

    assert mean[1].isnan().all()
    assert_close(mean[[0, 2, 3, 4]], reference()["mean"][[0, 2, 3, 4]], **CLOSE)


# --- gradients ---------------------------------------------------------------------


def test_gradients_are_finite_for_the_rest_pose(model):
    with torch.no_grad():
        model.decoder_net[5].weight.zero_()
        bias = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).repeat(21)
        model.decoder_net[5].bias.copy_(bias)  # the identity for every joint

    poses = model.decode(torch.zeros(1, 8, requires_grad=True))["pose_body"]
    poses.sum().backward()

    assert poses.abs().max() == 0
    assert model.decoder_net[5].bias.grad.isfinite().all()
    assert model.decoder_net[5].bias.grad.abs().max() > 0


def test_the_divergence_from_the_prior_can_be_minimised(model):
    q_z = model.encode(reference()["pose_body"])

    divergence = kl_divergence(q_z, Normal(torch.zeros(8), torch.ones(8))).sum()
    divergence.backward()

    assert model.encoder_net[8].logvar.weight.grad.isfinite().all()


# --- precision ---------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rotations_stay_rotations_under_autocast(model, dtype):
    z = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))

    with torch.autocast("cpu", dtype):
        poses = model.decode(z)

    assert poses["pose_body_matrot"].dtype == poses["pose_body"].dtype == torch.float32
    assert is_orthonormal(poses["pose_body_matrot"], 1e-4)
    exact = model.decode(z)["pose_body_matrot"]
    assert (poses["pose_body_matrot"] - exact).abs().mean() < 0.01


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_deviation_does_not_underflow_under_autocast(model, dtype):
    model.encoder_net[8].logvar.bias.fill_(-20.0)

    with torch.autocast("cpu", dtype):
        q_z = model.encode(reference()["pose_body"])

    assert q_z.scale.dtype == q_z.mean.dtype == torch.float32
    assert (q_z.scale > 0).all()
    assert_close(q_z.mean, reference()["mean"], rtol=0, atol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_modules_in_half_precision_give_float32(model, dtype):
    model = model.to(dtype)

    q_z = model.encode(reference()["pose_body"].to(dtype))
    poses = model.decode(reference()["z"].to(dtype))

    assert q_z.mean.dtype == poses["pose_body"].dtype == torch.float32
    assert is_orthonormal(poses["pose_body_matrot"], 1e-4)


# --- as any module -----------------------------------------------------------------


def test_compiled_methods_agree(model):
    encode = torch.compile(model.encode, backend="eager", fullgraph=True)
    decode = torch.compile(model.decode, backend="eager", fullgraph=True)

    assert_close(encode(reference()["pose_body"]).mean, reference()["mean"], **CLOSE)
    poses = decode(reference()["z"])
    assert_close(poses["pose_body"], reference()["z_pose_body"], **CLOSE_ANGLES)


@pytest.mark.parametrize("strict", [True, False])
def test_the_decoder_can_be_exported(model, strict):
    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.vposer = model

        def forward(self, z):
            return self.vposer.decode(z)

    sizes = ({0: torch.export.Dim("batch")},)
    z = reference()["z"]
    exported = torch.export.export(Decoder(), (z,), dynamic_shapes=sizes, strict=strict)

    poses = exported.module()(z[:3])

    assert_close(poses["pose_body"], reference()["z_pose_body"][:3], **CLOSE_ANGLES)


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - our own


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_give_the_same(model, duplicate):
    known = reference()

    again = duplicate(model)

    assert_close(again.encode(known["pose_body"]).mean, known["mean"], **CLOSE)
    assert_close(again.easy_encode(known["pose_body"]), known["mean"], **CLOSE)


def test_methods_can_be_mapped(model):
    z = reference()["z"]

    rows = torch.func.vmap(lambda row: model.decode(row[None])["pose_body"][0])(z)

    assert_close(rows, model.decode(z)["pose_body"])
