"""Laws of planning: every item once, within the limits, and no cheaper way there is."""

from functools import cache
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfussy._batching.approximate import cut_by_price, cut_under_ceilings
from unfussy._batching.chunks import padded_sum
from unfussy._batching.cost import CostFit
from unfussy._batching.exact import cut_exactly
from unfussy._batching.planner import plan, plan_in_order
from unfussy._batching.terms import Terms
from unfussy._batching.windows import plan_windows

pytestmark = pytest.mark.property


def limits(largest_budget, most_items):
    """What *plan* may be asked for besides the lengths."""
    return st.fixed_dictionaries(
        {
            "startup": st.floats(0.1, 2 * largest_budget),
            "budget": st.none() | st.integers(1, largest_budget),
            "max_items": st.none() | st.integers(1, most_items),
        }
    )


whole = st.integers(0, 30)
few = st.lists(whole | st.floats(0, 30), max_size=8)
some = st.lists(whole, max_size=60)
streams = st.lists(st.text("x", max_size=12), max_size=60)


# --- plans -------------------------------------------------------------------------


@given(lengths=some, asked=limits(300, 12))
def test_every_item_is_in_one_chunk_in_ascending_order(lengths, asked):
    chunks = plan(lengths, **asked).chunks

    assert sorted(i for chunk in chunks for i in chunk) == [*range(len(lengths))]
    assert all((np.diff(chunk) > 0).all() for chunk in chunks)


@given(lengths=few, asked=limits(100, 5))
def test_no_chunk_of_several_items_is_beyond_the_limits(lengths, asked):
    found = plan(lengths, **asked)

    for chunk in found.chunks:
        padded = len(chunk) * max(lengths[i] for i in chunk)
        assert len(chunk) == 1 or padded <= (asked["budget"] or inf)
        assert len(chunk) <= (asked["max_items"] or inf)


@given(lengths=few, asked=limits(100, 5))
def test_no_partition_of_few_items_is_cheaper(lengths, asked):
    found = plan(lengths, **asked)

    assert found.price == pytest.approx(best_partition(lengths, Terms(**asked)))


def best_partition(lengths, terms):
    """Return the least price of any partition, in any order, by trying all."""

    @cache
    def best(items):
        if not items:
            return 0.0
        first, *others = items
        prices = []
        for chosen in range(2 ** len(others)):
            chunk = [first, *(x for i, x in enumerate(others) if chosen >> i & 1)]
            rest = tuple(x for i, x in enumerate(others) if not chosen >> i & 1)
            prices.append(price_of(chunk, terms) + best(rest))
        return min(prices)

    return best(tuple(lengths))


def price_of(chunk, terms):
    padded = len(chunk) * max(chunk)
    too_large = len(chunk) > 1 and padded > (terms.budget or inf)
    too_many = len(chunk) > (terms.max_items or inf)
    return inf if too_large or too_many else terms.startup + padded


@given(lengths=some, asked=limits(300, 12))
def test_no_runs_of_many_sorted_items_are_cheaper(lengths, asked):
    ascending, terms = sorted(lengths), Terms(**asked)
    best = [0.0]
    for stop in range(1, len(ascending) + 1):
        runs = [ascending[start:stop] for start in range(stop)]
        best.append(min(p + price_of(run, terms) for p, run in zip(best, runs)))

    found = plan(lengths, **asked)

    assert found.price == pytest.approx(best[-1])


@given(lengths=some, asked=limits(300, 12))
def test_a_plan_tells_what_its_chunks_cost(lengths, asked):
    found = plan(lengths, **asked)

    padded = [len(chunk) * max(lengths[i] for i in chunk) for chunk in found.chunks]
    assert found.padded == sum(padded)
    assert found.useful == sum(lengths)
    assert found.price == pytest.approx(sum(padded) + asked["startup"] * len(padded))
    assert found.n_items == sum(found.sizes) == len(lengths)


@given(lengths=some, asked=limits(300, 12))
def test_no_plan_is_cheaper_than_the_lower_bound(lengths, asked):
    padded, in_order = plan(lengths, **asked), plan_in_order(lengths, **asked)

    assert padded.price >= padded.lower_bound * (1 - 1e-12)
    assert in_order.price >= in_order.lower_bound * (1 - 1e-12)


@given(lengths=some, asked=limits(300, 12))
def test_the_longest_items_run_first(lengths, asked):
    longest = [max(lengths[i] for i in c) for c in plan(lengths, **asked).chunks]

    assert longest == sorted(longest, reverse=True)


# --- many items --------------------------------------------------------------------

USUAL = {
    "uniform": lambda r, n: r.integers(10, 61, n),
    "lognormal": lambda r, n: np.ceil(r.lognormal(3.3, 0.9, n)),
    "bimodal": lambda r, n: r.integers(8, 20, n) * np.where(r.random(n) < 0.1, 20, 1),
    "outliers": lambda r, n: np.append(r.uniform(10, 60, n - 3), [900, 1500, 2000]),
    "zipf": lambda r, n: np.minimum(r.zipf(1.5, n), 4096),
    "constant": lambda r, n: np.full(n, 40),
    "exponential": lambda r, n: r.exponential(60, n),
    "to 512": lambda r, n: r.integers(1, 513, n),
}
SETTINGS = [
    {"startup": 64, "budget": 2048},
    {"startup": 512, "budget": 8192},
    {"startup": 8192, "budget": 65_536},
    {"startup": 4096},
    {"startup": 100},
    {"startup": 100, "max_items": 32},
]


@given(
    kind=st.sampled_from(sorted(USUAL)),
    asked=st.sampled_from(SETTINGS),
    n=st.integers(2001, 3000),
    seed=st.integers(0, 2**32 - 1),
)
def test_plans_of_many_usual_items_are_within_2_percent_of_the_best(
    kind, asked, n, seed
):
    lengths = USUAL[kind](np.random.default_rng(seed), n)

    found = plan(lengths, **asked)

    assert found.price <= 1.02 * best_price(np.sort(lengths), Terms(**asked))


runs = st.tuples(
    st.integers(1, 10_000) | st.sampled_from([1, 2, 10, 100, 1000, 10_000]),
    st.integers(1, 300),
)
far_limits = st.builds(
    Terms,
    startup=st.floats(-1, 5).map(lambda x: 10**x),
    budget=st.none() | st.floats(0, 6).map(lambda x: 10**x),
    max_items=st.none() | st.integers(1, 1000),
)


@given(runs=st.lists(runs, min_size=1, max_size=8), terms=far_limits)
def test_the_better_of_the_quick_ways_is_within_25_percent_whatever_comes(runs, terms):
    ascending = np.sort(np.repeat(*np.array(runs).T)).astype(float)
    sums = np.concatenate([[0.0], ascending.cumsum()])

    ways = [cut(ascending, sums, terms) for cut in (cut_by_price, cut_under_ceilings)]

    best = best_price(ascending, terms)
    prices = [price_at(ascending, stops, terms) for stops in ways]
    assert best * (1 - 1e-9) <= min(prices) <= 1.25 * best
    for stops in ways:
        assert_within_limits(ascending, stops, terms)


@given(runs=st.lists(runs, min_size=1, max_size=8), terms=far_limits)
def test_few_levels_still_give_every_item_once_within_the_limits(runs, terms):
    ascending = np.sort(np.repeat(*np.array(runs).T)).astype(float)
    sums = np.concatenate([[0.0], ascending.cumsum()])

    stops = cut_under_ceilings(ascending, sums, terms, n_levels=6)

    assert_within_limits(ascending, stops, terms)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60), terms=far_limits)
def test_by_price_no_first_chunk_pays_less_for_a_useful_element(lengths, terms):
    ascending = np.sort(lengths).astype(float)
    sums = np.concatenate([[0.0], ascending.cumsum()])

    stops = cut_by_price(ascending, sums, terms)

    chunk = ascending[stops[-2] if len(stops) > 1 else 0 :]
    sizes = range(1, len(lengths) + 1)
    shares = [price_of(ascending[-n:], terms) / ascending[-n:].sum() for n in sizes]
    assert price_of(chunk, terms) / chunk.sum() == pytest.approx(min(shares))


@given(lengths=st.lists(whole, min_size=1, max_size=60), terms=far_limits)
def test_under_as_many_ceilings_as_items_no_plan_is_cheaper(lengths, terms):
    ascending = np.sort(lengths).astype(float)
    sums = np.concatenate([[0.0], ascending.cumsum()])

    stops = cut_under_ceilings(ascending, sums, terms, n_levels=60)

    price = price_at(ascending, stops, terms)
    assert price == pytest.approx(best_price(ascending, terms))


def best_price(ascending, terms):
    return price_at(ascending, cut_exactly(ascending.tolist(), terms), terms)


def price_at(ascending, stops, terms):
    return padded_sum(ascending, stops) + terms.startup * len(stops)


def assert_within_limits(ascending, stops, terms):
    sizes = np.diff(stops, prepend=0)
    padded = sizes * ascending[np.array(stops) - 1]
    assert stops[-1] == len(ascending)
    assert (sizes > 0).all()
    assert (sizes <= (terms.max_items or inf)).all()
    assert ((sizes == 1) | (padded <= (terms.budget or inf))).all()


# --- in order, and streams ---------------------------------------------------------


@given(costs=some | st.lists(st.just(7)), asked=limits(300, 12))
def test_in_order_no_chunk_could_have_taken_the_next_item(costs, asked):
    found = plan_in_order(costs, **asked)

    budget, most = asked["budget"] or inf, asked["max_items"] or inf
    assert [i for chunk in found.chunks for i in chunk] == [*range(len(costs))]
    for chunk in found.chunks:
        own = sum(costs[i] for i in chunk)
        assert len(chunk) == 1 or (own <= budget and len(chunk) <= most)
        following = costs[chunk[-1] + 1 : chunk[-1] + 2]
        assert not following or own + sum(following) > budget or len(chunk) == most


@given(items=streams, asked=limits(300, 12), window=st.integers(1, 4))
def test_windows_hold_every_item_in_order_and_ask_for_none_ahead(items, asked, window):
    pulled, given_out = [], []
    source = (pulled.append(item) or item for item in items)

    for held, chunk_plan in plan_windows(source, len, window=window, **asked):
        given_out += held
        assert chunk_plan.n_items == len(held) > 0
        assert given_out == pulled

    assert given_out == items


@given(items=streams, asked=limits(300, 12), data=st.data())
def test_a_source_that_fails_loses_nothing_that_came_before(items, asked, data):
    stop = data.draw(st.integers(0, len(items)))
    given_out = []

    def source():
        yield from items[:stop]
        raise OSError("disk")

    def read():
        for held, _ in plan_windows(source(), len, window=2, **asked):
            given_out.extend(held)

    with pytest.raises(OSError, match="disk"):
        read()
    assert given_out == items[:stop]


# --- the cost ----------------------------------------------------------------------


@given(
    unit=st.floats(1e-8, 1e-3),
    ratio=st.integers(2, 10**5),
    units=st.lists(st.integers(1, 10**6), min_size=2, max_size=60),
)
def test_times_without_noise_give_the_cost_they_were_made_of(unit, ratio, units):
    fit = CostFit()
    fit.add(1, seconds=1000)  # the first is not like the others

    for n in [*units, ratio, ratio, 4 * ratio, 4 * ratio]:
        fit.add(n, unit * (ratio + n))

    assert fit.cost.ratio == pytest.approx(ratio, rel=1e-3)
    assert fit.cost.unit == pytest.approx(unit, rel=1e-3)


@given(samples=st.lists(st.tuples(st.floats(-1, 1e9), st.floats(-1, 1e6)), max_size=70))
def test_whatever_the_times_the_cost_is_sane(samples):
    fit = CostFit()

    for units, seconds in samples:
        fit.add(units, seconds)

    assert fit.cost is None or 0.999 <= fit.cost.ratio <= 1.001e6
    assert fit.cost is None or fit.cost.unit > 0
