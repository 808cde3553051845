"""Laws of limits: what fits is found, kept, and never exceeded for long."""

from dataclasses import dataclass
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfussy._batching.governor import Governor
from unfussy._batching.memory import Memory
from unfussy._batching.pace import Pace

pytestmark = pytest.mark.property

costs = st.floats(0.5, 1e4)
rooms = st.floats(1.0, 1e4)
MOST_TURNS = 3_000


@dataclass
class Device:
    """Runs chunks that are no larger than its room, on work that can be cut at will."""

    room: float
    governor: Governor

    def work(self, amount, *, rate=None, peak=None):
        """Do all the work, and return what was refused and the largest that ran."""
        refused, largest = [], 0.0
        for _ in range(MOST_TURNS):
            if amount <= 1e-6 * self.room:
                return refused, largest
            cost = min(self.governor.allow(), amount)
            if cost > self.room:
                refused.append(cost)
                self.governor.refused(cost)
                continue
            self.governor.succeeded(
                cost,
                seconds=None if rate is None else rate(cost) * cost,
                peak=None if peak is None else peak(cost),
            )
            amount, largest = amount - cost, max(largest, cost)
        raise AssertionError("never done")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


events = st.lists(
    st.tuples(st.sampled_from(["full", "nearly", "any", "refused", "later"]), costs),
    max_size=40,
)


def happen(governor, clock, event, cost):
    """Let something happen to *governor*, and return the cost that it was about."""
    share = {"full": 1.0, "nearly": 0.8, "refused": 1.0}.get(event)
    cost = cost if share is None else share * governor.allow()
    if event == "later":
        clock.now += 700
    elif event == "refused":
        governor.refused(cost)
    else:
        governor.succeeded(cost)
    return cost


@given(start=costs, history=events, cap=costs, floor=costs)
def test_no_more_than_the_cap_and_no_less_than_the_floor_is_allowed(
    start, history, cap, floor
):
    clock = Clock()
    governor = Governor(start, clock=clock)

    for event in history:
        happen(governor, clock, *event)
        allowed = governor.allow(floor, cap=cap)

        assert floor <= allowed <= max(floor, cap)


@given(start=costs, history=events)
def test_the_limit_stays_near_what_ran(start, history):
    clock = Clock()
    governor = Governor(start, clock=clock)
    ran = 0.0

    for event, cost in history:
        happened = happen(governor, clock, event, cost)
        ran = max(ran, 0.0 if event in {"later", "refused"} else happened)

        assert governor.allow() <= max(start, 2 * ran / 0.75) * (1 + 1e-9)


@given(start=costs, history=events, cost=costs)
def test_less_is_allowed_than_was_just_refused(start, history, cost):
    clock = Clock()
    governor = Governor(start, clock=clock)
    for event in history:
        happen(governor, clock, *event)

    governor.refused(cost)

    assert governor.allow() < cost


@given(start=costs, room=rooms)
def test_what_fits_is_found_and_then_nothing_is_refused(start, room):
    device = Device(room, Governor(start))

    device.work(64 * room)
    refused, largest = device.work(64 * room)

    assert refused == []
    assert largest >= 0.75 * room


@given(start=costs, room=rooms)
def test_finding_what_fits_costs_little(start, room):
    device = Device(room, Governor(start))

    refused, _ = device.work(64 * room)

    # From above by halves; then, from below, two or three times.
    assert sum(refused) <= 2 * max(start, 2 * room) + 4 * room


@given(start=costs, room=rooms, share=st.floats(0.1, 1.0))
def test_a_room_that_shrinks_is_found_again(start, room, share):
    device = Device(room, Governor(start))
    device.work(64 * room)

    device.room = share * room
    device.work(64 * device.room)

    assert device.work(64 * device.room)[0] == []


@given(start=costs, room=rooms, growth=st.floats(1.0, 20.0))
def test_a_larger_room_is_found_when_the_refusal_is_long_ago(start, room, growth):
    clock = Clock()
    device = Device(room, Governor(start, clock=clock))
    device.work(64 * room)

    device.room, clock.now = growth * room, 600.0
    device.work(64 * device.room)

    assert device.work(64 * device.room)[1] >= 0.75 * device.room


@given(start=costs, room=rooms, growth=st.floats(1.3, 20.0))
def test_a_larger_room_is_found_when_there_is_more_free_memory(start, room, growth):
    def memory():
        return Memory(int(1e6 * device.room), int(1e12))

    device = Device(room, Governor(start, memory=memory))
    device.work(64 * room)

    device.room *= growth
    device.work(64 * device.room)

    assert device.work(64 * device.room)[1] >= 0.75 * device.room


@given(
    start=st.floats(0.5, 1.0),
    base=st.floats(0, 1e6),
    slope=st.floats(1, 1e6),
    room=st.floats(4, 1e5),
    share=st.floats(0.1, 1.0),
)
def test_a_chunk_needs_no_more_than_its_share_of_the_free_memory(
    start, base, slope, room, share
):
    def needs(cost):
        return base + slope * cost

    # Room for a chunk of cost *room* and no more, as far as its share goes.
    free = int(needs(room) / share)
    governor = Governor(start, share=share, memory=lambda: Memory(free, free))
    device = Device(inf, governor)

    device.room = room * 1.01 + 1e-3
    refused, largest = device.work(64 * room, peak=needs)

    assert refused == []
    assert largest >= 0.7 * room


@given(start=st.floats(0.5, 16.0), overhead=st.floats(1.0, 1e4))
def test_growth_ends_where_larger_is_hardly_faster(start, overhead):
    device = Device(inf, Governor(start))

    def rate(cost):
        return 1 + overhead / cost

    device.room = 1e9
    device.work(1e3 * (overhead + start), rate=rate)
    limit = device.governor.allow()

    assert limit <= max(2 * start, 40 * overhead)
    assert rate(limit) <= 1.25 or isclose(limit, start)


@given(
    overhead=st.floats(1.0, 1e4),
    slow=st.integers(0, 30),
    factor=st.floats(1.0, 100.0),
)
def test_one_slow_chunk_changes_the_size_by_a_doubling_at_most(overhead, slow, factor):
    def settled(held_up):
        pace, size = Pace(), 1.0
        for turn in range(100):
            rate = 1 + overhead / size
            pace.add(size, rate * (factor if turn == held_up else 1.0))
            advice = pace.advise(size)
            if advice == "settle":
                return pace.settle()
            size *= 2 if advice == "double" else 1
        raise AssertionError("never settled")

    quiet, noisy = settled(None), settled(slow)

    assert noisy in {quiet, 2 * quiet}
