"""Cutting and joining: what is cut, what is joined, and what is refused."""

import weakref
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.nn.utils.rnn import pack_sequence

from unfussy import UnfussyError, auto_device, batched, configure, inference, options
from unfussy._batching import is_out_of_memory, join, release_memory
from unfussy.errors import (
    AmbiguousBatchError,
    DoesNotFitError,
    InputTypeError,
    PlanError,
)
from unfussy.testing import OOM_ERRORS, OOM_LOOKALIKES, OOM_SUSPECTS, simulate_oom

Pair = namedtuple("Pair", "a b")  # noqa: PYI024


@dataclass
class Record:
    z: object
    name: str = "fixed"


class Items(list):
    pass


class Net(nn.Linear):
    """Calls whatever it is given, in chunks of two, and remembers their sizes."""

    def __init__(self):
        super().__init__(3, 2)
        self.seen = []

    @inference
    @batched(size=2)
    def apply(self, x, fn=lambda x: x):
        self.seen.append(len(x))
        return fn(x)

    @inference
    @auto_device
    @batched(size=2, over="x")
    def declared(self, x, table=None, *rest, **named):
        self.seen.append(len(x))
        return x + (0 if table is None else table.sum())

    @inference
    @batched
    def whole(self, x, y=None):
        self.seen.append(len(x))
        return self(x)


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def x():
    return torch.arange(15.0).reshape(5, 3)


# --- cutting -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: x.numpy(),
        lambda x: list(x),
        lambda x: Items(x),
        lambda x: ["a", "b", "c", "d", "e"],
    ],
    ids=map(str, count()),
)
def test_a_batch_is_cut_by_item(net, x, wrap):
    net.apply(wrap(x))

    assert net.seen == [2, 2, 1]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"a": x, "n": 3, "b": (x, [*x])},
        lambda x: Pair(x, x.numpy()),
        lambda x: OrderedDict(a=x),
        lambda x: Record(x),
        lambda x: Normal(x, 1.0),
        lambda x: Independent(Normal(x, x + 1), 1),
    ],
    ids=map(str, count()),
)
def test_structures_are_cut_leaf_by_leaf_and_joined_again(net, x, wrap):
    whole = wrap(x)

    with options(over="x"):
        joined = net_apply_any(net, whole)

    assert type(joined) is type(whole)
    assert repr(joined) == repr(whole)


def net_apply_any(net, value):
    sizes = []

    @batched(size=2)
    def echo(module, x):
        sizes.append(x)
        return x

    result = echo(net, value)
    assert len(sizes) == 3
    return result


def test_a_cut_distribution_is_a_distribution_of_its_chunk(net, x):
    @batched(size=2)
    def shapes(module, q):
        return [*q.batch_shape, *q.sample().shape], torch.zeros(len(q.loc))

    # The list has three entries for each chunk, of two or one items.
    with pytest.raises(AmbiguousBatchError, match=r"result\[0\]\[0\]"):
        shapes(net, Normal(x, 1.0))


def test_items_of_a_list_keep_their_own_shapes(net):
    ragged = [torch.ones(i, 3) for i in (1, 4, 2)]

    joined = net.apply(ragged)

    assert [len(item) for item in joined] == [1, 4, 2]


def test_several_arguments_of_one_length_are_cut_together(net, x):
    @batched(size=2)
    def add(module, a, b, *, c):
        return a + b + c

    assert torch.equal(add(net, x, x.clone(), c=x), 3 * x)


def test_scalars_numbers_and_generators_are_shared(net, x):
    generator = torch.Generator().manual_seed(0)

    @batched(size=2)
    def draw(module, x, scale, zero_dim, generator, size):
        assert (scale, zero_dim.ndim, size) == (2.0, 0, [224, 224])
        return x * scale + torch.rand(x.shape, generator=generator)

    result = draw(net, x, 2.0, torch.tensor(1.0), generator, [224, 224])

    assert result.shape == x.shape


def test_arguments_of_different_lengths_are_refused(net, x):
    @batched(size=2)
    def add(module, a, table):
        return a

    with pytest.raises(
        AmbiguousBatchError,
        match=r"add\(\): arguments have different numbers of items "
        r"\('a' has 5, 'table' has 3\); say which .* @batched\(over=",
    ):
        add(net, x, torch.zeros(3))


def test_one_argument_with_parts_of_different_lengths_is_refused(net, x):
    with pytest.raises(AmbiguousBatchError, match="'x' has 3 and 5"):
        net.apply({"a": x, "b": x[:3]})


def test_declared_arguments_of_different_lengths_are_refused(net, x):
    @batched(size=2, over=("a", "b"))
    def add(module, a, b):
        return a

    with pytest.raises(AmbiguousBatchError, match="give them equal lengths"):
        add(net, x, x[:3])


def test_a_declared_argument_that_cannot_be_cut_is_refused(net):
    with pytest.raises(AmbiguousBatchError, match="'x' is declared .* a int has no"):
        net.declared(3)
    with pytest.raises(AmbiguousBatchError, match=r"Tensor of shape \(\)"):
        net.declared(torch.tensor(3.0))


def test_an_undeclared_argument_is_never_cut(net, x):
    table = torch.ones(5)  # as long as the batch, by chance

    result = net.declared(x, table)

    assert torch.equal(result, x + 5)
    assert net.seen == [2, 2, 1]


def test_a_declared_argument_may_be_absent(net, x):
    @batched(size=2, over=("x", "mask"))
    def masked(module, x, mask=None):
        return x

    assert torch.equal(masked(net, x), x)


def test_declared_names_are_checked_where_they_are_written():
    with pytest.raises(PlanError, match=r"over names 'y', which is no parameter of"):

        @batched(over="y")
        def embed(self, x):
            return x


def test_declared_names_may_be_among_free_keywords():
    @batched(over="y")
    def embed(self, x, **named):
        return x

    assert embed.__name__ == "embed"


def test_nothing_to_cut_is_run_at_once(net):
    @batched(size=2)
    def add_one(module, n):
        return n + 1

    assert add_one(net, 3) == 4


def test_sparse_nested_and_packed_tensors_are_not_cut(net):
    @batched(size=2)
    def echo(module, x):
        return x

    for value in (
        torch.eye(5).to_sparse(),
        torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged),
        pack_sequence([torch.ones(3), torch.ones(2)]),
    ):
        assert echo(net, value) is value


def test_an_empty_batch_is_run_once_and_keeps_its_type(net):
    result = net.apply(torch.zeros(0, 3), lambda x: {"z": x @ torch.ones(3, 2)})

    assert result["z"].shape == (0, 2)
    assert net.seen == [0]


def test_the_input_is_left_alone(net, x):
    value = {"a": x, "b": [*x]}
    before = repr(value)

    net_apply_any(net, value)

    assert repr(value) == before


# --- joining -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * 2,
        lambda x: (x * 2).numpy(),
        lambda x: [*x],
        lambda x: Items(x),
        lambda x: {"z": x, "parts": (x[:, :1], [*x]), "none": None, "k": "v", "n": 1},
        lambda x: Pair(x, {"deep": Record(x)}),
        lambda x: torch.max(x, dim=1),
        lambda x: Normal(x, 1.0),
        lambda x: Independent(Normal(x, x + 1), 1),
        lambda x: MultivariateNormal(x, torch.eye(3)),
        lambda x: [x.sum(1), x.mean(1), x.amax(1)],
        lambda x: (x, torch.eye(3), np.eye(3)),
    ],
    ids=map(str, count()),
)
def test_results_of_chunks_join_to_the_result_of_the_whole(net, x, make):
    joined = net.apply(x, make)

    assert net.seen == [2, 2, 1]
    assert repr(joined) == repr(make(x))


def test_a_joined_distribution_has_the_right_density(net, x):
    joined = net.apply(x, lambda x: MultivariateNormal(x, torch.eye(3)))

    torch.testing.assert_close(
        joined.log_prob(x), MultivariateNormal(x, torch.eye(3)).log_prob(x)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.mean(), r"result has shape \(\) for a chunk of 2 and differs"),
        (
            lambda x: {"loss": float(x.sum())},
            r"result\['loss'\] is a float and differs",
        ),
        (
            lambda x: x.sum(0).numpy(),
            "differs between chunks; return one value an item",
        ),
        (lambda x: torch.ones(len(x), len(x)), "return a list with one entry an item"),
        (lambda x: list(range(len(x) + 1)), "a list of different lengths"),
        (lambda x: x if len(x) == 2 else None, "of different types"),
        (lambda x: {f"k{len(x)}": x}, "different keys in different chunks"),
        (lambda x: pack_sequence([*x]), "is a packed sequence"),
        (lambda x: Pair(x, x.mean()), r"result\.b has shape"),
    ],
    ids=map(str, count()),
)
def test_what_cannot_be_joined_is_refused(net, x, make, message):
    with pytest.raises(AmbiguousBatchError, match=message):
        net.apply(x, make)


def test_one_part_is_handed_through():
    part = object()

    assert join([part], [3]) is part


def test_an_unchanged_container_is_the_first_one():
    first, second = {"k": "v"}, {"k": "v"}

    assert join([first, second], [2, 1]) is first


def test_results_may_wait_on_the_cpu(net, x):
    kept = configure(net.apply, keep="cpu")(x)

    assert torch.equal(kept, x)


# --- memory ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*OOM_ERRORS, *OOM_SUSPECTS])
def test_every_out_of_memory_error_is_recognised(kind):
    error = {**OOM_ERRORS, **OOM_SUSPECTS}[kind].make()

    assert is_out_of_memory(error)


@pytest.mark.parametrize("kind", OOM_LOOKALIKES)
def test_no_lookalike_is_recognised(kind):
    assert not is_out_of_memory(OOM_LOOKALIKES[kind].make())


def test_a_wrapped_error_is_recognised_by_its_cause():
    error = ValueError("loading failed")
    error.__cause__ = MemoryError()

    assert is_out_of_memory(error)
    error.__cause__.__cause__ = error
    assert is_out_of_memory(error)
    assert not is_out_of_memory(None)


@pytest.mark.parametrize("kind", OOM_ERRORS)
def test_a_refused_chunk_is_halved_until_it_fits(net, x, kind):
    many = x.repeat(8, 1)  # 40 items
    embed = batched(lambda module, x: module(x))

    with simulate_oom(net, max_items=5, kind=kind) as oom:
        result = embed(net, many)

    torch.testing.assert_close(result, net(many))
    assert oom.sizes == [40, 8, 4, 4, 4, 4, 5, 5, 5, 5, 4]


def test_what_is_done_is_not_done_again(net, x):
    with simulate_oom(net, when=lambda attempt: attempt.index == 1) as oom:
        result = configure(net.whole, batch_size=2)(x)

    assert oom.sizes == [2, 2, 1, 1, 1]
    torch.testing.assert_close(result, net(x).detach())


def test_nothing_of_a_failed_attempt_is_alive_at_the_next(net, x):
    with simulate_oom(net, max_items=1) as oom:
        net.whole(x)

    assert len(oom.refused) > 1
    assert all(attempt.n_held == 0 for attempt in oom.attempts)


def test_what_a_failed_attempt_made_is_gone_at_the_next():
    alive = []

    class Embed(nn.Linear):
        @auto_device
        @batched
        def embed(self, x):
            alive.append(sum(ref() is not None for ref in refs))
            y = x * 2
            refs.append(weakref.ref(y))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return y

    refs = []

    Embed(3, 2).embed(np.ones((5, 3)))

    assert alive == [0, 0, 1, 2]  # only what is done


def test_one_item_that_does_not_fit_is_an_error_with_its_shape(net, x):
    with (
        simulate_oom(net, max_items=0),
        pytest.raises(
            DoesNotFitError,
            match=r"Net\.whole\(\): one single item \(x: \(3,\) float32\) does not fit",
        ) as caught,
    ):
        net.whole(x)

    assert isinstance(caught.value, torch.OutOfMemoryError)
    assert caught.value.__context__ is None
    torch.testing.assert_close(net.whole(x), net(x).detach())  # usable as before


def test_the_smallest_chunk_can_be_larger_than_one(net, x):
    @batched(min_size=2)
    def embed(module, x):
        return module(x)

    with (
        simulate_oom(net, max_items=1) as oom,
        pytest.raises(DoesNotFitError, match="the smallest chunk, 2 items,"),
    ):
        embed(net, x)

    assert min(oom.sizes) == 2


def test_items_of_lists_are_described_when_they_do_not_fit(net):
    for items in ([torch.ones(2, 3)], ["text"], Record([torch.ones(1, 3)])):
        with pytest.raises(DoesNotFitError, match="one single item"):
            net_fails(net, items)


def net_fails(net, items):
    @batched
    def fail(module, x):
        raise MemoryError

    return fail(net, items)


def test_memory_errors_can_be_left_to_the_caller(net, x):
    for size in ("auto", 2):
        with (
            simulate_oom(net, max_items=1),
            pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"),
        ):
            configure(net.whole, on_oom="raise", batch_size=size)(x, None)


def test_other_errors_are_not_caught(net):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net.whole(torch.ones(4, 5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        configure(net.whole, batch_size=2)(torch.ones(4, 5))


def test_memory_that_runs_out_without_a_batch_to_cut_says_so(net, x):
    @batched
    def fail(module, n, *more):
        raise MemoryError

    with pytest.raises(DoesNotFitError, match="No input carries a batch to cut"):
        fail(net, 3)
    with pytest.raises(DoesNotFitError, match="inputs cannot be cut: .*different"):
        fail(net, x, x[:2])


def test_a_refusal_of_several_arguments_is_recovered(net, x):
    @batched
    def add(module, a, b):
        return module(a) + module(b)

    with simulate_oom(net, max_items=2):
        result = add(net, x, x)

    torch.testing.assert_close(result, 2 * net(x))


def test_releasing_memory_survives_backends_without_a_cache(monkeypatch):
    def refuse():
        raise RuntimeError("no cache")

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "empty_cache", refuse)

    release_memory()


# --- progress ----------------------------------------------------------------------


def test_progress_counts_items_also_when_chunks_are_halved(net, x):
    ticks = []

    with simulate_oom(net, max_items=1):
        configure(net.whole, batch_size=2, progress=ticks.append)(x)

    assert sum(ticks) == 5


def test_progress_can_be_a_bar(net, x, capsys):
    configure(net.apply, progress=True)(x)

    assert "Net.apply(): 100%" in capsys.readouterr().err


def test_a_bar_needs_tqdm(net, x, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)

    with pytest.raises(ModuleNotFoundError, match=r"unfussy\[progress\]"):
        configure(net.apply, progress=True)(x)


# --- together with the other decorators ---------------------------------------------


def test_an_error_in_an_input_names_it_and_leaves_the_model_usable(net, x):
    with pytest.raises(InputTypeError, match=r"Net\.declared\(\): argument table: "):
        net.declared(x, np.array([object()]))

    assert issubclass(InputTypeError, UnfussyError)
    assert torch.equal(net.declared(x), x)


def test_a_generator_cannot_be_batched():
    with pytest.raises(PlanError, match="is a generator or coroutine and cannot be"):

        @batched
        def embed(self, x):
            yield x

    with pytest.raises(PlanError, match="is a generator or coroutine"):

        @batched
        async def embed_later(self, x):
            return x
