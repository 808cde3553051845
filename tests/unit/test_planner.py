"""Planning: known plans, the limits, streams, what is refused, and learnt costs."""

from dataclasses import FrozenInstanceError
from threading import Thread

import numpy as np
import pytest
import torch

from unfussy import UnfussyError
from unfussy._batching.approximate import cut_by_price, cut_under_ceilings
from unfussy._batching.chunks import padded_sum
from unfussy._batching.cost import Cost, CostFit, default_cost, default_ratio
from unfussy._batching.planner import plan, plan_in_order
from unfussy._batching.terms import Terms
from unfussy._batching.windows import plan_windows
from unfussy.errors import InputTypeError, InputValueError


def as_lists(chunk_plan):
    return [chunk.tolist() for chunk in chunk_plan.chunks]


# --- plans -------------------------------------------------------------------------


def test_a_giant_does_not_make_the_others_padded():
    found = plan([10, 11, 2000, 10, 12])

    assert as_lists(found) == [[2], [0, 1, 3, 4]]


def test_a_large_startup_makes_few_chunks_and_a_small_one_many():
    lengths = range(10, 60)

    few, many = plan(lengths, startup=5000), plan(lengths, startup=5)

    assert len(few.chunks) == 1
    assert len(many.chunks) > 10


def test_equal_lengths_run_at_once():
    assert as_lists(plan([7, 7, 7], startup=0.1)) == [[0, 1, 2]]


def test_items_without_elements_run_at_once():
    assert as_lists(plan([0, 0, 0])) == [[0, 1, 2]]
    assert plan(np.zeros(3000)).sizes == (3000,)


def test_an_item_beyond_the_budget_runs_alone():
    found = plan([4, 4, 50, 4], startup=1000, budget=12)

    assert as_lists(found) == [[2], [0, 1, 3]]


def test_a_start_counts_where_a_better_one_no_longer_fits():
    # Without the limit, all three at once would be best at every length.
    found = plan([4, 6, 7], startup=20, max_items=2)

    assert as_lists(found) == [[1, 2], [0]]


def test_no_items_are_no_chunks():
    found = plan([])

    assert found.chunks == ()
    assert (found.waste, found.price, found.lower_bound) == (0, 0, 0)
    assert str(found) == "no items, no chunks"
    assert plan_in_order([]).chunks == ()


@pytest.mark.parametrize(
    "wrap", [list, tuple, np.array, torch.tensor, lambda x: np.array(x, np.int16)]
)
def test_lengths_may_be_any_sequence_of_numbers(wrap):
    assert plan(wrap([3, 300, 5]), startup=10).sizes == (1, 2)


@pytest.mark.parametrize("highest", [60, 10**6, 60.5])
def test_many_items_are_planned_whatever_their_numbers(highest):
    lengths = np.linspace(1, highest, 3000).round(2)

    found = plan(lengths, max_items=100)

    assert found.n_items == 3000
    assert found.price < 1.3 * found.lower_bound
    assert np.array_equal(np.sort(np.concatenate(found.chunks)), np.arange(3000))


@pytest.mark.parametrize("asked", [{"startup": 100, "max_items": 32}, {"startup": 1e4}])
def test_many_items_are_planned_in_the_cheaper_of_two_ways(asked):
    lengths = np.sort(np.random.default_rng(0).uniform(10, 60, 3000))
    sums, terms = np.concatenate([[0], lengths.cumsum()]), Terms(**asked)

    price = plan(lengths, **asked).price

    stops = [cut(lengths, sums, terms) for cut in (cut_by_price, cut_under_ceilings)]
    prices = [padded_sum(lengths, s) + terms.startup * len(s) for s in stops]
    assert price == pytest.approx(min(prices))
    assert price < 0.995 * max(prices)


def test_the_lengths_given_are_left_alone():
    lengths = np.array([3.0, 1.0, 2.0])

    plan(lengths)

    assert lengths.tolist() == [3, 1, 2]


def test_a_plan_cannot_be_changed():
    found = plan([1, 2])

    with pytest.raises(FrozenInstanceError):
        found.startup = 3
    with pytest.raises(ValueError, match="read-only"):
        found.chunks[0][0] = 1


def test_a_plan_prints_what_it_is_worth():
    found = plan([10, 20, 1000], startup=50)

    assert repr(found) == "<ChunkPlan: 3 items in 2 chunks, 1.0% padding>"
    assert str(found).splitlines() == [
        "3 items in 2 chunks of 1 to 2",
        "1.0 % padding",
        "price 1.06 of the lower bound",
    ]
    assert str(plan([5])).startswith("1 item in 1 chunk of 1\n0.0 %")


def test_the_lower_bound_counts_the_chunks_that_are_needed():
    assert plan([5] * 10, startup=1, max_items=4).lower_bound == 50 + 3
    assert plan([5] * 10, startup=1, budget=10).lower_bound == 50 + 5
    assert plan([5, 90, 5], startup=1, budget=10).lower_bound == 100 + 2


def test_rounding_adds_no_chunk_to_the_lower_bound():
    found = plan([1.6, 1.6, 1.6], startup=1, budget=1.6)

    assert found.price == pytest.approx(found.lower_bound)


# --- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize("planner", [plan, plan_in_order])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_lengths_that_are_none_are_refused(planner, value):
    with pytest.raises(InputValueError, match=f"item 1 has {value}"):
        planner([1, value, 2])


@pytest.mark.parametrize("planner", [plan, plan_in_order])
@pytest.mark.parametrize("value", [["a"], [[1, 2]], 3, [None], [[1], [1, 2]], [1j]])
def test_what_is_no_row_of_numbers_is_refused(planner, value):
    with pytest.raises(InputTypeError, match="one number an item"):
        planner(value)


@pytest.mark.parametrize("planner", [plan, plan_in_order])
@pytest.mark.parametrize("name", ["budget", "max_items"])
@pytest.mark.parametrize("value", [0, -3, float("nan")])
def test_limits_that_allow_no_chunk_are_refused(planner, name, value):
    with pytest.raises(InputValueError, match=f"{name} must be at least 1, got"):
        planner([1], **{name: value})


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_startup_of_nothing_is_refused(value):
    with pytest.raises(InputValueError, match="above 0"):
        plan([1], startup=value)
    with pytest.raises(UnfussyError, match="above 0"):
        Cost(startup=value, unit=1)


# --- in order ----------------------------------------------------------------------


def test_equal_items_in_order_are_divided():
    found = plan_in_order(np.full(10**6, 3.0), max_items=300_000)

    assert found.sizes == (300_000, 300_000, 300_000, 100_000)
    assert found.waste == 0


def test_items_in_order_fill_the_budget():
    found = plan_in_order([5, 3, 3, 20, 1, 1], budget=8)

    assert as_lists(found) == [[0, 1], [2], [3], [4, 5]]


# --- streams -----------------------------------------------------------------------


def test_an_endless_stream_is_planned_window_by_window():
    def endless():
        while True:
            yield from ([0] * 5, [0] * 9)

    windows = plan_windows(endless(), len, budget=64, window=4)

    held, chunk_plan = next(windows)
    assert len(held) == pytest.approx(4 * 64 / 7, abs=2)
    assert len(chunk_plan.chunks) in (4, 5)
    assert next(windows)[1].n_items == pytest.approx(len(held), abs=1)


@pytest.mark.parametrize("length", [0, 1, 7, 10**9])
@pytest.mark.parametrize("asked", [{}, {"budget": 100}, {"max_items": 3}])
def test_a_window_is_never_endless(length, asked):
    def endless():
        while True:
            yield length

    held, _ = next(plan_windows(endless(), lambda n: n, startup=2, window=3, **asked))

    assert 3 <= len(held) <= 10**6


def test_an_error_of_the_length_comes_after_the_items_before():
    windows = plan_windows(["ab", "c", None, "d"], len)

    assert next(windows)[0] == ["ab", "c"]
    with pytest.raises(TypeError, match="NoneType"):
        next(windows)


def test_a_length_that_is_none_ends_an_endless_window():
    def endless():
        while True:
            yield float("nan")

    with pytest.raises(InputValueError, match="item 0 has nan"):
        next(plan_windows(endless(), lambda n: n))


def test_a_window_of_no_chunk_is_refused():
    with pytest.raises(InputValueError, match="window must be at least 1 chunk"):
        next(plan_windows([], len, window=0))


# --- the cost ----------------------------------------------------------------------


def fit_of(*samples):
    fit = CostFit()
    for units, seconds in samples:
        fit.add(units, seconds)
    return fit


SAMPLES = [(n, 1e-3 + 1e-5 * n) for n in (100, 200, 400, 800, 1600)]


def test_accelerators_pay_more_for_a_start_than_cpus():
    assert default_ratio("cpu") == default_cost("cpu").ratio == 100
    assert default_ratio("cuda") == default_ratio("anything") == 4096


def test_a_cost_is_a_start_and_elements():
    assert Cost(startup=2, unit=0.5).of(n_items=3, length=4) == 8


@pytest.mark.parametrize(
    "samples",
    [
        [],
        SAMPLES[:4],
        [(100, 1e-3)] * 20,
        [(100 + n, 1e-3) for n in range(60)],
        [(0, 1.0), (100, 0.0), (float("inf"), 1.0), (9, float("nan"))] * 9,
    ],
)
def test_too_little_says_nothing(samples):
    fit = fit_of(*samples)

    assert fit.cost is None
    assert fit.knee() is None


def test_the_first_chunk_does_not_count():
    fit = fit_of((100, 30.0), *SAMPLES)

    assert fit.cost.ratio == pytest.approx(100)


def test_a_fifth_that_was_interrupted_does_not_count():
    late = [(n, 50 * seconds) for n, seconds in SAMPLES]

    fit = fit_of((1, 1), *SAMPLES * 5, *late)

    assert fit.cost.ratio == pytest.approx(100)
    assert fit.cost.unit == pytest.approx(1e-5)


def test_noise_of_a_tenth_leaves_the_cost_good_enough():
    random = np.random.default_rng(0)
    noise = 1 + 0.1 * random.standard_normal(64)
    units = random.choice([100, 500, 1000, 2000, 4000], 64)

    fit = fit_of((1, 1), *zip(units, (1e-3 + 1e-5 * units) * noise))

    assert 100 / 3 < fit.cost.ratio < 300
    assert fit.cost.unit == pytest.approx(1e-5, rel=0.1)


def test_what_is_old_is_forgotten():
    fit = fit_of((1, 1), *SAMPLES * 9)

    for n, _ in SAMPLES * 13:
        fit.add(n, 5e-3 + 1e-5 * n)

    assert fit.cost.ratio == pytest.approx(500)


@pytest.mark.parametrize(("power", "ratio"), [(0, 1e6), (2, 1)])
def test_times_that_fit_no_cost_give_one_at_the_edge(power, ratio):
    fit = fit_of((1, 1), *[(n, 1e-3 * n**power) for n in (1, 2, 4, 8, 16, 32)])

    assert fit.cost.ratio == pytest.approx(ratio)


def test_beyond_the_knee_the_start_is_a_twentieth_of_the_time():
    fit = fit_of((1, 1), *SAMPLES)

    knee = fit.knee()

    assert fit.cost.startup / fit.cost.of(1, knee) == pytest.approx(0.05)
    assert fit.knee(share=0.5) == pytest.approx(100)


def test_threads_may_share_a_fit():
    fit, seen = fit_of((1, 1), *SAMPLES), []

    def work():
        for n, seconds in SAMPLES * 40:
            fit.add(n, seconds)
            seen.append(fit.cost.ratio)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == pytest.approx([100] * 800)
