"""Chunks one after the other: what is tried, learnt, joined, and kept apart."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import Pack, Pad, _joined, batched, configure, inference
from unfussy._batching import join
from unfussy._batching.collate import Indices
from unfussy._batching.draws import Draws
from unfussy._batching.governor import Governor
from unfussy._batching.work import Work, ascending, merged
from unfussy._joined import join_somewhere
from unfussy.errors import DoesNotFitError, InputValueError
from unfussy.testing import OOM_ERRORS, OOM_SUSPECTS, simulate_oom
from unfussy.testing._arena import Arena

NET = nn.Linear(3, 2).eval()
X = torch.arange(15.0).reshape(5, 3)


# --- works ---------------------------------------------------------------------------


def lengths(*values):
    return np.array(values, dtype=np.float64)


def test_a_work_costs_the_sum_of_its_lengths_or_its_padding():
    assert Work(range(4), 2.0).cost == 8
    assert Work(range(3), lengths(1, 2, 5)).cost == 8
    assert Work(range(3), lengths(1, 2, 5), padded=True).cost == 15
    assert Work(range(3), lengths(1, 2, 5), padded=True).useful == 8


@pytest.mark.parametrize(
    ("work", "heads"),
    [
        (Work(range(4), 2.0), [1, 1, 2, 3, 4, 4]),
        (Work(range(4), lengths(2, 2, 2, 2)), [1, 1, 2, 3, 4, 4]),
        (Work(range(4), lengths(2, 1, 2, 2), padded=True), [1, 1, 2, 3, 4, 4]),
        (Work(range(4), lengths(1, 1, 2, 2), padded=True), [1, 2, 2, 3, 4, 4]),
    ],
    ids=["equal", "sum", "longest first", "in order"],
)
def test_a_head_costs_no_more_than_is_allowed(work, heads):
    assert [work.head(allowed) for allowed in (0, 2, 4, 6, 8, 10)] == heads


def test_works_fall_into_runs_of_the_callers_order():
    runs = Work(np.array([0, 1, 3, 5, 6]), lengths(1, 2, 3, 4, 5)).runs()

    assert [run.indices for run in runs] == [range(2), range(3, 4), range(5, 7)]
    assert [run.lengths.tolist() for run in runs] == [[1, 2], [3], [4, 5]]


def test_indices_that_follow_each_other_are_a_range():
    indices: Indices = np.array([3, 1, 2])

    assert ascending(indices) == range(1, 4)
    assert ascending(np.array([4, 1])).tolist() == [1, 4]


def test_works_are_merged():
    work = merged([Work(range(2), lengths(1, 2)), Work(range(4, 5), lengths(3))])

    assert work.indices.tolist() == [0, 1, 4]
    assert work.lengths.tolist() == [1, 2, 3]


# --- sizes ---------------------------------------------------------------------------


def sizes_of(x, **settings):
    sizes = []

    @batched(**settings)
    def run(module, x):
        sizes.append(len(x))
        return torch.arange(len(x))

    run(NET, x)
    return sizes


def test_a_budget_limits_what_a_chunk_costs():
    assert sizes_of(X, budget=6, size="all") == [2, 2, 1]
    assert sizes_of([torch.ones(3)] * 5, budget=7, size="all") == [2, 2, 1]
    assert max(sizes_of([torch.ones(3)] * 5, budget=7, pad=Pad())) == 2


def test_items_cost_what_the_author_says():
    texts = ["a", "bb", "cc", "dddd"]

    assert sizes_of(texts, cost=len, budget=4, size="all") == [2, 1, 1]
    assert sizes_of(texts, cost=lambda text: 0, budget=4) == [4]


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_costs_are_numbers_from_0(cost):
    with pytest.raises(InputValueError, match=r"from 0, got .* for item 1"):
        sizes_of(["a", "b"], cost=lambda text: 1.0 if text == "a" else cost)


def test_the_smallest_chunk_is_no_larger_than_the_size():
    assert sizes_of(X, size=2, min_size=4) == [2, 2, 1]
    assert sizes_of(X, budget=1, min_size=2) == [2, 2, 1]


def test_chunks_of_items_that_cost_nothing_still_get_smaller():
    seen = []

    @batched(cost=lambda text: 0)
    def run(module, texts):
        seen.append(len(texts))
        if len(texts) > 1:
            raise MemoryError
        return texts

    assert run(NET, ["a", "b", "c"]) == ["a", "b", "c"]
    assert seen == [3, 1, 1, 1]


# --- refusals ------------------------------------------------------------------------


class Net(nn.Linear):
    @inference
    @batched
    def embed(self, x: torch.Tensor):
        return self(x)

    @inference
    @batched(pad=Pad(lengths="lengths"))
    def padded(self, x, lengths):
        return self(x)

    @inference
    @batched(pack=Pack(lengths="lengths"))
    def packed(self, x, lengths):
        return self(x)

    @inference
    @batched(ragged="list")
    def listed(self, x):
        return list(self(torch.cat(x)).split([len(item) for item in x]))


@pytest.fixture
def net():
    return Net(3, 2)


@pytest.mark.parametrize("kind", [*OOM_ERRORS, *OOM_SUSPECTS])
@pytest.mark.parametrize("method", ["padded", "packed", "listed"])
def test_a_refusal_of_any_kind_is_survived_in_any_form(net, kind, method):
    items = [torch.rand(n, 3) for n in (1, 4, 2, 4, 1)]

    with simulate_oom(net, max_bytes=60, kind=kind) as oom:
        result = getattr(net, method)(items)

    assert oom.refused
    torch.testing.assert_close(result, [net(item).detach() for item in items])


@pytest.mark.parametrize("size", ["auto", 4])
def test_what_fits_is_remembered(net, size):
    run = configure(net.embed, batch_size=size)
    many = torch.rand(40, 3)

    with simulate_oom(net, max_items=3) as oom:
        run(many)
        n_refused = len(oom.refused)
        run(many)

    assert len(oom.refused) == n_refused > 0


def test_what_fits_is_forgotten_when_the_module_changes(net):
    many = torch.rand(8, 3)
    with simulate_oom(net, max_items=2):
        net.embed(many)

    net.double()
    with simulate_oom(net, max_items=8) as oom:
        net.embed(many.double())

    assert oom.sizes == [8]


def test_a_suspicion_about_one_item_raises_the_original_error(net):
    for n in (1, 2):
        with (
            simulate_oom(net, max_items=0, kind="cudnn_unsupported"),
            pytest.raises(RuntimeError, match="CUDNN_STATUS_NOT_SUPPORTED") as caught,
        ):
            net.embed(X[:n])
        assert not isinstance(caught.value, DoesNotFitError)


def test_a_suspicion_about_what_cannot_be_cut_raises_the_original_error(net):
    @batched
    @simulate_oom(when=lambda _: True, kind="cudnn_unsupported")
    def run(module, x, n):
        return x

    with pytest.raises(RuntimeError, match="CUDNN_STATUS_NOT_SUPPORTED") as caught:
        run(net, torch.tensor(1.0), 3)
    assert not isinstance(caught.value, DoesNotFitError)


def test_one_item_that_does_not_fit_is_told_with_shape_and_memory(net):
    with (
        simulate_oom(net, max_items=0),
        pytest.raises(
            DoesNotFitError,
            match=r"one single item \(x: \(4, 3\)\) does not fit into memory "
            r"\([\d.]+ of [\d.]+ GiB free on cpu\)",
        ),
    ):
        net.padded([torch.ones(4, 3)])


def test_a_chunk_gets_smaller_even_while_others_raise_the_limit(monkeypatch):
    sizes = []
    monkeypatch.setattr(Governor, "refused", lambda self, cost: None)

    @batched(size=4)
    def run(module, x):
        sizes.append(len(x))
        if len(x) > 1:
            raise MemoryError
        return x

    assert torch.equal(run(NET, X), X)
    assert sizes == [4, 3, 2, 1, 4, 3, 2, 1, 3, 2, 1, 2, 1, 1]


def test_results_that_wait_leave_room_where_they_are_let_go():
    arena = Arena(40 * 12 + 2 * 60, scratch=0)
    many = torch.rand(40, 3)
    run = batched(size=5)(arena(lambda module, x: x * 2))

    assert torch.equal(run(nn.Identity(), many), many * 2)
    assert arena.n_refused == 0


# --- joining -------------------------------------------------------------------------


class Full:
    """Joins, but not at the first time."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return join(*args, **kwargs)


def test_results_for_which_a_device_has_no_room_are_joined_on_the_cpu(monkeypatch):
    monkeypatch.setattr(_joined, "_CPU", torch.device("meta"))  # any but that of X
    monkeypatch.setattr(_joined, "join", full := Full())

    joined = join_somewhere([{"z": X}, {"z": X + 1}], [5, 5], None)

    assert torch.equal(joined["z"], torch.cat([X, X + 1]))
    assert full.calls == 2


def test_a_result_for_which_a_device_has_no_room_is_refused_with_advice(monkeypatch):
    def refuse(tree, *device):
        if device:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return tree

    monkeypatch.setattr(_joined, "_CPU", torch.device("meta"))
    monkeypatch.setattr(_joined, "join", Full())
    monkeypatch.setattr(_joined, "gathered", refuse)

    with pytest.raises(DoesNotFitError, match=r"keep='cpu', or write .* run_to\(\)"):
        join_somewhere([X, X], [5, 5], None)


def test_what_runs_out_of_memory_on_the_cpu_is_not_joined_elsewhere(monkeypatch):
    def refuse(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("unfussy._joined.join", refuse)

    with pytest.raises(MemoryError):
        join_somewhere([X, X], [5, 5], None)


# --- draws ---------------------------------------------------------------------------


def test_draws_are_undone_after_a_failure_or_on_demand():
    generator = torch.Generator().manual_seed(0)
    numbers = np.random.default_rng(0)
    draws = Draws([{"a": generator}, [numbers, 3], ["x"] * 99])
    first = torch.rand(3, generator=torch.Generator().manual_seed(0)).tolist()

    def fail():
        torch.rand(9, generator=generator)
        numbers.random(9)
        raise LookupError

    with pytest.raises(LookupError), draws.undone():
        fail()
    with draws.undone(always=True):
        torch.rand(9, generator=generator)

    assert torch.rand(3, generator=generator).tolist() == first
    assert numbers.random() == np.random.default_rng(0).random()
    assert not Draws([X, "x", None])


# --- threads -------------------------------------------------------------------------


def test_many_threads_may_call_one_method_while_memory_runs_out(net):
    oom = simulate_oom(max_items=3)
    run = batched(pad=Pad(mask="mask"))(
        lambda module, x, mask=None: oom(lambda x: {"sum": x.sum(1), "x": x})(x)
    )
    errors, start = [], threading.Barrier(6)

    def call(seed):
        items = [torch.full((1 + (i * seed) % 5,), float(i)) for i in range(9)]
        start.wait()
        for _ in range(5):
            result = run(net, items)
            if result["sum"].tolist() != [float(x.sum()) for x in items]:
                errors.append(seed)
            if repr(result["x"]) != repr(items):
                errors.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(oom.refused) > 0
    assert all(attempt.n_held == 0 for attempt in oom.attempts)
