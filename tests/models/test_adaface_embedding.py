"""The easy methods of AdaFace: faces in any form, and no trace of the call."""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.adafaces import (
    faces,
    official_inputs,
    reference,
    small_adaface,
    tiny_adaface,
)
from unfussy import configure, explain, options, stream
from unfussy.errors import InputTypeError, InputValueError, UnfussyError
from unfussy.models.adaface import OcclusionAdaFace, fuse_features_with_norm, to_input

Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def model():
    return tiny_adaface()


@pytest.fixture
def known(model):
    with torch.no_grad():
        return model(official_inputs(faces()))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{'long' * i}{i}.png" for i in range(4)]
    for path, pixels in zip(paths, faces()):
        Image.fromarray(pixels).save(path)
    return paths


# --- official numbers --------------------------------------------------------------


@pytest.mark.parametrize(("flip", "name"), [(False, "g10"), (True, "g10_fused")])
def test_embeddings_are_the_official_ones(flip, name):
    model, reference_numbers = small_adaface(), reference()

    found = model.easy_embed(faces(), flip=flip, return_norm=True, return_numpy=True)

    embedding, norm = (reference_numbers[f"{name}_{x}"] for x in ("embedding", "norm"))
    np.testing.assert_allclose(found[0], embedding, rtol=0, atol=3e-6)
    np.testing.assert_allclose(found[1], norm, rtol=3e-6)


def test_low_precision_stays_close():
    model, known = small_adaface(), reference()

    found, norm = model.easy_embed(faces(), precision="bf16", return_norm=True)

    embedding = torch.from_numpy(known["g10_embedding"])
    assert found.dtype == norm.dtype == torch.float32
    assert_close(found, embedding, rtol=0, atol=3e-3)
    assert (found * embedding).sum(1).min() >= 0.9998
    assert_close(norm, torch.from_numpy(known["g10_norm"]), rtol=1e-2, atol=0)
    assert not torch.equal(found, embedding)


# --- any form ----------------------------------------------------------------------


def test_faces_in_any_form_are_embedded(model, known, files):
    pixels = faces()
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    embedding, _ = known

    assert_close(model.easy_embed(pixels), embedding, **CLOSE)
    assert_close(model.easy_embed(list(pixels)), embedding, **CLOSE)
    assert_close(model.easy_embed(pixels[..., ::-1], channels="bgr"), embedding)
    assert_close(model.easy_embed(tensor, channels="rgb"), embedding, **CLOSE)
    assert_close(model.easy_embed(list(tensor), channels="rgb"), embedding, **CLOSE)
    assert_close(model.easy_embed(files), embedding, **CLOSE)
    assert_close(model.easy_embed([str(file) for file in files]), embedding, **CLOSE)
    mixed = [Image.fromarray(pixels[0]), pixels[1], files[2], str(files[3])]
    assert_close(model.easy_embed(mixed), embedding, **CLOSE)


def test_one_face_gives_one_embedding(model, known, files):
    pixels = faces()[1]
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    embedding, norm = (part[1] for part in known)

    for image, said in {
        "array": (pixels, {}),
        "picture": (Image.fromarray(pixels), {}),
        "path": (files[1], {}),
        "name": (str(files[1]), {}),
        "tensor": (tensor, {"channels": "rgb"}),
    }.values():
        found = model.easy_embed(image, return_norm=True, **said)
        assert_close(found, (embedding, norm), **CLOSE)
        fused = model.easy_embed(image, flip=True, **said)
        assert fused.shape == (512,)


def test_no_faces_give_no_embeddings(model):
    for nothing in ([], np.zeros((0, 112, 112, 3), np.uint8)):
        for flip in (False, True):
            found, norm = model.easy_embed(nothing, flip=flip, return_norm=True)
            assert (found.shape, norm.shape) == ((0, 512), (0, 1))


def test_inputs_of_the_network_are_embedded_by_forward(model, known):
    x = torch.cat([to_input(pixels) for pixels in faces()])

    found = model.easy_forward(x.numpy().astype(np.float64), batch_size=3)

    assert_close(found, known, **CLOSE)
    with_head = tiny_adaface(OcclusionAdaFace)
    assert with_head.easy_forward(x, batch_size=3)[2].shape == (4, 1, 7, 7)
    assert_close(with_head.easy_embed(faces()), known[0], **CLOSE)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "None is no face"),
        ([faces()[0], None], "None is no face"),
        ((faces()[0], faces()[1]), "several are a list, an array or a tensor, got tup"),
        ((x for x in faces()), r"got generator; unfussy.stream\(\) takes any iterable"),
    ],
)
def test_what_is_no_image_is_refused(model, images, message):
    with pytest.raises(InputTypeError, match=message):
        model.easy_embed(images)


def test_faces_that_are_not_aligned_are_refused(model):
    with pytest.raises(InputValueError, match="got 64 x 80; align faces first"):
        model.easy_embed([faces()[0], np.zeros((80, 64, 3), np.uint8)])


# --- two views ---------------------------------------------------------------------


def test_mirrored_views_are_fused_by_their_norms(model, known):
    with torch.no_grad():
        mirrored = model(official_inputs(faces()).flip(3))

    found = model.easy_embed(faces(), flip=True, return_norm=True, batch_size=3)

    views = (torch.stack(parts) for parts in zip(known, mirrored))
    assert_close(found, fuse_features_with_norm(*views), **CLOSE)


# --- options -----------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, "auto", None])
def test_chunks_change_nothing(model, known, files, batch_size):
    done = []

    for images in (faces(), files):
        found = model.easy_embed(
            images, return_norm=True, batch_size=batch_size, progress=done.append
        )
        assert_close(found, known, **CLOSE)

    assert sum(done) == 8


def test_files_are_read_chunk_by_chunk(model, files, monkeypatch):
    seen = []
    run = type(model).embed
    monkeypatch.setattr(
        type(model), "embed", lambda self, x: seen.append(len(x)) or run(self, x)
    )

    model.easy_embed(files, batch_size=2)

    assert seen == [2, 2]


def test_options_of_a_block_and_configured_methods_apply(model, known):
    with options(out="mirror", batch_size=2):
        assert isinstance(model.easy_embed(faces()), np.ndarray)
    found = configure(model.easy_embed, batch_size=2)(faces()[0])
    assert_close(found, known[0][0], **CLOSE)


def test_a_call_can_be_explained(model):
    text = str(explain(configure(model.easy_embed, batch_size=3), faces()))

    assert "easy_embed() on cpu, float32" in text
    assert "2 chunks" in text


def test_models_in_double_precision_embed_in_it(model, known):
    found = model.double().easy_embed(faces())

    assert found.dtype == torch.float64
    assert_close(found.float(), known[0], **CLOSE)


# --- sources -----------------------------------------------------------------------


def test_files_are_streamed(model, known, files):
    found = list(model.stream("embed", iter(files), return_norm=True))

    assert_close(torch.stack([embedding for embedding, _ in found]), known[0], **CLOSE)


def test_files_that_cannot_be_read_do_not_stop_the_others(model, known, files):
    files[1].write_bytes(b"no picture")

    found = list(stream(model.easy_embed, files, on_error="return"))

    assert str(found[1]).startswith("item 1: UnreadableImageError:")
    assert files[1].name in str(found[1])
    rest = [found[i] for i in (0, 2, 3)]
    assert_close(torch.stack(rest), known[0][[0, 2, 3]], **CLOSE)


# --- no trace ----------------------------------------------------------------------


def test_nothing_is_kept_in_the_network(model):
    model.train()
    model.body[0].eval()
    weights = copy.deepcopy(model.state_dict())
    modes = [part.training for part in model.modules()]
    random = torch.get_rng_state()

    model.easy_embed(faces(), flip=True)
    with pytest.raises(UnfussyError):
        model.easy_embed(np.zeros((2, 64, 64, 3), np.uint8))

    assert [part.training for part in model.modules()] == modes
    assert_close(dict(model.state_dict()), dict(weights), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


def test_one_face_is_embedded_while_training(model, known):
    model.train()

    found = model.easy_embed(faces()[0])

    assert_close(found, known[0][0], **CLOSE)
    assert not found.is_inference()
    assert not found.requires_grad


def test_warming_up_embeds(model):
    assert model.warmup(faces()) is model
