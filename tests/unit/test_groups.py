"""Groups: which items may share a chunk, as a function or a method says."""

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import Pad, batched, configure, explain, inference, options, stream
from unfussy.errors import InputTypeError, PlanError

WORDS = ["a", "bb", "c", "dd", "e", "fff"]


class Reader(nn.Module):
    """Remembers what each chunk was, and tells how long its items are."""

    def __init__(self, modulus=10):
        super().__init__()
        self.modulus, self.seen = modulus, []

    def remainder(self, item):
        return len(item) % self.modulus

    @batched(ragged="list", group=len, join="items")
    @inference
    def read(self, items):
        self.seen.append(list(items))
        return [len(item) for item in items]

    @batched(ragged="list", group="remainder", cost="remainder", budget=4)
    @inference
    def read_by_method(self, items):
        self.seen.append(list(items))
        return [len(item) for item in items]

    @batched(pad=Pad(), group=lambda x: int(x[0]))
    @inference
    def first(self, x):
        self.seen.append(x)
        return x[:, 0]


@pytest.fixture
def reader():
    return Reader()


def test_only_items_of_one_group_share_a_chunk(reader):
    lengths = reader.read(WORDS)

    assert lengths == [1, 2, 1, 2, 1, 3]
    assert reader.seen == [["a", "c", "e"], ["bb", "dd"], ["fff"]]


def test_the_size_of_a_chunk_bounds_each_group(reader):
    configure(reader.read, batch_size=2)(WORDS)

    assert sorted(map(len, reader.seen)) == [1, 1, 2, 2]


def test_a_method_that_is_named_looks_at_the_settings():
    found = {}
    for modulus in (2, 10):
        reader = Reader(modulus)
        reader.read_by_method(WORDS)
        found[modulus] = sorted(reader.seen)

    assert found[2] == [["a", "c", "e", "fff"], ["bb", "dd"]]
    assert found[10] == [["a", "c", "e"], ["bb", "dd"], ["fff"]]


def test_padded_items_of_two_groups_are_not_padded_together(reader):
    items = [np.array([1.0]), np.array([2.0, 2]), np.array([1.0, 1, 1])]

    assert reader.first(items).tolist() == [1, 2, 1]
    assert sorted(x.tolist() for x in reader.seen) == [
        [[1, 0, 0], [1, 1, 1]],
        [[2, 2]],
    ]


def test_rows_of_a_tensor_have_groups_too(reader):
    @batched(group=lambda row: int(row[0]))
    def echo(module, x):
        reader.seen.append(x[:, 0].tolist())
        return x

    x = torch.tensor([[1.0], [2], [1], [2], [2]])

    assert torch.equal(echo(reader, x), x)
    assert reader.seen == [[1, 1], [2, 2, 2]]


def test_an_option_regroups_one_call(reader):
    with options(group=lambda _: None):
        reader.read(WORDS)

    assert reader.seen == [WORDS]


def test_out_of_memory_cuts_a_group_and_changes_nothing(reader):
    @batched(ragged="list", group=len, join="items")
    def read(module, words):
        if len(words) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        reader.seen.append(words)
        return [word.upper() for word in words]

    assert read(reader, WORDS) == [word.upper() for word in WORDS]
    assert sorted(reader.seen) == [[word] for word in sorted(WORDS)]


def test_an_item_that_fails_is_told_by_its_index(reader):
    @inference
    @batched(ragged="list", group=len, join="items", on_error="return")
    def check(module, items):
        if "dd" in items:
            raise ValueError("dd")
        return items

    outcome = check(reader, WORDS)

    assert [failed.index for failed in outcome.failures] == [3]
    assert outcome.indices == (0, 1, 2, 4, 5)


def test_groups_are_told_before_a_call(reader):
    told = explain(reader.read, WORDS)

    assert told.batch == "6 items of items in 3 chunks, each of one group"
    assert [chunk.tolist() for chunk in told.chunks.chunks] == [[0, 2, 4], [1, 3], [5]]
    assert not reader.seen


def test_a_stream_groups_what_it_holds(reader):
    assert list(stream(reader.read, iter(WORDS))) == [1, 2, 1, 2, 1, 3]
    assert all(len({len(word) for word in chunk}) == 1 for chunk in reader.seen)


def test_what_cannot_be_compared_is_no_group(reader):
    grouped = configure(reader.read, group=lambda word: [word])

    with pytest.raises(InputTypeError, match="got list for item 0"):
        grouped(WORDS)


def test_a_tensor_is_no_group(reader):
    grouped = configure(reader.read, group=lambda word: torch.tensor(len(word)))

    with pytest.raises(InputTypeError, match="got Tensor for item 0"):
        grouped(WORDS)


def test_a_method_that_is_not_there_is_named(reader):
    grouped = configure(reader.read, group="rest")

    with pytest.raises(PlanError, match=r"group='rest' names a method.* Reader has"):
        grouped(WORDS)


@pytest.mark.parametrize("setting", ["cost", "group"])
def test_a_setting_is_a_function_or_a_name(setting):
    with pytest.raises(PlanError, match=f"{setting} is a function of one item"):
        batched(**{setting: 3})
