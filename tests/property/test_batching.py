"""Laws of batching: cut and joined is the same as whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfussy import batched, configure
from unfussy._batching import join, take
from unfussy.testing import simulate_oom

pytestmark = pytest.mark.property


def nestings(leaves):
    """Containers of what a function makes of the batch."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, inner),
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2),
        ),
        max_leaves=4,
    )


shapes = st.lists(st.integers(0, 3), max_size=2)
lengths = st.integers(0, 9)


@given(data=st.data(), length=lengths, size=st.integers(1, 10))
def test_cutting_and_joining_changes_nothing(data, length, size):
    tensors = shapes.map(lambda shape: torch.rand(length, *shape))
    tree = data.draw(nestings(st.one_of(tensors, tensors.map(list), st.just("k"))))
    starts = range(0, max(length, 1), size)
    parts = [take(tree, range(start, min(start + size, length))) for start in starts]

    joined = join(parts, [min(size, length - start) for start in starts])

    assert repr(joined) == repr(tree)


@given(length=lengths, size=st.integers(1, 10), limit=st.integers(1, 10))
def test_batched_equals_whole_wherever_memory_runs_out(length, size, limit):
    net = nn.Linear(3, 2)
    x = torch.rand(length, 3)
    embed = batched(size=size)(lambda module, x: {"z": module(x), "items": [*x]})

    with simulate_oom(net, max_items=limit):
        result = embed(net, x)

    torch.testing.assert_close(result["z"], net(x))
    assert len(result["items"]) == length


@given(length=st.integers(1, 9), fails=st.sets(st.integers(0, 6)))
def test_failures_at_any_point_change_neither_results_nor_order(length, fails):
    net = nn.Linear(3, 2)
    x = torch.rand(length, 3)
    embed = batched(lambda module, x: module(x))

    def refuses(attempt):
        return attempt.index in fails and attempt.n_items > 1

    with simulate_oom(net, when=refuses):
        result = embed(net, x)

    torch.testing.assert_close(result, net(x))


@given(length=st.integers(1, 9), size=st.integers(1, 10))
def test_the_same_chunk_size_gives_the_same_bits(length, size):
    net = nn.Linear(8, 8)
    x = torch.rand(length, 8)
    embed = configure(batched(lambda module, x: module(x)), batch_size=size)

    assert torch.equal(embed(net, x), embed(net, x))
