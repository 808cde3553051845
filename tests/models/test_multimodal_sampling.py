"""Captions from logits, pixels from pictures, seeds, and what lies between two."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.models.multimodals import SEEDS, reference
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.multimodal import (
    CaptionRules,
    sample_caption,
    to_pictures,
    to_pixels,
)
from unfussy.models.multimodal.between import between
from unfussy.models.multimodal.seeds import checked_seed, start

WORDS = frozenset(range(4, 50))
BEST = CaptionRules(temperature=0)


def rows_of(*ids):
    return torch.eye(50)[list(ids)]


@pytest.mark.parametrize("seed", SEEDS)
def test_ids_are_the_official_ones(seed):
    latent, generator = start(seed, 32)

    ids = sample_caption(reference()[f"logits_{seed}"], WORDS, generator=generator)

    assert torch.equal(latent, reference()[f"z_{seed}"])
    assert ids == reference()[f"caption_ids_{seed}"].tolist()


@pytest.mark.parametrize("stop", [0, 2])
def test_padding_and_end_stop(stop):
    rows = rows_of(5, stop, 6)

    assert sample_caption(rows, WORDS, generator=torch.Generator(), rules=BEST) == [5]


def test_what_is_no_word_is_dropped_and_does_not_count_as_the_last_word():
    rows = rows_of(5, 1, 3, 9, 5)
    rows[-1, 6] = 0.9  # between 1 / 1.2 and 1

    ids = sample_caption(rows, WORDS - {9}, generator=torch.Generator(), rules=BEST)

    assert ids == [5, 6]


def test_the_penalty_favours_a_word_whose_logit_is_negative():
    rows = torch.stack([rows_of(5)[0], torch.full((50,), -10.0)])
    rows[1, 5], rows[1, 6] = -1.0, -0.9

    ids = sample_caption(rows, WORDS, generator=torch.Generator(), rules=BEST)

    assert ids == [5, 5]


def test_rows_beyond_the_most_words_are_not_read():
    rules = CaptionRules(temperature=0, max_words=2)

    assert sample_caption(
        rows_of(5, 6, 7), WORDS, generator=torch.Generator(), rules=rules
    ) == [5, 6]


def test_rows_after_a_stop_draw_nothing_and_the_logits_stay():
    rows, generator = rows_of(2, 5, 6) * 100, torch.Generator().manual_seed(3)
    other = torch.Generator().manual_seed(3)
    before = rows.clone()

    sample_caption(rows, WORDS, generator=generator)

    torch.multinomial(torch.ones(50), 1, generator=other)
    assert torch.equal(generator.get_state(), other.get_state())
    assert torch.equal(rows, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature is 0 .* got -1"),
        ({"temperature": math.nan}, "temperature"),
        ({"repetition_penalty": 0}, "repetition_penalty is more than 0, got 0"),
        ({"max_words": 0}, "max_words is 1 or more, got 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputValueError, match=message):
        CaptionRules(**settings)


# --- seeds -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed",
    [7, 7.0, np.int64(7), np.uint8(7), np.float32(7), np.array(7), torch.tensor(7)],
)
def test_whole_numbers_of_any_kind_are_seeds(seed):
    whole = checked_seed(seed)

    assert whole == 7
    assert type(whole) is int


@pytest.mark.parametrize("seed", [-1, 2**32, 1e20])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(InputValueError, match=r"from 0 to 4294967295"):
        checked_seed(seed)


@pytest.mark.parametrize("seed", [1.5, math.inf, math.nan])
def test_seeds_that_are_not_whole_are_refused(seed):
    with pytest.raises(InputValueError, match="whole number"):
        checked_seed(seed)


@pytest.mark.parametrize("seed", [True, "7", None, [7], 1j])
def test_what_is_no_number_is_no_seed(seed):
    with pytest.raises(InputTypeError, match="whole number"):
        checked_seed(seed)


# --- pixels ------------------------------------------------------------------------


def test_pixels_are_cut_and_not_rounded():
    row = torch.tensor([-3, -1, 0, 0.999, 1, 9]).reshape(1, 1, 1, 6)

    assert to_pixels(row).flatten().tolist() == [0, 0, 127, 254, 255, 255]
    assert to_pixels(row.bfloat16()).dtype == torch.uint8


def test_one_channel_makes_grey_pictures_and_two_make_none():
    (grey,) = to_pictures(torch.zeros(1, 4, 6, 1, dtype=torch.uint8))

    assert (grey.mode, grey.size) == ("L", (6, 4))
    with pytest.raises(InputValueError, match="1 or 3 channels, got 2"):
        to_pictures(torch.zeros(1, 4, 6, 2, dtype=torch.uint8))


def test_a_single_picture_without_a_batch_is_refused():
    with pytest.raises(InputValueError, match=r"\(B, C, H, W\), got \(3, 4, 4\)"):
        to_pixels(torch.zeros(3, 4, 4))


# --- between -----------------------------------------------------------------------


def test_the_arc_keeps_to_the_lengths_of_its_ends():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])

    path = between(a, b, 5)

    assert_close(path.norm(dim=1), torch.full((5,), 2.0))
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)


@pytest.mark.parametrize("way", ["spherical", "linear"])
def test_between_one_and_the_same_nothing_moves(way):
    a = torch.tensor([1.0, 2.0])

    assert_close(between(a, a, 3, way), a.expand(3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"), [((1,), "2 or more"), ((3, "bent"), "got 'bent'")]
)
def test_ways_that_there_are_not_are_refused(arguments, message):
    with pytest.raises(InputValueError, match=message):
        between(torch.ones(2), torch.zeros(2), *arguments)
