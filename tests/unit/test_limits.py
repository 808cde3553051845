"""What is remembered about how much fits, and when it is forgotten."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest
import torch
from torch import nn

from unfussy._batching.footprint import Footprint
from unfussy._batching.governor import Governor
from unfussy._batching.limits import Limits, signature
from unfussy._batching.memory import Memory
from unfussy._batching.pace import Pace


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def work(governor, lengths, room):
    """Run padded chunks, longest items first; return attempted work and refusals."""
    todo, attempted, refusals = sorted(lengths, reverse=True), 0.0, 0
    while todo:
        n_items = min(len(todo), max(1, int(governor.allow(todo[0]) // todo[0])))
        cost = n_items * todo[0]
        attempted += cost
        if cost > room:
            governor.refused(cost)
            refusals += 1
        else:
            governor.succeeded(cost)
            del todo[:n_items]
    return attempted / sum(lengths), refusals


# --- the governor ------------------------------------------------------------------


def test_the_limit_doubles_while_chunks_are_nearly_full():
    governor = Governor(64)

    governor.succeeded(47)
    assert governor.allow() == 64
    governor.succeeded(48)
    assert governor.allow() == 128


def test_what_ran_before_is_allowed_after_a_refusal():
    governor = Governor(64)
    governor.succeeded(64)

    governor.refused(100)

    assert governor.allow() == 64


def test_half_is_allowed_after_a_refusal_if_nothing_large_ran():
    governor = Governor(64)
    governor.succeeded(10)

    governor.refused(64)

    assert governor.allow() == 32


def test_what_ran_once_counts_no_more_when_it_is_refused():
    governor = Governor(64)
    governor.succeeded(64)

    governor.refused(64)
    assert governor.allow() == 32
    governor.refused(32)
    assert governor.allow() == 16


def test_more_is_tried_after_four_full_chunks_while_it_is_worth_it():
    governor = Governor(64)
    governor.succeeded(64)
    governor.refused(128)

    for _ in range(3):
        governor.succeeded(64)
    assert governor.allow() == 64
    governor.succeeded(64)
    assert governor.allow() == pytest.approx((64 * 128) ** 0.5)
    governor.refused(80)
    for _ in range(100):
        governor.succeeded(64)
    assert governor.allow() == 64


def test_a_large_chunk_that_runs_disproves_a_refusal():
    governor = Governor(64)
    governor.refused(64)

    governor.succeeded(70)

    assert "refused" not in repr(governor)
    assert governor.allow() == 64


def test_the_limit_returns_to_what_ran_by_doubling():
    governor = Governor(8)
    governor.succeeded(100)  # one item that has to run anyway
    governor.refused(200)

    allowed = []
    for _ in range(5):
        allowed.append(governor.allow())
        governor.succeeded(governor.allow())

    assert allowed == [16, 32, 64, 100, 100]


def test_the_least_that_can_run_is_allowed_whatever_was_refused():
    governor = Governor(64)
    governor.refused(3)

    assert governor.allow(5, cap=4) == 5


def test_without_a_start_nothing_is_limited_before_a_refusal():
    governor = Governor(inf)
    governor.succeeded(1e9)
    assert governor.allow() == inf

    governor.refused(1e10)

    assert governor.allow() == 5e9


def test_a_refusal_expires_after_ten_minutes():
    now = 0.0
    governor = Governor(64, clock=lambda: now)
    governor.refused(64)
    governor.succeeded(32)

    now = 599.0
    assert "refused" in repr(governor)
    governor.allow()
    assert "refused" in repr(governor)
    now = 600.0
    governor.allow()
    assert "refused" not in repr(governor)


def test_a_refusal_expires_when_much_memory_is_freed():
    free = 100
    governor = Governor(64, memory=lambda: Memory(free, 1000))
    governor.refused(64)

    free = 125
    governor.allow()
    assert "refused" in repr(governor)
    free = 126
    governor.allow()
    assert "refused" not in repr(governor)


def test_memory_is_not_asked_for_before_it_matters():
    def memory():
        raise AssertionError("asked")

    governor = Governor(64, memory=memory)
    governor.succeeded(64)

    assert governor.allow() == 128


def test_free_memory_bounds_the_next_chunk():
    governor = Governor(64, share=0.5, memory=lambda: Memory(2_000, 4_000))

    governor.succeeded(64, peak=640)

    assert governor.allow() == 100


def test_peaks_are_wanted_until_a_chunk_like_the_next_was_measured():
    governor = Governor(64)

    assert governor.wants_peak
    governor.succeeded(64, peak=10)
    assert governor.wants_peak
    governor.succeeded(100, peak=10)
    governor.succeeded(200, peak=10)
    governor.refused(256)
    assert not governor.wants_peak


def test_larger_chunks_that_are_not_faster_end_the_growth():
    governor = Governor(64)

    for _ in range(20):
        cost = governor.allow()
        governor.succeeded(cost, seconds=cost * max(1.0, 512 / cost))

    assert governor.allow() == 512


def test_the_best_size_is_looked_for_again_after_many_chunks():
    governor, slower = Governor(64), 512
    allowed = []

    for turn in range(600):
        slower = 512 if turn < 100 else 4096
        cost = governor.allow()
        allowed.append(cost)
        governor.succeeded(cost, seconds=cost * max(1.0, slower / cost))

    assert set(allowed[20:200]) == {512}
    assert allowed[-1] == 4096


def test_equal_items_are_hardly_run_twice():
    governor = Governor(64)

    first = work(governor, [1.0] * 2000, room=37)
    second = work(governor, [1.0] * 2000, room=37)

    assert first[0] <= 1.1
    assert second == (1.0, 0)


def lognormal_lengths():
    torch.manual_seed(0)
    return (3.2 + 0.8 * torch.randn(2000)).exp().clamp(4, 400).round().tolist()


def outlier_lengths():
    torch.manual_seed(0)
    return [*torch.randint(10, 61, (2000,)).tolist(), 2000]


@pytest.mark.parametrize("draw", [lognormal_lengths, outlier_lengths])
def test_items_of_many_lengths_are_hardly_run_twice(draw):
    lengths = draw()
    governor = Governor(64 * sum(lengths) / 2000)

    first = work(governor, lengths, room=8192)
    second = work(governor, lengths, room=8192)

    assert first[0] <= 1.7
    assert second[0] <= 1.2
    assert second[1] == 0


# --- what a governor asks ----------------------------------------------------------


def test_nothing_is_known_without_samples():
    footprint = Footprint()
    footprint.add(10, 0)

    assert not footprint
    assert footprint.greatest_cost(1) == inf


def test_measurements_that_contradict_each_other_are_taken_at_their_worst():
    footprint = Footprint()
    footprint.add(10, 100)
    footprint.add(20, 50)

    assert footprint.greatest_cost(1000) == 100


def test_needs_that_grow_faster_than_cost_are_not_underrated():
    footprint = Footprint()
    footprint.add(10, 100)
    footprint.add(20, 400)

    assert footprint.greatest_cost(1000) == 40
    assert footprint.greatest_cost(100) == 5


def test_what_any_chunk_needs_may_be_too_much_already():
    footprint = Footprint()
    footprint.add(10, 1010)
    footprint.add(20, 1020)

    assert footprint.greatest_cost(900) == 0


def test_one_sample_is_not_enough_to_settle():
    pace = Pace()
    pace.add(1, 1.0)
    pace.add(2, 9.0)

    assert pace.advise(2) == "stay"
    pace.add(2, 0.5)
    assert pace.advise(2) == "double"


# --- what is remembered ------------------------------------------------------------


def test_a_governor_is_found_again_by_module_and_key(limits, net):
    first = limits.of(net, "float32", start=8)

    assert limits.of(net, "float32", start=99) is first
    assert limits.of(net, "float16", start=8) is not first
    assert limits.of(nn.Linear(1, 1), "float32", start=8) is not first
    assert first.allow() == 8


def test_a_function_without_a_module_has_governors_too(limits):
    assert limits.of(None, 1, start=8) is limits.of(None, 1, start=8)


def test_hosts_are_filled_by_half_and_accelerators_further(limits):
    shares = [limits.of(None, d, start=1, device=d)._share for d in ("cpu", "meta")]

    assert shares == [0.5, 0.8]


def test_limits_are_forgotten_with_their_module(limits):
    net = nn.Linear(3, 2)
    net.itself = [net]
    weight = weakref.ref(net.weight)
    limits.of(net, 1, start=8)

    del net
    gc.collect()

    assert weight() is None
    assert len(limits) == 0


def test_modules_do_not_keep_limits_alive(net):
    limits = Limits()
    limits.of(net, 1, start=8)
    alive = weakref.ref(limits)

    del limits

    assert alive() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.half(),
        lambda net: net.to("meta"),
        lambda net: net.append(nn.Linear(2, 2)),
        lambda net: net.__setitem__(0, nn.Linear(4, 2)),
        lambda net: net[1].register_buffer("scale", torch.ones(())),
        lambda net: setattr(net[0], "bias", None),
    ],
    ids=["dtype", "device", "longer", "wider", "buffer", "removed"],
)
def test_a_module_that_changes_starts_anew(limits, net, change):
    before = limits.of(net, 1, start=8)

    change(net)

    assert limits.of(net, 1, start=8) is not before
    assert len(limits) == 1


def test_a_module_with_other_values_is_the_same(limits, net):
    before = limits.of(net, 1, start=8)

    net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()})
    net.eval().requires_grad_(requires_grad=False)

    assert limits.of(net, 1, start=8) is before


def test_the_oldest_of_many_kinds_of_input_is_forgotten(limits, net):
    first, second = (limits.of(net, key, start=8) for key in (0, 1))
    for key in range(2, 64):
        limits.of(net, key, start=8)
    limits.of(net, 0, start=8)  # used again

    limits.of(net, 64, start=8)

    assert len(limits) == 64
    assert limits.of(net, 0, start=8) is first
    assert limits.of(net, 1, start=8) is not second


def test_all_is_forgotten_on_demand(limits, net):
    limits.of(net, 1, start=8)

    limits.forget()

    assert len(limits) == 0


def test_copies_and_pickles_remember_nothing(limits, net):
    limits.of(net, 1, start=8)

    pickled = pickle.loads(pickle.dumps(limits))  # noqa: S301
    twins = [copy.copy(limits), copy.deepcopy(limits), pickled]

    assert [len(twin) for twin in twins] == [0, 0, 0]
    assert limits.of(copy.deepcopy(net), 1, start=9).allow() == 9


def test_modules_that_compare_equal_are_told_apart(limits):
    class Equal(nn.Linear):
        __hash__ = None

        def __eq__(self, other):
            return True

    one, other = Equal(3, 2), Equal(3, 2)

    assert limits.of(one, 1, start=8) is not limits.of(other, 1, start=8)


def test_threads_share_one_governor(limits, net):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: limits.of(net, 1, start=8), range(200)))

    assert len(set(map(id, found))) == 1


def test_threads_that_refuse_and_run_leave_a_usable_limit():
    governor = Governor(64)

    def use(turn):
        cost = governor.allow(1)
        if cost > 37:
            governor.refused(cost)
        else:
            governor.succeeded(cost)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(400)))

    assert 16 <= governor.allow() <= 64


# --- what a module looks like ------------------------------------------------------


def test_a_signature_copes_with_odd_modules():
    lazy, cyclic = nn.LazyLinear(2), nn.Linear(3, 2)
    cyclic.add_module("parent", nn.Sequential(cyclic))
    before = signature(lazy)

    lazy(torch.ones(1, 3))

    assert signature(lazy) != before
    assert len(signature(cyclic)) == 2
    assert signature(None) == ()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_has_a_signature():
    assert len(signature(torch.jit.script(nn.Linear(3, 2)))) == 2
