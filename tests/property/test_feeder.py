"""Laws of the feeder: it is a `map` that runs ahead, and no thread outlives it."""

import faulthandler
import threading
import time
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from unfussy._batching.feeder import feed

pytestmark = pytest.mark.property

depths = st.integers(1, 4)
lengths = st.integers(0, 9)
places = st.none() | st.integers(0, 9)
PATIENCE = 2
# Time for the feeder to run as far ahead as it may, and wait there.
pauses = st.sampled_from([0, 0.001])


@pytest.fixture(scope="module", autouse=True)
def watchdog():
    """End the process if threads wait for one another."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Broken(Exception):  # noqa: N818 - what it says
    pass


class Source:
    """Counts what is pulled, breaks where told, and knows whether it was closed."""

    def __init__(self, length, breaks=None):
        self.length, self.breaks = length, breaks
        self.n_pulled, self.closed_in = 0, None

    def __iter__(self):
        try:
            for i in range(self.length):
                if i == self.breaks:
                    raise Broken("source", i)
                self.n_pulled += 1
                yield i
        finally:
            self.closed_in = threading.current_thread()


def doubling(breaks):
    def double(i):
        if i == breaks:
            raise Broken("prepare", i)
        return 2 * i

    return double


def feeders():
    return [t for t in threading.enumerate() if t.name == "unfussy-feeder"]


def outcome(elements, stop=None):
    """Take up to *stop* elements; return them, and what error came after them."""
    taken = []
    try:
        while stop is None or len(taken) < stop:
            taken.append(next(elements))
    except (Broken, StopIteration) as error:
        return taken, repr(error)
    return taken, None


@given(
    length=lengths,
    bad_source=places,
    bad_prepare=places,
    stop=places,
    depth=depths,
    pause=pauses,
    threaded=st.booleans(),
)
def test_feeding_is_mapping(
    length, bad_source, bad_prepare, stop, depth, pause, threaded
):
    plain = map(doubling(bad_prepare), Source(length, bad_source))
    source = Source(length, bad_source)
    held = iter(source)

    with closing(
        feed(
            held,
            doubling(bad_prepare),
            depth=depth,
            threaded=threaded,
            patience=PATIENCE,
        )
    ) as fed:
        found = outcome(fed, stop)
        time.sleep(pause)

    assert found == outcome(plain, stop)
    assert not feeders()
    in_main = source.closed_in is threading.main_thread()
    assert stop == 0 or (source.closed_in and in_main is not threaded)


@given(
    length=lengths,
    taken=lengths,
    depth=depths,
    pause=pauses,
    leave=st.sampled_from(["break", "delete", "throw"]),
)
def test_no_thread_is_left_however_the_caller_leaves(
    length, taken, depth, pause, leave
):
    source = Source(length)
    held = iter(source)
    fed = feed(held, doubling(None), depth=depth, patience=PATIENCE)

    with suppress(KeyboardInterrupt):
        for i, _ in enumerate(fed):
            time.sleep(pause)
            if i == taken and leave == "throw":
                fed.throw(KeyboardInterrupt)
            if i == taken:
                break
    if leave == "delete":
        del fed
    else:
        fed.close()

    assert not feeders()
    assert source.closed_in not in {None, threading.main_thread()}


class Feeding(RuleBasedStateMachine):
    """Takes, waits and leaves in any order, beside a list that is the truth."""

    @initialize(length=lengths, breaks=places, depth=depths)
    def start(self, length, breaks, depth):
        self.source = Source(length, breaks)
        self.depth = depth
        self.good = length if breaks is None else min(length, breaks)
        self.broken = breaks is not None and breaks < length
        self.expected = [2 * i for i in range(self.good)]
        self.fed = feed(self.source, doubling(None), depth=depth, patience=PATIENCE)
        self.n_taken, self.open = 0, True

    @precondition(lambda self: self.open)
    @rule()
    def take(self):
        found = outcome(self.fed, 1)
        if self.n_taken < self.good:
            assert found == ([self.expected[self.n_taken]], None)
            self.n_taken += 1
        else:
            error = Broken("source", self.good) if self.broken else StopIteration()
            assert found == ([], repr(error))
            self.open = False

    @precondition(lambda self: self.open and self.n_taken)
    @rule()
    def wait(self):
        ahead = min(self.n_taken + self.depth, self.good)
        end = time.monotonic() + 30
        while self.source.n_pulled < ahead and time.monotonic() < end:
            time.sleep(0.0002)
        assert self.source.n_pulled == ahead

    @precondition(lambda self: not self.open)
    @rule()
    def take_after_the_end(self):
        assert outcome(self.fed, 1) == ([], repr(StopIteration()))

    @precondition(lambda self: self.open)
    @rule()
    def leave(self):
        self.fed.close()
        self.open = False

    @invariant()
    def it_is_not_too_far_ahead(self):
        if hasattr(self, "source"):
            assert self.source.n_pulled <= self.n_taken + self.depth

    @invariant()
    def it_ends_with_its_thread(self):
        if hasattr(self, "source") and not self.open:
            n_pulled = self.source.n_pulled
            assert not feeders()
            assert self.source.n_pulled == n_pulled
            assert self.n_taken == 0 or self.source.closed_in is not None

    def teardown(self):
        if hasattr(self, "source"):
            self.fed.close()


TestFeeding = Feeding.TestCase
