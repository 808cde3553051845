"""Pictures with captions from seeds: the forms of results, and what they depend on."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.multimodals import (
    assert_same_samples,
    largest_step,
    numbered_words,
    small_generator,
    small_model,
)
from unfussy.errors import CheckpointError, DeviceError, InputValueError
from unfussy.models.multimodal import MultimodalGenerator, MultimodalModel
from unfussy.testing import Arena

KEYS = ["seed", "caption", "latent_dim", "temperature", "image_size", "device"]


@pytest.fixture(scope="module")
def generator():
    return small_generator()


# --- the forms of results ----------------------------------------------------------


def test_a_seed_gives_a_picture_and_a_caption(generator):
    image, caption = generator.generate(seed=42)

    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert isinstance(caption, str)
    again, same = generator.generate(np.float64(42))
    assert (again.tobytes(), same) == (image.tobytes(), caption)


def test_metadata_are_those_of_the_guide_and_json_takes_them(generator):
    _, caption, metadata = generator.generate_with_metadata(np.int64(3))

    assert list(metadata) == KEYS
    assert metadata["seed"] == 3
    assert metadata["caption"] == caption
    assert metadata["image_size"] == [32, 32]
    assert json.loads(json.dumps(metadata)) == metadata


def test_a_batch_is_what_its_seeds_give_alone(generator):
    seeds = [5, 0, 5, 2**32 - 1, 1]

    batch = generator.generate_batch(iter(seeds))

    assert [metadata["seed"] for *_, metadata in batch] == seeds
    alone = [generator.generate_with_metadata(seed) for seed in seeds]
    assert_same_samples(batch, alone)


def test_no_seeds_give_nothing(generator):
    assert generator.generate_batch([]) == []
    assert list(generator.generate_iter([])) == []
    assert generator.latents([]).shape == (0, 8)


def test_different_seeds_give_different_results(generator):
    samples = generator.generate_batch(range(6))

    assert len({image.tobytes() for image, *_ in samples}) == 6
    assert len({caption for _, caption, _ in samples}) > 3


def test_captions_are_sampled_from_the_whole_of_the_logits():
    generator, model = small_generator(max_words=20), small_model()

    samples = generator.generate_batch(range(8))

    for seed, (_, caption, _) in enumerate(samples):
        ids = official_ids(model, seed)
        words = [f"w{i}" for i in ids]
        assert caption == (" ".join(words) if len(words) > 1 else "an engraving")


def official_ids(model, seed, temperature=0.7, penalty=1.2):
    """Return a caption the slow way: the global generator, and all rows first."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        logits, ids = model.decode_text(torch.randn(1, 8))[0], []
        for row in logits[:30].clone():
            if ids:
                row[ids[-1]] /= penalty
            chances = torch.softmax(row / temperature, -1)
            word = torch.multinomial(chances, 1).item()
            if word in (0, 2):
                return ids
            if word > 3:
                ids.append(word)
    return ids


# --- one after the other -----------------------------------------------------------


def test_endless_seeds_come_one_after_the_other(generator):
    def forever():
        seed = 0
        while True:
            yield seed
            seed += 1

    samples = generator.generate_iter(forever())
    first = [next(samples) for _ in range(3)]
    samples.close()

    assert_same_samples(first, generator.generate_batch(range(3)))


def test_an_interrupt_loses_nothing_that_is_finished():
    model, finished = small_model(), []
    generator = small_generator(model, batch_size=2)
    decode, calls = model.image_decoder.forward, []

    def interrupted(z):
        calls.append(len(z))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(z)

    model.image_decoder.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        finished.extend(generator.generate_iter(range(8)))
    del model.image_decoder.forward

    rest = list(generator.generate_iter(range(len(finished), 8)))
    assert len(finished) == 4
    assert_same_samples([*finished, *rest], generator.generate_batch(range(8)))


def test_a_bad_seed_comes_after_the_results_before_it(generator):
    samples = generator.generate_iter([1, 2, -1])

    assert [next(samples)[2]["seed"] for _ in range(2)] == [1, 2]
    with pytest.raises(InputValueError, match="got -1"):
        next(samples)
    assert generator.generate(1)


def test_progress_counts_samples(generator):
    done = []

    generator.generate_batch(range(5), progress=done.append)

    assert sum(done) == 5


# --- memory ------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_cut_and_gives_the_same():
    model = small_model()
    generator = small_generator(model, batch_size=8)
    expected = generator.generate_batch(range(8))
    arena = Arena(300_000)

    with arena.limit(model.image_decoder.decoder):
        found = generator.generate_batch(range(8))

    assert arena.n_refused > 0
    assert_same_samples(found, expected)


# --- latents -----------------------------------------------------------------------


def test_latents_go_out_and_come_in_again(generator):
    z = generator.latents([4, 9])

    samples = generator.from_latents(z.numpy(), [4, 9])

    assert_same_samples(samples, generator.generate_batch([4, 9]))
    image, caption = generator.generate(9, z=z[1].tolist())
    assert (caption, largest_step(image, samples[1][0]) <= 1) == (samples[1][1], True)


def test_latents_are_drawn_as_the_official_code_draws_them(generator):
    with torch.random.fork_rng():
        torch.manual_seed(6)
        official = torch.randn(1, 8)

    assert torch.equal(generator.latents([6]), official)


def test_the_way_from_seed_to_seed_includes_both(generator):
    samples = generator.interpolate(3, 8, steps=5)

    assert len(samples) == 5
    ends = [samples[0], samples[-1]]
    assert_same_samples(ends, generator.generate_batch([3, 8]))


@pytest.mark.parametrize(
    ("z", "seeds", "message"),
    [
        (torch.zeros(2, 7), None, r"\(N, 8\) or \(8,\), got \(2, 7\)"),
        (torch.zeros(2, 2, 8), None, "got"),
        (torch.zeros(2, 8), [1], "2 latents need 2 seeds, got 1"),
    ],
)
def test_latents_of_another_shape_are_refused(generator, z, seeds, message):
    with pytest.raises(InputValueError, match=message):
        generator.from_latents(z, seeds)


# --- settings ----------------------------------------------------------------------


def test_a_temperature_of_zero_takes_the_best_words_for_any_seed(generator):
    z = torch.ones(8)

    first = generator.generate(1, z=z, temperature=0)[1]

    assert generator.generate(2, z=z, temperature=0)[1] == first
    assert generator.generate_with_metadata(2, temperature=0)[2]["temperature"] == 0
    assert generator.rules.temperature == 0.7


def test_pictures_of_another_size_are_means_of_areas():
    large, small = small_generator(), small_generator(output_size=(16, 8))

    image, caption = small.generate(5)

    assert image.size == (16, 8)
    full, same = large.generate(5)
    means = np.asarray(full).astype(float).reshape(8, 4, 16, 2, 3).mean((1, 3))
    assert_close(np.asarray(image).astype(float), means, rtol=0, atol=1.01)
    assert caption == same


def test_random_numbers_may_come_from_where_the_model_is(generator):
    own = small_generator(rng_device="model")

    assert_same_samples(own.generate_batch([1, 2]), generator.generate_batch([1, 2]))


def test_low_precision_moves_no_pixel_far(generator):
    quick = small_generator(precision="bf16")

    image, _ = quick.generate(3)

    assert largest_step(image, generator.generate(3)[0]) <= 8


def test_nothing_global_is_drawn_and_the_model_stays_as_it_was():
    model = small_model().train()
    generator = small_generator(model)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002

    generator.generate_batch(range(3))

    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert all(part.training for part in model.modules())


def test_captions_that_have_stopped_cost_no_more_steps():
    model, lengths = small_model(), []
    with torch.no_grad():
        model.text_decoder.output_projection.bias[2] = 1000
    model.text_decoder.transformer_decoder.register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1])
    )

    samples = small_generator(model).generate_batch(range(2))

    assert [caption for _, caption, _ in samples] == ["an engraving"] * 2
    assert lengths == [1, 2, 3, 4]


# --- files -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    torch.save(small_model().state_dict(), tmp_path / "best.pt")
    numbered_words().save(tmp_path / "tokenizer.json")
    return tmp_path


def test_files_of_the_training_are_read(folder, generator):
    paths = folder / "best.pt", folder / "tokenizer.json"

    loaded = MultimodalGenerator(*paths, latent_dim=8, vocab_size=50, device="cpu")

    assert_same_samples(loaded.generate_batch([1]), generator.generate_batch([1]))
    assert not loaded.is_trial


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"latent_dim": 16, "vocab_size": None}, "latent_dim=8.*latent_dim=16"),
        ({"latent_dim": None}, "vocab_size=50.*vocab_size=1266"),
    ],
)
def test_a_size_that_contradicts_the_weights_is_named_with_theirs(folder, sizes, named):
    with pytest.raises(CheckpointError, match=rf"best.pt has {named}"):
        MultimodalGenerator(folder / "best.pt", folder / "tokenizer.json", **sizes)


def test_a_ready_model_is_held_to_sizes_that_were_said():
    with pytest.raises(CheckpointError, match="latent_dim=8.*latent_dim=16"):
        small_generator(latent_dim=16)


def test_files_that_are_not_there_are_missed_with_advice(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoints/best\.pt.*from_config"):
        MultimodalGenerator(tmp_path / "other.pt", folder / "tokenizer.json")
    with pytest.raises(FileNotFoundError, match=r"no tokenizer"):
        MultimodalGenerator(folder / "best.pt", tmp_path / "other.json")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match="no device 'abacus' here"):
        small_generator(device="abacus")


def test_an_output_size_without_pixels_is_refused():
    with pytest.raises(InputValueError, match="output_size .* got 0"):
        small_generator(output_size=0)


def test_a_trial_needs_no_files_and_says_what_it_is():
    trial = MultimodalGenerator.from_config(seed=1, image_size=32, width=64)

    _, caption, metadata = trial.generate_with_metadata(5)

    assert trial.is_trial
    assert metadata["weights"] == "random, from seed 1: a trial only"
    assert set(caption.split()) <= set(trial.tokenizer.word2idx)
    assert isinstance(trial.model, MultimodalModel)
