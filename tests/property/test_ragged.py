"""Laws of chunks of any items: what comes out is what a loop over the items gives."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unfussy import Pack, Pad, batched, tree_map

pytestmark = pytest.mark.property

NET = nn.Identity()
sizes = st.integers(1, 7) | st.sampled_from(["auto", "all"])
budgets = st.none() | st.integers(1, 30)
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=9) | st.integers(1, 6).map(
    lambda n: n * [1]
)
widths = st.integers(1, 6)


def items_of(lengths, width=2):
    """Return items of these lengths, all numbers different and whole."""
    numbers = iter(range(10_000))
    return [
        torch.tensor([[next(numbers) for _ in range(width)] for _ in range(n)]).double()
        for n in lengths
    ]


def told(x, real):
    """Make results of every kind of padded items (B, L, D)."""
    x = x * real[..., None]
    return {
        "sum": x.sum(1),
        "each": (x * 2, [*x.sum((1, 2))]),
        "turned": x.movedim(1, 2),
        "pairs": x @ x.mT,
        "rows": {"first": x[:, 0].numpy()},
        "constant": ("name", None, torch.eye(3), 7),
    }


def looped(items):
    """Return the same for each item alone, joined by hand."""
    alone = [told(x[None], torch.ones(1, len(x), dtype=torch.bool)) for x in items]
    return {
        "sum": torch.cat([each["sum"] for each in alone]),
        "each": (
            [each["each"][0][0] for each in alone],
            [each["each"][1][0] for each in alone],
        ),
        "turned": [each["turned"][0] for each in alone],
        "pairs": [each["pairs"][0] for each in alone],
        "rows": {"first": np.concatenate([each["rows"]["first"] for each in alone])},
        "constant": ("name", None, torch.eye(3), 7),
    }


def mask_of(x, mask):
    return torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask


@given(lengths=lengths, width=widths, size=sizes, budget=budgets)
def test_padded_items_give_what_each_gives_alone(lengths, width, size, budget):
    items = items_of(lengths, width)

    @batched(size=size, budget=budget, pad=Pad(mask="mask", value=-5.0))
    def run(module, x, mask=None):
        return told(x, mask_of(x, mask))

    assert repr(run(NET, items)) == repr(looped(items))


@given(lengths=lengths, size=sizes, budget=budgets, axis=st.integers(0, 1))
def test_any_axis_can_be_padded(lengths, size, budget, axis):
    items = items_of(lengths, 3)
    turned = [x.mT for x in items] if axis else items

    @batched(size=size, budget=budget, pad=Pad(axis, lengths="ends"))
    def run(module, x, ends):
        assert all(int(n) <= x.shape[1 + axis] for n in ends)
        return x, x.sum((1, 2)), ends

    each, sums, ends = run(NET, turned)

    assert repr(each) == repr(turned)
    assert sums.tolist() == [float(x.sum()) for x in items]
    assert ends.tolist() == lengths


@given(lengths=lengths, width=widths, size=sizes, budget=budgets)
def test_concatenated_items_give_what_each_gives_alone(lengths, width, size, budget):
    items = items_of(lengths, width)

    @batched(size=size, budget=budget, pack=Pack(offsets="ends", lengths="counts"))
    def run(module, x, ends, counts):
        parts = [x[a:b] for a, b in pairwise(ends)]
        assert [len(part) for part in parts] == counts.tolist()
        return x * 2, torch.stack([part.sum() for part in parts]), counts, torch.eye(4)

    each, sums, counts, constant = run(NET, items)

    assert repr(each) == repr([x * 2 for x in items])
    assert sums.tolist() == [float(x.sum()) for x in items]
    assert counts.tolist() == lengths
    assert torch.equal(constant, torch.eye(4))


@given(lengths=lengths, size=sizes, budget=budgets, ragged=st.sampled_from("el"))
def test_lists_give_what_each_item_gives_alone(lengths, size, budget, ragged):
    items = items_of(lengths)
    kind = {"e": "equal", "l": "list"}[ragged]

    @batched(size=size, budget=budget, ragged=kind)
    def run(module, x, n):
        assert (type(x), n) == (list, 3)
        assert kind == "list" or len({item.shape for item in x}) == 1
        return {"each": [item + n for item in x], "sum": torch.stack([*map(sum_, x)])}

    result = run(NET, items, n=3)

    assert repr(result["each"]) == repr([x + 3 for x in items])
    assert result["sum"].tolist() == [float(x.sum()) for x in items]


def sum_(x):
    return x.sum()


@given(lengths=lengths, size=sizes, dtypes=st.data())
def test_stacked_items_are_of_one_shape_and_dtype(lengths, size, dtypes):
    drawn = [dtypes.draw(st.sampled_from([np.float32, np.int64])) for _ in lengths]
    items = [np.arange(n, dtype=dtype) for n, dtype in zip(lengths, drawn)]
    seen = []

    @batched(size=size, join="items")
    def run(module, x: torch.Tensor):
        seen.append((x.shape, x.dtype))
        return x * 2

    result = run(NET, items)

    assert repr(result) == repr([x * 2 for x in items])
    assert sum(shape[0] for shape, _ in seen) == len(items)


# --- nesting -----------------------------------------------------------------------

SHAPES = {
    "array": lambda rows: rows,
    "numpy": lambda rows: rows.numpy(),
    "list": lambda rows: [*rows],
    "ragged": lambda rows: [row[: 1 + i % 2] for i, row in enumerate(rows)],
    "texts": lambda rows: [str(row.tolist()) for row in rows],
    "records": lambda rows: [{"a": row, "b": (row[0], "x")} for row in rows],
}
shapes = st.sampled_from([*SHAPES]).map(SHAPES.get)
nestings = st.recursive(
    shapes,
    lambda inner: st.one_of(
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2),
    ),
    max_leaves=4,
)


@given(n=st.integers(1, 9), size=sizes, first=nestings, second=nestings)
def test_any_nesting_of_inputs_comes_back_as_it_went(n, size, first, second):
    rows = torch.arange(n * 2.0).reshape(n, 2)
    first, second = (tree_map(lambda make: make(rows), x) for x in (first, second))

    @batched(size=size)
    def echo(module, x, *, y):
        return {"x": x, "y": y}

    assert repr(echo(NET, first, y=second)) == repr({"x": first, "y": second})


FIXED = {
    "table": lambda x, n: torch.arange(n * 2.0).reshape(n, 2),
    "columns": lambda x, n: [x + i for i in range(n)],
    "names": lambda x, n: ["a"] * n,
    "number": lambda x, n: n,
    "same for each item": lambda x, n: torch.zeros(len(x)),
    "list for each item": lambda x, n: [[i] * n for i in x.tolist()],
}


@given(
    n_chunks=st.integers(1, 4),
    size=st.integers(1, 4),
    more=st.integers(-3, 3),
    kind=st.sampled_from([*FIXED]),
)
def test_what_is_as_large_as_a_chunk_by_chance_is_not_taken_for_items(
    n_chunks, size, more, kind
):
    x = torch.arange(n_chunks * size * 1.0)
    n = max(size + more, 0) if more % 2 else size

    @batched(size=size)
    def run(module, x):
        return x, FIXED[kind](x, n)

    assert repr(run(NET, x)) == repr(run.__wrapped__(NET, x))


@given(n=st.integers(2, 9), size=st.integers(1, 8))
def test_how_many_items_a_chunk_had_is_never_a_result(n, size):
    @batched(size=size)
    def run(module, x):
        return {"z": x, "n": len(x)}

    if size >= n:
        assert run(NET, torch.arange(n))["n"] == n
    else:
        with pytest.raises(ValueError, match=r"result\['n'\] is a int and differs"):
            run(NET, torch.arange(n))


# --- order and bits ----------------------------------------------------------------


@given(
    lengths=lengths,
    size=sizes,
    budget=budgets,
    kind=st.sampled_from(["equal", "pad", "pack", "list", "tensor"]),
)
def test_draws_follow_the_order_of_items(lengths, size, budget, kind):
    items = torch.zeros(len(lengths)) if kind == "tensor" else items_of(lengths, 1)
    ragged = "equal" if kind == "tensor" else kind

    @batched(size=size, budget=budget, ragged=ragged)
    def draw(module, x, generator):
        n = len(x) if kind != "pack" else int(x.shape[0])
        return torch.rand(n, generator=generator, dtype=torch.float64)

    if kind == "pack":
        lengths = items = [torch.zeros(1) for _ in lengths]
    result = draw(NET, items, torch.Generator().manual_seed(3))

    generator = torch.Generator().manual_seed(3)
    whole = torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    flat = torch.cat(result) if isinstance(result, list) else result
    assert torch.equal(flat, whole)


@given(lengths=lengths, size=st.integers(1, 8), seed=st.integers(0, 3))
def test_the_same_size_gives_the_same_bits(lengths, size, seed):
    net = nn.Linear(4, 4)
    items = [torch.rand(n, 4) for n in lengths]

    @batched(size=size, pad=Pad())
    def run(module, x):
        return module(x).relu().sum(1)

    first, again = run(net, items), run(net, items)

    assert torch.equal(first, again)
