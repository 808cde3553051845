"""The four doors of the multimodal model."""

import pytest
import torch
from torch.testing import assert_close

from tests.models.multimodals import small_model
from unfussy.errors import CheckpointError
from unfussy.models.multimodal import MultimodalModel


def assert_same(model, other):
    assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert not model.training


def test_seeded_weights_are_the_same_and_private():
    before = torch.get_rng_state()

    first, again, other = (
        MultimodalModel.from_config(8, 3, 9, 5, image_size=32, width=16, seed=seed)
        for seed in (0, 0, 1)
    )

    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, again)
    z = torch.ones(1, 8)
    assert not torch.equal(first.decode_image(z), other.decode_image(z))
    assert all(x.isfinite().all() for x in first.state_dict().values())


@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_of_every_trainer_are_read(tmp_path, wrapper, prefix):
    model = small_model()
    state = {prefix + key: x for key, x in model.state_dict().items()}
    extra = {"epoch": 3, "optimizer_state_dict": {"state": {}}}
    torch.save(
        state if wrapper is None else {wrapper: state} | extra, tmp_path / "a.pt"
    )

    assert_same(MultimodalModel.from_pretrained(tmp_path / "a.pt"), model)


def test_of_a_folder_the_best_is_taken(tmp_path):
    best, last = small_model(), small_model(image_size=64)
    torch.save(best.state_dict(), tmp_path / "best.pt")
    torch.save({"model_state_dict": last.state_dict()}, tmp_path / "epoch_009.pt")

    assert_same(MultimodalModel.from_pretrained(tmp_path), best)
    chosen = MultimodalModel.from_pretrained(tmp_path, "epoch_009.pt")
    assert chosen.image_size == 64


def test_what_is_saved_is_read_again(tmp_path):
    model = small_model(num_layers=2)

    file = model.save_pretrained(tmp_path / "new")

    assert file.name == "model.safetensors"
    again = MultimodalModel.from_pretrained(file)
    assert_same(again, model)
    sizes = again.latent_dim, again.vocab_size, again.max_caption_length
    assert sizes == (8, 50, 20)


def test_double_precision_is_kept():
    again = MultimodalModel.from_state_dict(small_model().double().state_dict())

    assert again.inference_dtype == torch.float64
    assert again.easy_decode_text([[0.0] * 8]).dtype == torch.float64


def test_a_missing_and_a_foreign_tensor_are_listed():
    state = small_model().state_dict()
    del state["text_decoder.fc_latent.0.bias"]
    state["text_decoder.memory"] = torch.zeros(1)

    with pytest.raises(CheckpointError, match=r"1 missing(.|\n)*1 unexpected"):
        MultimodalModel.from_state_dict(state)


@pytest.mark.parametrize("state", [{}, {"a.weight": torch.zeros(2)}])
def test_other_weights_are_refused(state):
    with pytest.raises(
        CheckpointError, match="does not hold weights of MultimodalModel"
    ):
        MultimodalModel.from_state_dict(state)


def test_counters_may_be_absent():
    state = {k: x for k, x in small_model().state_dict().items() if "tracked" not in k}

    assert_same(MultimodalModel.from_state_dict(state), small_model())
