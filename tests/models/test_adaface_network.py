"""The pure methods of AdaFace: official layers and numbers, any batch, clear errors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.models.adafaces import (
    TINY,
    digest,
    faces,
    official_inputs,
    official_keys,
    reference,
    small_adaface,
    tiny_adaface,
)
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.adaface import (
    ARCHITECTURES,
    AdaFace,
    Architecture,
    OcclusionAdaFace,
    fuse_features_with_norm,
    l2_norm,
)
from unfussy.models.adaface.network import Excitation

EMBEDDING = {"rtol": 0, "atol": 3e-6}
NORM = {"rtol": 3e-6, "atol": 0}
WIDE = Architecture("wide", (1, 1, 1, 1), (32, 32, 64, 64), 16, bottleneck=True)


def inputs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n, 3, 112, 112), generator=generator) * 2 - 1


def made(name):
    fork, _, architecture = name.removeprefix("fork_").partition("_")
    if not name.startswith("fork"):
        return AdaFace(name)
    return OcclusionAdaFace(architecture, version={"doc": 1, "head": 2}[fork])


# --- official layers ---------------------------------------------------------------


@pytest.mark.parametrize("name", official_keys())
def test_keys_shapes_and_sizes_are_the_official_ones(name):
    with torch.device("meta"):
        model = made(name)
    known = official_keys()[name]

    assert len(model.state_dict()) == known["tensors"]
    assert sum(x.numel() for x in model.parameters()) == known["parameters"]
    assert digest(model.state_dict()) == known["sha256"]


def test_every_depth_has_a_kind_that_excites():
    plain = {name for name in ARCHITECTURES if "se" not in name}

    assert plain == {f"ir_{depth}" for depth in (18, 34, 50, 101, 152, 200)}
    assert set(ARCHITECTURES) - plain == {f"ir_se_{name[3:]}" for name in plain}


@pytest.mark.parametrize(
    ("architecture", "strides"), [(TINY, (1, 2)), (WIDE, (1, 1, 2))]
)
def test_the_last_convolution_of_a_stage_s_first_unit_strides(architecture, strides):
    model = AdaFace(architecture)

    found = [m.stride[0] for m in model.body[0].res_layer if isinstance(m, nn.Conv2d)]

    assert tuple(found) == strides


def test_excitation_weighs_channels_by_their_means():
    block = Excitation(32)
    x = torch.randn(2, 32, 5, 5)

    hidden = (x.mean((2, 3)) @ block.fc1.weight[:, :, 0, 0].T).clamp(min=0)
    weights = torch.sigmoid(hidden @ block.fc2.weight[:, :, 0, 0].T)

    assert_close(block(x), x * weights[:, :, None, None])


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize("architecture", [TINY, WIDE])
def test_faces_of_both_sizes_are_embedded(architecture, size):
    model = tiny_adaface(architecture=architecture, size=size)

    embedding, norm = model(torch.zeros(2, 3, size, size))

    assert (embedding.shape, norm.shape) == ((2, 512), (2, 1))
    assert model.features(torch.zeros(1, 3, size, size)).shape[-1] == size // 16


# --- official numbers --------------------------------------------------------------


@pytest.mark.parametrize(("gain", "name"), [(1.0, "g10"), (0.7, "g07")])
def test_embeddings_and_norms_are_the_official_ones(gain, name):
    model, known = small_adaface(gain), reference()

    with torch.no_grad():
        embedding, norm = model(official_inputs(faces()))

    assert_close(embedding.numpy(), known[f"{name}_embedding"], **EMBEDDING)
    assert_close(norm.numpy(), known[f"{name}_norm"], **NORM)


# --- any batch ---------------------------------------------------------------------


def test_memory_formats_do_not_matter():
    model, x = tiny_adaface(), inputs(3)

    rows = model(x.contiguous(memory_format=torch.channels_last))
    strided = model(x.transpose(2, 3).contiguous().transpose(2, 3))

    assert_close(rows, model(x), rtol=1e-5, atol=1e-6)
    assert_close(strided, model(x), rtol=1e-5, atol=1e-6)
    model.to(memory_format=torch.channels_last)
    assert_close(model(x), rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [AdaFace, OcclusionAdaFace])
def test_no_faces_have_no_embeddings(kind):
    results = tiny_adaface(kind)(inputs(0))

    assert [len(x) for x in results] == [0] * len(results)
    assert results[0].shape == (0, 512)


def test_a_vector_of_zeros_stays_zeros():
    model = tiny_adaface()
    for layer in (model.output_layer[3].weight, model.output_layer[3].bias):
        layer.data.zero_()
    model.output_layer[4].running_mean.zero_()

    embedding, norm = model(inputs(2))

    assert embedding.count_nonzero() == norm.count_nonzero() == 0


def test_nan_stays_in_its_face():
    model, x = tiny_adaface(), inputs(3)
    spoilt = x.clone()
    spoilt[1, 0, 0, 0] = torch.nan

    embedding, norm = model(spoilt)

    assert embedding[1].isnan().all()
    assert norm[1].isnan()
    assert_close(embedding[[0, 2]], model(x)[0][[0, 2]])


def test_large_norms_do_not_overflow_in_half_precision():
    model = tiny_adaface()
    model.output_layer[3].weight.data *= 3e4

    with torch.autocast("cpu", torch.float16):
        embedding, norm = model(inputs(2))

    assert norm.min() > 65504
    assert norm.isfinite().all()
    assert_close(embedding, model(inputs(2))[0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_of_half_precision_have_embeddings_of_full_precision(dtype):
    exact, x = tiny_adaface(), inputs(2)
    model = tiny_adaface().to(dtype)

    embedding, norm = model(x.to(dtype))

    assert embedding.dtype == norm.dtype == torch.float32
    assert_close(embedding.norm(dim=1), torch.ones(2))
    cosine = (embedding * exact(x)[0]).sum(1)
    assert cosine.min() > 0.999


def test_statistics_of_half_precision_are_learnt():
    model = tiny_adaface().to(torch.bfloat16).train()
    before = model.output_layer[4].running_mean.clone()

    model(inputs(2).bfloat16())

    assert not torch.equal(model.output_layer[4].running_mean, before)


def test_gradients_flow_back_to_the_faces():
    model, x = tiny_adaface(), inputs(2).requires_grad_()

    embedding, _ = model(x)
    embedding[:, 0].sum().backward()

    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0


# --- the occlusion head ------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_the_head_adds_a_map_and_changes_no_embedding(version):
    model = tiny_adaface(OcclusionAdaFace, version=version)
    x = inputs(2)

    embedding, norm, visible = model(x)

    assert_close((embedding, norm), tiny_adaface()(x), rtol=0, atol=0)
    assert visible.shape == (2, 1, 7, 7)
    assert 0 <= visible.min() < visible.max() <= 1
    assert_close(model.embed(x), (embedding, norm), rtol=0, atol=0)


def test_maps_are_those_of_the_layers_by_hand():
    model, x = tiny_adaface(OcclusionAdaFace, version=2), inputs(2)
    head, features = model.occlusion_head, model.features(x)

    hidden = torch.relu(head.bn1(head.conv1(features)))
    weights, bias = head.conv2.weight[0, :, 0, 0], head.conv2.bias
    visible = torch.sigmoid(torch.einsum("bchw,c->bhw", hidden, weights) + bias)

    assert_close(model(x)[2][:, 0], visible)


def test_there_are_two_versions_of_the_head():
    with pytest.raises(InputValueError, match="version is 1 or 2, got 3"):
        OcclusionAdaFace(TINY, version=3)


# --- errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 112, 112), r"\(B, 3, 112, 112\), got \(3, 112, 112\)"),
        (torch.zeros(2, 3, 112, 96), r"got \(2, 3, 112, 96\); to_input\(\) makes"),
        (torch.zeros(1, 112, 112, 3), r"got \(1, 112, 112, 3\)"),
        (torch.zeros(1, 3, 112, 112).byte(), "torch.float32, got torch.uint8"),
        (torch.zeros(1, 3, 112, 112).double(), "torch.float32, got torch.float64"),
        (np.zeros((1, 3, 112, 112)), "takes a tensor, got ndarray; to_input"),
    ],
)
def test_what_is_no_input_is_refused(x, message):
    with pytest.raises((InputTypeError, InputValueError), match=message):
        tiny_adaface()(x)


def test_unknown_architectures_and_sizes_are_refused():
    with pytest.raises(InputValueError, match=r"'ir_51'; there are ir_18, ir_34"):
        AdaFace("ir_51")
    with pytest.raises(InputValueError, match="size is 112 or 224, got 96"):
        AdaFace("ir_18", size=96)


# --- norms and fusion --------------------------------------------------------------


def test_norms_are_taken_along_any_axis():
    x = torch.randn(4, 3, 5)

    unit, norm = l2_norm(x, axis=0)

    assert norm.shape == (1, 3, 5)
    assert_close(unit * norm, x)
    assert_close(unit.square().sum(0), torch.ones(3, 5))


def test_norms_of_half_precision_do_not_overflow():
    unit, norm = l2_norm(torch.full((1, 512), 6e4, dtype=torch.float16))

    assert_close(norm, torch.full((1, 1), 6e4 * 512**0.5), rtol=1e-3, atol=0)
    assert_close(unit, torch.full((1, 512), 512**-0.5))


def test_opposite_views_cancel():
    view = torch.tensor([[0.6, 0.8]])
    norms = torch.ones(2, 1, 1)

    fused, norm = fuse_features_with_norm(torch.stack((view, -view)), norms)

    assert fused.tolist() == [[0, 0]]
    assert norm.item() == 0


def test_flipped_views_fuse_to_the_official_numbers():
    model, known = small_adaface(), reference()
    x = official_inputs(faces())

    with torch.no_grad():
        views = [model(x), model(x.flip(3))]
    embeddings, norms = (torch.stack(parts) for parts in zip(*views))
    fused, norm = fuse_features_with_norm(embeddings, norms)

    assert_close(fused.numpy(), known["g10_fused_embedding"], **EMBEDDING)
    assert_close(norm.numpy(), known["g10_fused_norm"], **NORM)


# --- compiled and exported ---------------------------------------------------------


def test_the_network_compiles():
    model, x = tiny_adaface(), inputs(2)

    compiled = torch.compile(model, backend="eager", fullgraph=True)

    assert_close(compiled(x), model(x))


@pytest.mark.filterwarnings("ignore")  # of the exporter about itself
def test_the_network_is_exported_for_any_batch(tmp_path):
    pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="running needs onnxruntime")
    model, file = tiny_adaface(), tmp_path / "adaface.onnx"

    torch.onnx.export(
        model,
        (inputs(2),),
        file,
        input_names=["x"],
        output_names=["embedding", "norm"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )

    session = runtime.InferenceSession(file)
    for n in (1, 5):
        found = session.run(None, {"x": inputs(n).numpy()})
        with torch.no_grad():
            embedding, norm = model(inputs(n))
        assert_close(torch.from_numpy(found[0]), embedding, rtol=0, atol=1e-6)
        assert_close(torch.from_numpy(found[1]), norm, rtol=1e-5, atol=0)
