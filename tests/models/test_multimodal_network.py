"""The multimodal network against the official one, and its sizes."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tests.models.multimodals import SEEDS, official_model, reference, small_model
from unfussy.errors import InputValueError
from unfussy.models.multimodal import MultimodalModel, to_pixels


@torch.no_grad()
@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_are_the_official_ones(seed):
    z = reference()[f"z_{seed}"][None]

    image = official_model().decode_image(z)

    assert image.shape == (1, 3, 512, 512)
    strided = image[0, :, 8::16, 8::16]
    assert_close(strided, reference()[f"image_strided_{seed}"], rtol=0, atol=1e-4)
    area = torch.nn.functional.adaptive_avg_pool2d(image[0], 32)
    assert_close(area, reference()[f"image_area_{seed}"], rtol=0, atol=1e-4)
    pixels = to_pixels(image)[0]
    steps = pixels[8::16, 8::16].int() - reference()[f"image_u8_strided_{seed}"].int()
    assert steps.abs().max() <= 1


@torch.no_grad()
@pytest.mark.parametrize("seed", SEEDS)
def test_free_logits_are_the_official_ones(seed):
    logits = official_model().decode_text(reference()[f"z_{seed}"][None])[0]

    assert_close(logits, reference()[f"logits_{seed}"], rtol=0, atol=1e-3)
    assert logits.argmax(-1).tolist() == reference()[f"argmax_{seed}"].tolist()


@torch.no_grad()
def test_taught_logits_are_the_official_ones():
    tokens = reference()["tf_tokens"].long()

    logits = official_model().decode_text(reference()["tf_z"], tokens)

    expected = reference()["tf_lse"]
    assert_close(logits.logsumexp(-1), expected, rtol=0, atol=1e-3)


def test_keys_and_shapes_are_those_of_the_official_weights():
    path = Path(__file__).parent / "data" / "multimodal_keys.json"
    with torch.device("meta"):
        model = MultimodalModel(1024, 3, 1266, 100, image_size=512)

    shapes = {key: list(x.shape) for key, x in model.state_dict().items()}

    assert shapes == json.loads(path.read_text())
    assert list(shapes) == list(json.loads(path.read_text()))
    assert sum(p.numel() for p in model.parameters()) == 101_805_685


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_any_power_of_two_can_be_the_side_of_a_picture(size):
    model = MultimodalModel.from_config(8, 1, 9, 5, image_size=size, width=8)

    image = model.easy_decode_image(torch.zeros(2, 8))

    assert image.shape == (2, 1, size, size)
    again = MultimodalModel.from_state_dict(model.state_dict())
    assert again.image_size == size


def test_the_side_of_a_fresh_model_is_256_with_one_stage_fewer():
    with torch.device("meta"):
        keys = MultimodalModel().state_dict()

    weights = [
        x for k, x in keys.items() if "image_decoder.decoder" in k and x.ndim > 1
    ]
    assert [tuple(x.shape[:2]) for x in weights] == [
        (512, 256),
        (256, 128),
        (128, 64),
        (64, 3),
    ]


@pytest.mark.parametrize("size", [0, 16, 48, 100, 300])
def test_other_sides_are_refused(size):
    with pytest.raises(InputValueError, match=f"image_size is 32.*got {size}"):
        MultimodalModel(8, image_size=size)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(InputValueError, match="multiple of 8, got 20"):
        MultimodalModel(8, width=20)


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 2, 7, 19])
@pytest.mark.parametrize("batch", [1, 3])
def test_fewer_rows_are_the_first_of_all_to_the_bit(rows, batch):
    model = small_model()
    z = torch.randn(batch, 8, generator=torch.Generator().manual_seed(1))

    few = model.decode_text(z, rows=rows)

    assert torch.equal(few, model.decode_text(z)[:, :rows])


@torch.no_grad()
def test_the_transformer_takes_no_part_in_taught_logits():
    model, tokens = small_model(), torch.tensor([[1, 5, 6, 2]])
    before = model.decode_text(torch.ones(1, 8), tokens)

    for parameter in model.text_decoder.transformer_decoder.parameters():
        parameter.zero_()

    assert torch.equal(model.decode_text(torch.ones(1, 8), tokens), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 21}, "1 to 20 rows, got 21"),
        ({"rows": 0}, "1 to 20 rows, got 0"),
        ({"caption_tokens": torch.zeros(1, 21).long()}, "1 to 20 rows, got 21"),
        ({"rows": 2, "caption_tokens": torch.zeros(1, 2).long()}, "not both"),
    ],
)
def test_rows_that_there_are_not_are_refused(options, message):
    with pytest.raises(InputValueError, match=message):
        small_model().decode_text(torch.zeros(1, 8), **options)


def test_forward_gives_all_three_and_learns():
    model = small_model().train()

    out = model(torch.rand(2, 3, 40, 32), torch.tensor([[1, 5, 2], [1, 6, 2]]))

    assert set(out) == {"z", "image_recon", "caption_logits"}
    assert out["image_recon"].shape == (2, 3, 32, 32)
    sum(x.square().mean() for x in out.values()).backward()
    untouched = [k for k, p in model.named_parameters() if p.grad is None]
    assert all("transformer_decoder" in key for key in untouched)
    assert len(untouched) == 72


def test_the_digest_of_a_whole_picture_is_the_official_one_where_rounding_agrees():
    z = reference()["z_0"][None]

    pixels = to_pixels(official_model().easy_decode_image(z))[0].numpy()

    digest = hashlib.sha256(pixels.tobytes()).digest()
    if digest != reference()["sha256_0"].numpy().tobytes():
        pytest.skip("this processor rounds differently; other tests bound by how much")
    assert pixels.shape == (512, 512, 3)


def test_low_precision_leaves_the_choice_of_words_in_full_precision():
    model, z = small_model(), torch.randn(2, 8, generator=torch.Generator())

    logits = model.easy_decode_text(z, precision="bf16")

    assert logits.dtype == torch.float32
    assert_close(logits[:, 0], model.easy_decode_text(z)[:, 0], rtol=0, atol=0.05)
    assert not torch.equal(logits, logits.bfloat16().float())
