"""Laws of groups: they keep items apart, and change nothing else."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfussy import Pad, batched

pytestmark = pytest.mark.property

NET = nn.Identity()
lengths = st.lists(st.integers(1, 5), min_size=1, max_size=9)
sizes = st.integers(1, 7) | st.sampled_from(["auto", "all"])
budgets = st.none() | st.integers(1, 30)
kinds = st.sampled_from(["equal", "list", "pad"])


@given(
    lengths=lengths,
    size=sizes,
    budget=budgets,
    kind=kinds,
    keys=st.lists(st.integers(0, 2), min_size=9, max_size=9),
)
def test_no_chunk_mixes_groups_and_every_item_runs_once(
    lengths, size, budget, kind, keys
):
    items = [torch.full((n,), float(i)) for i, n in enumerate(lengths)]
    chunks = []

    @batched(
        size=size,
        budget=budget,
        ragged=kind,
        pad=Pad() if kind == "pad" else None,
        cost=len if kind == "list" else None,
        group=lambda x: keys[int(x[0])],
        join="items",
    )
    def run(module, x):
        chunks.append([int(item[0]) for item in x])
        return [float(item[0]) for item in x]

    results = run(NET, items)

    assert results == list(range(len(items)))
    assert sorted(chain.from_iterable(chunks)) == list(range(len(items)))
    for chunk in chunks:
        assert len({keys[i] for i in chunk}) == 1
        assert chunk == sorted(chunk)
        assert isinstance(size, str) or len(chunk) <= size


@given(lengths=lengths, size=sizes, seed=st.integers(0, 9))
def test_draws_follow_the_order_of_items_whatever_their_groups(lengths, size, seed):
    items = [torch.zeros(n) for n in lengths]

    @batched(size=size, ragged="list", group=len, join="items")
    def draw(module, x, generator):
        return [torch.rand(len(item), generator=generator) for item in x]

    drawn = draw(NET, items, torch.Generator().manual_seed(seed))

    generator = torch.Generator().manual_seed(seed)
    for mine, n in zip(drawn, lengths):
        assert torch.equal(mine, torch.rand(n, generator=generator))
