"""Items of any shape: what the method gets of them, and what becomes of its results."""

from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Normal

from unfussy import (
    ImageLike,
    Pack,
    Pad,
    TensorLike,
    auto_device,
    batched,
    explain,
    inference,
)
from unfussy.errors import (
    AmbiguousBatchError,
    DoesNotFitError,
    InputValueError,
    PlanError,
)

NET = nn.Linear(2, 2).eval()
THREE = [np.arange(1.0, 3), np.arange(3.0, 6), np.arange(6.0, 7)]  # 2, 3, 1 long


def seen_by(given, *, size="all", call=lambda run, x: run(NET, x), **settings):
    """Return what a method gets of *given*, in every chunk."""
    seen = []

    @batched(size=size, **settings)
    def run(module, x, mask=None, lengths=None, offsets=None):
        seen.append((x, mask, lengths, offsets))
        n = len(offsets) - 1 if offsets is not None else len(x)
        return torch.zeros(n, 1)

    call(run, given)
    return seen


# --- padded ------------------------------------------------------------------------


def test_padding_has_the_value_that_was_asked_for():
    pad = Pad(value=-1, lengths="lengths", mask="mask")
    [(x, mask, lengths, _)] = seen_by(THREE, pad=pad)

    assert sorted(x.tolist()) == [[1, 2, -1], [3, 4, 5], [6, -1, -1]]
    assert mask.tolist() == (x != -1).tolist()
    assert mask.dtype is torch.bool
    assert lengths.tolist() == mask.sum(1).tolist()
    assert lengths.dtype is torch.int64


def test_full_rows_get_no_mask_where_none_is_the_default():
    [(_, mask, lengths, _)] = seen_by(
        [THREE[0], THREE[0]], pad=Pad(mask="mask", lengths="lengths")
    )

    assert mask is None
    assert lengths.tolist() == [2, 2]


def test_full_rows_get_a_mask_where_the_method_needs_one():
    @batched(pad=Pad(mask="mask"))
    def run(module, x, mask):
        return mask.sum(1)

    assert run(NET, [THREE[0], THREE[0]]).tolist() == [2, 2]


def test_a_mask_of_the_caller_is_left_alone_and_cut_with_the_batch():
    x, mask = torch.arange(10.0).reshape(5, 2), torch.rand(5, 2) > 0.5

    def call(run, x):
        run(NET, x, mask=mask)

    seen = seen_by(x, pad=Pad(mask="mask"), size=2, call=call)

    assert torch.equal(torch.cat([each[1] for each in seen]), mask)


@pytest.mark.parametrize(
    "call",
    [lambda run, x: run(NET, x, None), lambda run, x: run(NET, x, mask=None)],
    ids=["by position", "by name"],
)
def test_a_mask_of_none_is_no_mask_of_the_caller(call):
    [(_, mask, *_)] = seen_by(THREE, pad=Pad(mask="mask"), call=call)

    assert mask.sum() == 6


def test_padded_tensors_are_full():
    [(x, mask, lengths, _)] = seen_by(
        torch.ones(2, 3, 4), pad=Pad(mask="mask", lengths="lengths")
    )

    assert (x.shape, mask, lengths.tolist()) == ((2, 3, 4), None, [3, 3])


@pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor])
@pytest.mark.parametrize("long", [1, 400])
def test_padding_is_the_same_for_arrays_and_tensors(kind, long):
    items = [np.repeat(x[:, None], long, 1) for x in THREE]
    if kind is torch.Tensor:
        items = [torch.from_numpy(x) for x in items]

    [(x, *_)] = seen_by(items, pad=Pad(value=9))

    assert type(x) is kind
    by_length = sorted(THREE, key=len)
    rows = sorted(x[:, :, 0].tolist(), key=lambda row: row.count(9), reverse=True)
    assert rows == [[*row, *[9] * (3 - len(row))] for row in map(list, by_length)]


def test_any_axis_of_an_item_is_padded():
    items = [np.ones((2, 3)), np.ones((2, 1))]

    [(x, mask, *_)] = seen_by(items, pad=Pad(axis=1, mask="mask"))

    assert x.shape == (2, 2, 3)
    assert x.sum() == 8
    assert mask.sum() == 4


def test_an_axis_from_the_end_is_refused():
    with pytest.raises(PlanError, match="axis of one item as a number from 0, got -1"):
        Pad(axis=-1)


def test_what_differs_besides_length_is_not_padded_together():
    items = [np.ones((2, 3)), np.ones((1, 4)), np.ones((3, 3), np.float32)]

    seen = seen_by(items, pad=Pad())

    assert sorted(x.shape for x, *_ in seen) == [(1, 1, 4), (1, 2, 3), (1, 3, 3)]


def test_items_without_the_axis_are_stacked():
    [(x, *_)] = seen_by([np.float32(1), np.float32(2)], pad=Pad(), over="x")

    assert x.tolist() == [1, 2]


def test_the_parts_of_an_item_are_padded_alike():
    items = [{"a": x, "b": (np.stack([x, x], 1), "name")} for x in THREE]

    [(x, mask, *_)] = seen_by(items, pad=Pad(mask="mask"))

    assert x["a"].shape == (3, 3)
    assert x["b"][0].shape == (3, 3, 2)
    assert x["b"][1] == ["name"] * 3
    assert mask.sum() == 6


def test_a_part_of_fixed_size_gives_no_length():
    items = [{"speaker": np.ones(8), "tokens": x} for x in THREE]

    [(x, mask, *_)] = seen_by(items, pad=Pad(mask="mask"))

    assert x["speaker"].shape == (3, 8)
    assert mask.shape == (3, 3)


def test_parts_of_different_lengths_have_no_mask():
    items = [{"a": np.ones(2 + i), "b": np.ones(3 - i)} for i in range(2)]

    with pytest.raises(
        AmbiguousBatchError,
        match=r"run\(\): the parts of item 0 have lengths 2 and 3, so there is no one "
        "mask for them; pad them alike",
    ):
        seen_by(items, pad=Pad(mask="mask"))
    assert len(seen_by(items, pad=Pad())) == 1


def test_lists_of_numbers_are_items_and_empty_ones_too():
    [(x, mask, *_)] = seen_by([[1, 2, 3], [], [4]], pad=Pad(mask="mask"))

    assert x.dtype == np.int64
    assert sorted(x.sum(1).tolist()) == [0, 4, 6]
    assert mask.sum() == 4


def test_numbers_of_all_items_get_one_dtype():
    seen = seen_by([[1, 2], [0.5]], pad=Pad(), size=1)

    assert {x.dtype for x, *_ in seen} == {np.dtype(np.float64)}


def test_tensors_may_stand_beside_lists():
    @batched(size=2, pad=Pad())
    def run(module, x, y):
        return x.sum(1) + y.sum(1)

    y = torch.arange(12.0).reshape(3, 4)
    sums = run(NET, [torch.from_numpy(x) for x in THREE], y)

    assert sums.tolist() == [x.sum() + row.sum() for x, row in zip(THREE, y)]


# --- results of padded items ---------------------------------------------------------


def padded(result, **settings):
    """Return a method over padded items, and how many rows its calls had."""
    sizes = []

    @batched(pad=Pad(mask="mask", **settings))
    def run(module, x, mask=None, *, flag=False):
        sizes.append(tuple(x.shape))
        return result(x, flag)

    return run, sizes


def test_results_that_follow_the_padding_are_cut_to_their_own_length():
    run, _ = padded(lambda x, _: {"x": x, "sum": x.sum(1)})

    result = run(NET, [torch.from_numpy(x) for x in THREE])

    assert [row.tolist() for row in result["x"]] == [x.tolist() for x in THREE]
    assert result["sum"].tolist() == [3, 12, 6]


def test_one_length_is_told_from_a_feature_axis_by_one_more_run():
    run, sizes = padded(lambda x, _: (x, torch.ones(len(x), 2)))

    result = run(NET, [torch.ones(2), torch.ones(2)])

    assert sizes == [(2, 2), (1, 3)]
    assert [row.shape for row in result[0]] == [(2,), (2,)]
    assert result[1].shape == (2, 2)
    run(NET, [torch.ones(2), torch.ones(2)])
    assert sizes[2:] == [(2, 2)]


def test_every_axis_that_follows_the_padding_is_cut():
    run, _ = padded(lambda x, _: torch.ones(len(x), x.shape[1], 2, x.shape[1]))

    result = run(NET, [torch.ones(2), torch.ones(1)])

    assert [tuple(row.shape) for row in result] == [(2, 2, 2), (1, 2, 1)]


def test_what_is_known_of_results_depends_on_the_settings_of_the_call():
    run, _ = padded(lambda x, flag: x if flag else torch.ones(len(x), 2))
    items = [torch.ones(2), torch.ones(2)]

    fixed, ragged = run(NET, items), run(NET, items, flag=True)

    assert isinstance(fixed, torch.Tensor)
    assert isinstance(ragged, list)


def test_results_are_cut_also_where_lists_are_inside():
    run = batched(pad=Pad())(lambda module, x: x["a"][0])

    assert [len(row) for row in run(NET, {"a": (THREE, 3)})] == [2, 3, 1]


def test_results_can_be_declared():
    items = [torch.ones(2), torch.ones(2)]

    fixed, n_fixed = padded(lambda x, _: x, results="fixed")
    ragged, n_ragged = padded(
        lambda x, _: x[:, :, None].expand(2, 2, 2), results="ragged"
    )

    assert fixed(NET, items).shape == (2, 2)
    assert [tuple(row.shape) for row in ragged(NET, items)] == [(2, 2), (2, 2)]
    assert len(n_fixed) == len(n_ragged) == 1


def test_a_method_that_takes_nothing_longer_has_to_be_told():
    def result(x, _):
        if x.shape[1] > 2:
            raise ValueError("positions end at 2")
        return x

    run, _ = padded(result)

    with pytest.raises(
        AmbiguousBatchError,
        match="one item made longer raises ValueError: positions end at 2; say so: "
        "results='ragged' or 'fixed'",
    ):
        run(NET, [torch.ones(2), torch.ones(2)])


def test_distributions_over_padded_items_are_refused():
    run, _ = padded(lambda x, _: {"q": Normal(x, 1.0)})

    with pytest.raises(AmbiguousBatchError, match=r"result\['q'\] is a Normal over"):
        run(NET, [torch.ones(2), torch.ones(1)])


def test_other_results_are_joined_as_ever():
    run, _ = padded(lambda x, _: torch.max(x, 1))

    result = run(NET, [torch.ones(2), torch.ones(1)])

    assert type(result) is torch.return_types.max
    assert result.values.tolist() == [1, 1]


def test_items_of_no_length_are_items():
    run, _ = padded(lambda x, _: (x, x.sum(1)))

    each, sums = run(NET, [torch.ones(0), torch.ones(0), torch.ones(2)])

    assert [len(row) for row in each] == [0, 0, 2]
    assert sums.tolist() == [0, 0, 2]


# --- concatenated --------------------------------------------------------------------


def test_concatenated_items_come_with_their_ends():
    [(x, _, lengths, offsets)] = seen_by(
        THREE, pack=Pack(offsets="offsets", lengths="lengths")
    )

    assert x.tolist() == [1, 2, 3, 4, 5, 6]
    assert lengths.tolist() == [2, 3, 1]
    assert offsets.tolist() == [0, 2, 5, 6]
    assert lengths.dtype is offsets.dtype is torch.int64


def test_tensors_are_concatenated_too():
    pack = Pack(offsets="offsets", lengths="lengths")

    seen = seen_by(torch.arange(18.0).reshape(3, 2, 3), pack=pack, size=2)

    assert [x.shape for x, *_ in seen] == [(4, 3), (2, 3)]
    assert [offsets.tolist() for *_, offsets in seen] == [[0, 2, 4], [0, 2]]


def test_a_list_of_items_of_length_one_gives_lists_all_the_same():
    @batched(size=1, pack=Pack())
    def run(module, x):
        return x

    for lengths in ([1, 3], [1], [1, 1]):
        result = run(NET, [torch.ones(n) for n in lengths])

        assert [tuple(row.shape) for row in result] == [(n,) for n in lengths]


def test_one_row_an_item_stays_one_row_an_item():
    @batched(pack=Pack(lengths="lengths"))
    def run(module, x, lengths):
        return torch.stack([part.sum() for part in x.split(lengths.tolist())])

    assert run(NET, [torch.ones(1), torch.ones(1)]).tolist() == [1, 1]
    assert run(NET, [torch.ones(2), torch.ones(0)]).tolist() == [2, 0]


# --- as a list, and of equal shapes --------------------------------------------------


def test_items_of_any_shape_can_share_a_list():
    [(x, *_)] = seen_by([*THREE, "text", {"a": 1}], ragged="list")

    assert len(x) == 5


def test_items_of_equal_shape_share_a_chunk():
    seen = seen_by([THREE[0], THREE[1], THREE[0]])

    assert sorted(len(x) for x, *_ in seen) == [1, 2]


@pytest.mark.parametrize(
    ("items", "n_chunks"),
    [
        (["a", "bcd"], 1),
        ([[1, 2], [3, 4]], 0),
        ([{"a": THREE[0]}, {"a": THREE[1]}], 2),
        ([{"a": THREE[0]}, {"b": THREE[0]}], 2),
        ([{"a": [[1], [2]]}, {"a": [[1, 2], [3]]}, {"a": [[3], [4]]}], 2),
        ([{"a": np.ones(2)}, {"a": np.ones(2, int)}, {"a": torch.ones(2)}], 3),
        ([Image.new("L", (2, 3)), Image.new("L", (2, 3)), Image.new("L", (3, 2))], 2),
        ([Image.new("L", (2, 3)), Image.new("RGB", (2, 3))], 2),
    ],
    ids=map(str, count()),
)
def test_what_has_a_shape_shares_it_with_its_chunk(items, n_chunks):
    assert len(seen_by(items)) == (n_chunks or 1)


def test_declared_parameters_get_tensors_and_others_lists():
    kinds = []

    class Net(nn.Linear):
        @auto_device
        @inference
        @batched(over=("x", "image", "texts"))
        def run(self, x: TensorLike, image: ImageLike, texts):
            kinds.append((x.shape, image.shape, type(texts)))
            return x.sum(1)

    pictures = [Image.new("L", (3, 2))] * 2

    Net(2, 2).run([THREE[0]] * 2, image=pictures, texts=["a", "b"])

    assert kinds == [((2, 2), (2, 3, 2, 3), list)]


def test_mappings_of_lists_are_cut_together():
    @batched(size=2)
    def run(module, x):
        return [(len(a), b) for a, b in zip(x["a"], x["b"], strict=True)]

    pairs = run(NET, {"a": THREE, "b": ["x", "y", "z"]})

    assert pairs == [(2, "x"), (3, "y"), (1, "z")]


def test_several_batch_arguments_share_the_padding():
    @batched(size=2, pad=Pad(mask="mask"))
    def run(module, x, *, y, mask):
        assert x.shape == y.shape == mask.shape
        return (x * y).sum(1)

    sums = run(NET, THREE, y=[2 * x for x in THREE])

    assert sums.tolist() == [float((2 * x * x).sum()) for x in THREE]


def test_shared_arguments_are_never_split():
    table = torch.ones(3, 5)

    @batched(size=1, over="x", pad=Pad(value=0))
    def run(module, x, table):
        assert table.shape == (3, 5)
        return x.sum(1)

    assert run(NET, THREE, table).tolist() == [3, 12, 6]


# --- results by item -----------------------------------------------------------------


def test_any_number_of_boxes_an_item_is_a_list_of_them():
    @batched(size=2)
    def detect(module, pictures):
        return [{"boxes": torch.ones(int(x[0]), 4), "n": int(x[0])} for x in pictures]

    found = detect(NET, torch.tensor([[3.0], [0.0], [1.0], [2.0], [2.0]]))

    assert [each["n"] for each in found] == [3, 0, 1, 2, 2]
    assert [len(each["boxes"]) for each in found] == [3, 0, 1, 2, 2]


def test_results_can_be_returned_item_by_item():
    @batched(size=2, join="items")
    def run(module, x):
        return {"z": x, "name": "n"}

    items = run(NET, torch.arange(3.0))

    assert repr(items) == repr(
        [{"z": torch.tensor(float(i)), "name": "n"} for i in range(3)]
    )


def test_one_value_a_chunk_is_refused_with_advice():
    @batched(size=2)
    def run(module, x):
        return {"loss": x.sum()}

    for x in (torch.arange(3.0), torch.ones(4)):
        with pytest.raises(AmbiguousBatchError, match="reduce outside"):
            run(NET, x)


# --- none at all ---------------------------------------------------------------------


def test_no_items_give_a_result_of_their_type():
    @batched(size=2)
    def run(module, x):
        return {"z": module(x), "items": [*x]}

    result = run(NET, torch.ones(0, 2))

    assert result["z"].shape == (0, 2)
    assert result["items"] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"pad": Pad(mask="mask", lengths="lengths")},
        {"pack": Pack(offsets="offsets", lengths="lengths")},
    ],
)
def test_no_items_have_lengths_too(settings):
    [(x, _, lengths, _)] = seen_by(torch.ones(0, 3, 4), **settings)

    assert lengths.shape == (0,)
    assert x.shape == ((0, 3, 4) if "pad" in settings else (0, 4))


def test_an_empty_list_gives_what_a_list_gave_before():
    @batched
    def run(module, x: torch.Tensor):
        return module(x), [*x]

    with pytest.raises(
        InputValueError, match=r"run\(\): an empty list does not say what .* torch.emp"
    ):
        run(NET, [])
    run(NET, [torch.ones(2), torch.ones(2)])

    rows, items = run(NET, [])
    assert rows.shape == (0, 2)
    assert items == []


def test_an_empty_list_that_the_method_understands_is_its_own_affair():
    @batched
    def run(module, texts):
        return [len(text) for text in texts]

    assert run(NET, []) == []
    assert batched(join="items")(lambda module, x: 1 / 0)(NET, []) == []


def test_an_empty_list_beside_other_arguments_may_be_anything():
    @batched
    def read(module, path, layers=()):
        raise KeyError(path)

    with pytest.raises(KeyError):
        read(NET, "x.pt", layers=[])


# --- one item ------------------------------------------------------------------------


def test_one_item_in_is_one_result_out():
    @batched(item=1)
    def run(module, x, y=None, *, scale=1.0):
        assert x.ndim == 2
        return {"z": module(x), "parts": (x, [*x]), "name": "n"}

    result = run(NET, torch.ones(2), np.ones(2), scale=2.0)

    assert result["z"].shape == (2,)
    assert [tuple(x.shape) for x in (result["parts"][0], result["parts"][1])] == [
        (2,),
        (2,),
    ]
    assert run(NET, torch.ones(3, 2))["z"].shape == (3, 2)


def test_an_argument_that_looks_like_an_item_is_none_beside_a_batch():
    @batched(item=2, over=None)
    def run(module, x, camera):
        assert camera.shape == (3, 3)
        return x

    x = torch.ones(3, 5, 2)

    assert torch.equal(run(NET, x, camera=torch.eye(3)), x)


def test_one_text_or_picture_is_an_item():
    @batched(item=(str, Image.Image))
    def lengths(module, items, mode="x"):
        assert mode == "x"
        return [len(getattr(item, "size", item)) for item in items]

    assert lengths(NET, "four", mode="x") == 4
    assert lengths(NET, ["four", "a"], mode="x") == [4, 1]
    assert lengths(NET, Image.new("L", (5, 5))) == 2


def test_one_picture_is_an_item_of_three_dimensions():
    class Net(nn.Linear):
        @auto_device
        @batched(item=3)
        def mean(self, x: ImageLike):
            return x.float().mean((1, 2, 3))

    assert Net(1, 1).mean(Image.new("L", (2, 2), 7)).tolist() == 7


def test_one_padded_item_has_its_own_length():
    @batched(item=1, pad=Pad(mask="mask"))
    def run(module, x, mask=None):
        return x

    assert run(NET, THREE[0]).tolist() == [1, 2]


def test_one_item_is_one_result_also_where_it_may_not_be_cut():
    class Net(nn.BatchNorm1d):
        @batched(item=1)
        def run(self, x):
            return x

    assert Net(2).run(torch.ones(2)).shape == (2,)


# --- batch norm ----------------------------------------------------------------------


class Normed(nn.BatchNorm1d):
    @batched(pad=Pad(mask="mask"))
    def padded(self, x, mask=None):
        return x.sum((1, 2))

    @batched
    def stacked(self, x: torch.Tensor):
        return x.sum(1)

    @batched(budget=4)
    def planned(self, x):
        return x


def test_a_batch_that_must_not_be_cut_is_put_together_all_the_same():
    items = [torch.ones(n, 2) for n in (1, 3)]

    assert Normed(2).padded(items).tolist() == [2, 6]


def test_a_batch_that_must_not_be_cut_and_has_to_be_is_refused():
    for run in (
        lambda: Normed(2).stacked([torch.ones(1), torch.ones(2)]),
        lambda: Normed(2).planned(torch.ones(5, 2)),
    ):
        with pytest.raises(PlanError, match=r"would change them; add @inference"):
            run()
    assert Normed(2).eval().stacked([torch.ones(1), torch.ones(2)]).tolist() == [1, 2]


def test_a_batch_that_must_not_be_cut_and_does_not_fit_says_why():
    class Net(nn.BatchNorm1d):
        @batched(pad=Pad())
        def run(self, x):
            raise MemoryError("full")

    with pytest.raises(DoesNotFitError, match="cannot be cut. MemoryError: full"):
        Net(2).run([torch.ones(1), torch.ones(2)])


# --- explaining ----------------------------------------------------------------------


def test_a_call_is_explained_by_its_chunks():
    @batched(size=2, pad=Pad())
    def run(module, x):
        raise AssertionError("never called")

    told = explain(run, NET, THREE)

    assert told.chunks is not None
    assert sorted(np.concatenate(told.chunks.chunks)) == [0, 1, 2]
    assert max(told.chunks.sizes) == 2
    assert told.batch.startswith("3 items of x in 2 chunks of at most 2")


def test_draws_are_explained_in_order():
    @batched(size=2, pad=Pad())
    def run(module, x, generator):
        raise AssertionError("never called")

    told = explain(run, NET, THREE, torch.Generator())

    assert [chunk.tolist() for chunk in told.chunks.chunks] == [[0, 1], [2]]
    assert told.chunks.padded == 7


def test_numbers_and_sparse_tensors_in_a_structure_are_shared_and_not_cut():
    table, seen = torch.eye(4).to_sparse(), []

    @batched(size=2, cost=lambda item: len(item["size"]))
    def run(module, x):
        seen.append(x)
        return x["x"]

    given = {"x": torch.arange(5.0), "size": [224, 224, 3], "none": [], "table": table}
    result = run(NET, given)

    assert torch.equal(result, given["x"])
    assert [x["x"].tolist() for x in seen] == [[0, 1], [2, 3], [4]]
    assert all(x["size"] == [224, 224, 3] and x["none"] == [] for x in seen)
    assert all(x["table"] is table for x in seen)
