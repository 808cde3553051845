"""The mixin: easy methods beside pure ones, and nothing else changed."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal
from typing_extensions import Unpack

from unfussy import (
    EasyInferenceMixin,
    EasyOptions,
    TensorLike,
    auto_device,
    autocast_policy,
    batched,
    configure,
    easy,
    explain,
    options,
    returns,
)
from unfussy.errors import PlanError


class Encoder(EasyInferenceMixin, nn.Module, easy=("encode", "decode")):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.drop = nn.Dropout()
        self.calls = []

    def encode(self, x: TensorLike, scale: float = 1.0) -> Normal:
        """Encode poses."""
        self.calls.append((len(x), x.dtype, torch.is_autocast_enabled("cpu")))
        return Normal(self.drop(self.net(x)) * scale, 1.0)

    def decode(self, z, *parts, precision="exact", **rest):
        return {"z": z, "precision": precision, "rest": rest, "parts": parts}

    @easy(mode="inference")
    def easy_mean(
        self, x: TensorLike, *, shift: float = 0.0, **given: Unpack[EasyOptions]
    ):
        assert not given
        assert not torch.is_grad_enabled()
        return self.encode(x).mean + shift


class Better(Encoder):
    def encode(self, x, scale=1.0):
        return Normal(super().encode(x, scale).mean + 1, 1.0)

    def easy_encode(self, x, **options):
        return super().easy_encode(x, **options).mean


@easy
def easy_norm(model, x: TensorLike, **options: Unpack[EasyOptions]):
    return model.encode(x).mean.norm(dim=-1)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def poses():
    return np.random.default_rng(0).normal(size=(5, 3))


def test_an_easy_method_takes_arrays_and_runs_in_eval_mode(encoder, poses):
    q = encoder.easy_encode(poses)

    x = torch.tensor(poses, dtype=torch.float32)
    torch.testing.assert_close(q.mean, encoder.net(x).detach())
    assert encoder.training
    assert not q.mean.requires_grad


def test_the_pure_method_is_untouched(encoder, poses):
    assert "__unfussy__" not in vars(Encoder.encode)
    with pytest.raises((AttributeError, TypeError)):
        encoder.encode(poses)


def test_options_are_keywords_of_the_easy_method(encoder, poses):
    seen = []

    z = encoder.easy_mean(
        poses,
        precision="bf16",
        batch_size=2,
        return_numpy=True,
        progress=seen.append,
        non_blocking=False,
        fix_float64=True,
        shift=1.0,
    )

    assert type(z) is np.ndarray
    assert [call[0] for call in encoder.calls] == [2, 2, 1]
    assert all(call[2] for call in encoder.calls)
    assert sum(seen) == 5


def test_double_precision_can_be_left_alone(encoder, poses):
    double = encoder.double()

    double.easy_encode(poses)
    double.float().easy_decode(poses, fix_float64=False)

    assert encoder.calls[0][1] is torch.float64
    with pytest.raises(RuntimeError, match="dtype"):
        encoder.easy_encode(poses, fix_float64=False)


def test_lists_of_numbers_are_read_where_the_parameter_says_so(encoder):
    assert encoder.easy_encode([[1.0, 2.0, 3.0]]).mean.shape == (1, 2)


def test_idle_options_change_nothing(encoder, poses):
    z = encoder.easy_mean(poses, batch_size=None, return_numpy=False, progress=None)

    assert type(z) is torch.Tensor
    assert not z.is_inference()
    assert len(encoder.calls) == 1


def test_the_signature_has_the_parameters_of_the_pure_method_and_the_options(encoder):
    signature = inspect.signature(encoder.easy_encode)

    assert [*signature.parameters] == ["x", "scale", *EasyOptions.__annotations__]
    assert signature.parameters["batch_size"].default is None
    assert signature.return_annotation is Normal
    assert "Encode poses." in encoder.easy_encode.__doc__
    assert encoder.easy_encode.__name__ == "easy_encode"
    assert encoder.easy_encode.__qualname__ == "Encoder.easy_encode"
    assert "given" not in inspect.signature(encoder.easy_mean).parameters


def test_a_parameter_of_the_author_wins_over_an_option(encoder):
    result = encoder.easy_decode(torch.ones(1), precision="mine", other=3)

    assert result["precision"] == "mine"
    assert result["rest"] == {"other": 3}
    assert [*inspect.signature(encoder.easy_decode).parameters][-1] == "rest"


def test_a_subclass_is_called_and_may_post_process(poses):
    better = Better()

    z = better.easy_encode(poses, batch_size=2)

    x = torch.tensor(poses, dtype=torch.float32)
    torch.testing.assert_close(z, better.net(x).detach() + 1)
    assert better.easy_methods == ("encode", "decode")


def test_an_easy_method_of_the_author_is_kept():
    class Own(EasyInferenceMixin, nn.Module, easy="encode", mode="inference"):
        def encode(self, x):
            return x

        def easy_encode(self, x):
            return "own"

    assert Own().easy_encode(3) == "own"
    assert Own.easy_methods == ("encode",)


def test_names_of_easy_methods_must_be_methods():
    with pytest.raises(
        PlanError, match="easy names 'encode', which Wrong has no method"
    ):

        class Wrong(EasyInferenceMixin, nn.Module, easy=("encode",)):
            encode = 3


def test_free_functions_can_be_easy(encoder, poses):
    norms = easy_norm(encoder, poses, return_numpy=True, batch_size=2)

    assert norms.shape == (5,)


def test_a_decorated_method_keeps_its_settings_when_made_easy(encoder, poses):
    class Small(EasyInferenceMixin, nn.Linear, easy="embed"):
        @easy
        @batched(size=2)
        def embed(self, x):
            sizes.append(len(x))
            return self(x)

    sizes = []

    Small(3, 2).easy_embed(poses)

    assert sizes == [2, 2, 1]


def test_easy_methods_can_be_configured_explained_and_called_in_blocks(encoder, poses):
    assert type(configure(encoder.easy_mean, out="numpy")(poses)) is np.ndarray
    with options(out="numpy", batch_size=2):
        assert type(encoder.easy_mean(poses)) is np.ndarray
        assert type(encoder.easy_mean(poses, batch_size=4)) is np.ndarray
    assert [call[0] for call in encoder.calls] == [5, 2, 2, 1, 4, 1]
    assert "float64 -> tensor (5, 3) float32" in str(explain(encoder.easy_mean, poses))


def test_the_mixin_adds_nothing_to_the_module(encoder):
    class Plain(nn.Module):
        pass

    assert [*encoder.state_dict()] == ["net.weight", "net.bias"]
    assert not set(vars(EasyInferenceMixin)) & {"forward", "to", "train", "__init__"}
    assert Encoder.to is Plain.to


def test_models_with_the_mixin_copy_and_pickle(encoder, poses):
    encoder.eval()
    expected = encoder.easy_mean(poses)

    for again in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):  # noqa: S301
        assert torch.equal(again.easy_mean(poses), expected)
    bound = pickle.loads(pickle.dumps(encoder.easy_mean))  # noqa: S301
    assert torch.equal(bound(poses), expected)


def test_the_mixin_tells_where_the_module_lives(encoder):
    assert encoder.inference_device == torch.device("cpu")
    assert encoder.double().inference_dtype is torch.float64
    assert encoder.to("meta").inference_device == torch.device("meta")


def test_warming_up_calls_an_easy_method(encoder, poses):
    assert encoder.warmup(poses) is encoder
    assert len(encoder.calls) == 2

    encoder.warmup(poses, method="mean", times=1)

    assert len(encoder.calls) == 3


def test_without_an_easy_method_there_is_nothing_to_warm_up(poses):
    class None_(EasyInferenceMixin, nn.Module):  # noqa: N801
        pass

    with pytest.raises(PlanError, match="has no easy method None to warm up"):
        None_().warmup(poses)
    with pytest.raises(PlanError, match="has no easy method 'fly' to warm up"):
        Encoder().warmup(poses, method="fly")


def test_unknown_options_are_refused(encoder, poses):
    with pytest.raises(
        PlanError,
        match=r"easy_mean\(\) does not take 'bacth_size'; its options are precision, ",
    ):
        encoder.easy_mean(poses, bacth_size=2)
    with pytest.raises(PlanError, match="does not take 'sclae'; its options are"):
        encoder.easy_encode(poses, sclae=2)


def test_configured_easy_methods_still_take_their_options(encoder, poses):
    configured = configure(encoder.easy_mean, batch_size=2)

    z = configured(poses, return_numpy=True, batch_size=4)

    assert type(z) is np.ndarray
    assert [call[0] for call in encoder.calls] == [4, 1]


def test_defaults_of_options_are_those_of_the_plan():
    @easy
    @returns("numpy")
    @auto_device(float64="keep", non_blocking=False)
    @autocast_policy("bf16")
    @batched(size=3)
    def embed(model, x):
        return x

    parameters = inspect.signature(embed).parameters

    assert [parameters[name].default for name in EasyOptions.__annotations__] == [
        *("bf16", False, False, 3, True, None)
    ]
    assert type(embed(nn.Linear(3, 2), np.ones(3), return_numpy=False)) is torch.Tensor
