"""Laws of the generator: a seed decides all, whatever is made before or beside it."""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.multimodals import (
    assert_same_samples,
    small_generator,
    smallest_model,
)
from unfussy.models.multimodal import CaptionRules, CaptionTokenizer, sample_caption
from unfussy.models.multimodal.decoding import free_logits, free_rows

pytestmark = pytest.mark.property

SOME = (0, 1, 2, 7, 42, 99, 2**31, 2**32 - 1)


def some_seeds():
    return st.lists(st.sampled_from(SOME), max_size=6)


@functools.cache
def generator(batch_size="auto"):
    return small_generator(smallest_model(), batch_size=batch_size)


@functools.cache
def alone(seed):
    return generator().generate_with_metadata(seed)


@given(seeds=some_seeds(), batch_size=st.integers(1, 7))
def test_batches_of_any_size_give_what_seeds_give_alone(seeds, batch_size):
    batch = generator(batch_size).generate_batch(seeds)

    assert_same_samples(batch, [alone(seed) for seed in seeds])


@given(data=st.data(), seeds=some_seeds())
def test_seeds_in_another_order_give_results_in_that_order(data, seeds):
    order = data.draw(st.permutations(range(len(seeds))))
    batch = generator().generate_batch(seeds)

    moved = generator().generate_batch([seeds[i] for i in order])

    assert_same_samples(moved, [batch[i] for i in order])


@given(seeds=some_seeds(), batch_size=st.integers(1, 7))
def test_one_after_the_other_they_are_the_same(seeds, batch_size):
    samples = list(generator(batch_size).generate_iter(iter(seeds)))

    assert_same_samples(samples, [alone(seed) for seed in seeds])


@given(seed=st.sampled_from(SOME), state=st.integers(0, 2**32))
def test_the_global_state_is_neither_read_nor_changed(seed, state):
    with torch.random.fork_rng():
        before = torch.manual_seed(state).get_state()

        sample = generator().generate_with_metadata(seed)

        assert torch.equal(torch.get_rng_state(), before)
    assert_same_samples([sample], [alone(seed)])


@torch.no_grad()
@given(
    steps=st.lists(st.integers(1, 19), max_size=4, unique=True), count=st.integers(1, 3)
)
def test_rows_added_bit_by_bit_have_the_same_logits(steps, count):
    decoder, z = smallest_model().text_decoder, generator().latents(range(count))
    rows, parts, done = decoder.fc_latent(z)[:, None], [], 0

    for length in [*sorted(steps), 20]:
        rows = free_rows(decoder, rows, length)
        parts.append(free_logits(decoder, rows)[:, done:])
        done = length

    assert torch.equal(torch.cat(parts, 1), smallest_model().decode_text(z))


@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 12))
def test_a_caption_of_fewer_rows_is_the_beginning_of_one_of_more(seed, n_rows):
    logits = torch.randn(12, 9, generator=torch.Generator().manual_seed(seed))
    words = frozenset(range(4, 9))

    few, all_ = (
        sample_caption(
            logits,
            words,
            generator=torch.Generator().manual_seed(seed),
            rules=CaptionRules(max_words=most),
        )
        for most in (n_rows, 12)
    )

    assert all_[: len(few)] == few


@given(words=st.lists(st.text("abc", min_size=1), min_size=1, max_size=20))
def test_what_is_encoded_is_decoded_to_itself(words):
    caption = " ".join(words)
    tokenizer = CaptionTokenizer.build([caption])

    assert tokenizer.decode(tokenizer.encode(caption)) == caption
