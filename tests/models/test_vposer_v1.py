"""VPoser of 2019 against a reckoning in NumPy, and its official call forms."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.vposers import is_orthonormal, reference, small_vposer_v1
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.vposer import VPoserV1, matrix_to_axis_angle

CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def model():
    return small_vposer_v1()


class ByHand:
    """The network written out in double precision."""

    def __init__(self, model):
        self.of = {k: v.double().numpy() for k, v in model.state_dict().items()}

    def linear(self, name, x):
        name = f"bodyprior_{name}"
        return x @ self.of[f"{name}.weight"].T + self.of[f"{name}.bias"]

    def norm(self, name, x):
        get = lambda key: self.of[f"bodyprior_{name}.{key}"]  # noqa: E731
        centred = (x - get("running_mean")) / np.sqrt(get("running_var") + 1e-5)
        return centred * get("weight") + get("bias")

    def encode(self, x):
        h = leaky(self.linear("enc_fc1", self.norm("enc_bn1", x)))
        h = leaky(self.linear("enc_fc2", self.norm("enc_bn2", h)))
        raw = self.linear("enc_logvar", h)
        return self.linear("enc_mu", h), np.logaddexp(raw, 0)

    def decode(self, z):
        h = leaky(self.linear("dec_fc2", leaky(self.linear("dec_fc1", z))))
        columns = self.linear("dec_out", h).reshape(len(z), 21, 3, 2)
        first = unit(columns[..., 0])
        second = columns[..., 1]
        second = unit(second - (first * second).sum(-1, keepdims=True) * first)
        return np.stack((first, second, np.cross(first, second)), -1)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@torch.no_grad()
def test_encode_agrees_with_the_reckoning(model):
    poses = reference()["pose_body"]

    q_z = model.encode(poses.reshape(5, 1, 21, 3))

    mean, scale = ByHand(model).encode(poses.double().numpy())
    assert_close(q_z.mean.double(), torch.from_numpy(mean), **CLOSE)
    assert_close(q_z.scale.double(), torch.from_numpy(scale), **CLOSE)


@torch.no_grad()
def test_decode_agrees_with_the_reckoning(model):
    z = reference()["z"]

    matrices = model.decode(z)

    expected = torch.from_numpy(ByHand(model).decode(z.double().numpy()))
    assert matrices.shape == (6, 1, 21, 9)
    assert_close(matrices.double(), expected.reshape(6, 1, 21, 9), **CLOSE)
    angles = model.decode(z, output_type="aa")
    assert angles.shape == (6, 1, 21, 3)
    assert_close(angles, matrix_to_axis_angle(matrices.unflatten(-1, (3, 3))))


@torch.no_grad()
def test_forward_returns_the_official_entries(model):
    poses = reference()["pose_body"]

    assert list(model(poses)) == ["mean", "std", "pose_matrot"]
    assert list(model(poses, "aa", "aa")) == ["mean", "std", "pose_aa"]
    torch.manual_seed(0)
    q_z = model.encode(poses)
    drawn = model.decode(q_z.rsample())
    torch.manual_seed(0)
    assert_close(model(poses)["pose_matrot"], drawn)


def test_the_published_size_is_the_default():
    model = VPoserV1()

    assert sum(parameter.numel() for parameter in model.parameters()) == 673_596
    assert len(model.state_dict()) == 24
    assert (model.num_neurons, model.latentD, model.num_joints) == (512, 32, 21)


@torch.no_grad()
def test_samples_are_the_official_ones(model):
    z = np.random.RandomState(123).normal(0.0, 1.0, (3, 8))
    z = torch.from_numpy(z).float()

    assert_close(model.sample_poses(3, seed=123), model.decode(z, "aa"))
    assert_close(model.sample_poses(3, "matrot", 123), model.decode(z, "matrot"))
    drawn = model.sample_poses(3, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 1, 21, 3)
    assert model.sample_poses(0).shape == (0, 1, 21, 3)


def test_unknown_output_types_are_refused(model):
    for call in (model.decode, model.sample_poses):
        with pytest.raises(InputValueError, match="'matrot' or 'aa', got 'both'"):
            call(torch.zeros(1, 8) if call == model.decode else 1, "both")


def test_inputs_are_checked(model):
    with pytest.raises(InputValueError, match=r"poses shaped \(B, 63\)"):
        model.encode(torch.zeros(63))
    with pytest.raises(InputValueError, match=r"latents shaped \(B, 8\)"):
        model.decode(torch.zeros(8))
    with pytest.raises(InputTypeError, match="takes a tensor"):
        model.decode(np.zeros((1, 8)))


def test_empty_batches_give_empty_results(model):
    assert model.encode(torch.zeros(0, 63)).mean.shape == (0, 8)
    assert model.decode(torch.zeros(0, 8)).shape == (0, 1, 21, 9)


@torch.no_grad()
def test_heads_stay_in_float32_under_autocast(model):
    with torch.autocast("cpu", torch.bfloat16):
        q_z = model.encode(reference()["pose_body"])
        matrices = model.decode(reference()["z"])

    assert q_z.scale.dtype == matrices.dtype == torch.float32
    assert is_orthonormal(matrices, 1e-4)


def test_the_decoder_can_be_compiled(model):
    decode = torch.compile(model.decode, backend="eager", fullgraph=True)

    assert_close(decode(reference()["z"]), model.decode(reference()["z"]))
