"""Containers of Transformers: results of models, and what tokenisers give."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import (
    BatchEncoding,
    BatchFeature,
    BertConfig,
    BertModel,
    DynamicCache,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput

from tests.givers import InPlace, OnMeta
from unfussy import tree_map, tree_paths, unfuss

X = torch.ones(2, 3)


def output():
    return BaseModelOutputWithPooling(X, pooler_output=None, hidden_states=(X + 1, X))


def test_a_model_output_moves_with_its_attributes_and_items():
    before = output()

    moved = OnMeta().moved(before)

    assert type(moved) is type(before)
    assert moved.last_hidden_state is moved["last_hidden_state"] is moved[0]
    assert moved.hidden_states is moved["hidden_states"]
    assert all(x.is_meta for x in (moved[0], *moved.hidden_states))
    assert moved.pooler_output is None
    assert list(moved) == list(before) == ["last_hidden_state", "hidden_states"]
    assert moved.to_tuple()[1][0].is_meta
    assert before.last_hidden_state is before[0] is X


def test_a_model_output_can_be_written_to_after_it_was_mapped():
    mapped = tree_map(torch.clone, output())

    mapped.last_hidden_state = X + 2

    assert mapped["last_hidden_state"].equal(X + 2)


def test_a_model_output_in_which_nothing_changes_comes_back():
    before = output()

    assert tree_map(lambda x: x, before) is before


def test_paths_lead_into_a_model_output():
    tree = output()

    for path, leaf in tree_paths(tree):
        assert eval(f"tree{path}") is leaf  # noqa: S307


def test_a_model_output_becomes_arrays():
    result = InPlace().moved_arrays(output())

    assert type(result) is BaseModelOutputWithPooling
    assert result.hidden_states[0].tolist() == [[2.0] * 3] * 2


def test_a_model_output_of_ones_own_moves():
    @dataclass
    class Own(ModelOutput):
        a: Any = None

    moved = OnMeta().moved(Own(a=X))

    assert type(moved) is Own
    assert moved["a"] is moved.a
    assert moved.a.is_meta


@pytest.mark.parametrize("kind", [BatchEncoding, BatchFeature])
def test_what_a_processor_gives_moves_and_the_input_stays(kind):
    before = kind({"input_ids": X, "names": ["a", "b"]})

    moved = OnMeta().moved(before)

    assert type(moved) is kind
    assert moved["input_ids"].is_meta
    assert moved.input_ids is moved["input_ids"]
    assert moved["names"] is before["names"]
    assert before["input_ids"] is X
    assert tree_map(lambda x: x, before) is before


def test_a_batch_encoding_keeps_what_it_knows_of_the_words():
    before = BatchEncoding({"input_ids": X}, n_sequences=1)
    before._encodings = encodings = object()

    moved = OnMeta().moved(before)

    assert moved.n_sequences == 1
    assert moved._encodings is encodings


def test_a_cache_is_the_callers_own_and_passes_as_it_is():
    cache = DynamicCache()

    assert OnMeta().moved(cache) is cache


def test_a_tiny_model_takes_and_gives_its_own_containers():
    sizes = dict.fromkeys(("hidden_size", "intermediate_size"), 8)
    config = BertConfig(
        vocab_size=11, num_hidden_layers=1, num_attention_heads=2, **sizes
    )
    model = unfuss(BertModel(config).eval())
    encoding = BatchEncoding({"input_ids": torch.tensor([[1, 2, 3], [4, 5, 6]])})

    result = model(**encoding)

    assert result.last_hidden_state.shape == (2, 3, 8)
    assert not result.last_hidden_state.requires_grad
