"""Captions to ids and back, and the file of the vocabulary."""

import json

import pytest

from unfussy.errors import CheckpointError, InputValueError
from unfussy.models.multimodal import CaptionTokenizer

CAPTIONS = ["A fox, a tree", "an old fox!", "the old tree."]


def words(tokenizer, ids):
    return [tokenizer.idx2word[i] for i in ids]


def test_words_are_numbered_by_how_frequent_they_are():
    tokenizer = CaptionTokenizer.build(CAPTIONS)

    expected = "<PAD> <START> <END> <UNK> a old fox, tree an fox! the tree."
    assert " ".join(tokenizer.word2idx) == expected
    assert len(tokenizer) == 12


def test_rare_words_and_those_beyond_the_size_are_left_out():
    few = CaptionTokenizer.build(CAPTIONS, vocab_size=5)
    frequent = CaptionTokenizer.build(CAPTIONS, min_freq=2)

    assert words(few, range(4, len(few))) == ["a"]
    assert words(frequent, range(4, len(frequent))) == ["a", "old"]


def test_words_kept_with_punctuation_are_never_found():
    tokenizer = CaptionTokenizer.build(CAPTIONS)

    ids = tokenizer.encode("The old fox", max_length=6)

    assert ids == [1, tokenizer.word2idx["the"], tokenizer.word2idx["old"], 3, 2, 0]


def test_a_caption_that_is_cut_loses_its_end():
    assert CaptionTokenizer.build(CAPTIONS).encode("a a a", 3) == [1, 4, 4]


@pytest.mark.parametrize(
    ("style", "ids"), [("production", [1, 4, 2]), ("simple", [1, 3, 3, 2])]
)
def test_styles_differ_in_quotes_and_empty_words(style, ids):
    tokenizer = CaptionTokenizer.build(CAPTIONS, style=style)

    assert tokenizer.encode("'a' ...", len(ids)) == ids


def test_production_decodes_to_the_first_end_and_to_words_alone():
    tokenizer = CaptionTokenizer(
        {
            "<PAD>": 0,
            "<START>": 1,
            "<END>": 2,
            "<UNK>": 3,
            "fox": 4,
            "<x>": 5,
            "[UNK]": 6,
        }
    )

    assert tokenizer.decode([1, 3, 4, 5, 6, 99, 4, 2, 4]) == "fox fox"
    assert tokenizer.decode([1, 2, 4]) == "an engraving"


def test_simple_decodes_everything():
    tokenizer = CaptionTokenizer.build(["fox"], style="simple")

    assert tokenizer.decode([1, 4, 2, 4, 3, 99, 0]) == "fox fox <UNK> <UNK>"


def test_the_file_is_the_official_one(tmp_path):
    tokenizer = CaptionTokenizer.build(CAPTIONS)

    file = tokenizer.save(tmp_path / "new" / "tokenizer.json")

    content = json.loads(file.read_text())
    assert content["vocab_size"] == 8000
    assert content["idx2word"]["4"] == "a"
    assert content["word2idx"]["a"] == 4
    again = CaptionTokenizer.from_file(file)
    assert (again.word2idx, again.idx2word) == (tokenizer.word2idx, tokenizer.idx2word)
    assert (again.vocab_size, len(again)) == (8000, 12)


def test_a_file_that_is_not_there_is_missed_with_advice(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no tokenizer .*checkpoints/tokenizer"
    ):
        CaptionTokenizer.from_file(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"word2idx": {"a": "b"}}', "3"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, text):
    file = tmp_path / "tokenizer.json"
    file.write_text(text)

    with pytest.raises(CheckpointError, match="tokenizer.json"):
        CaptionTokenizer.from_file(file)


def test_a_tokenizer_without_words_cannot_encode():
    with pytest.raises(InputValueError, match="no words"):
        CaptionTokenizer().encode("a fox")


def test_another_style_is_refused():
    with pytest.raises(InputValueError, match="got 'fast'"):
        CaptionTokenizer(style="fast")
