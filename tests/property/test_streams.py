"""Laws of streams: a plain loop, whatever the source, its errors and its end."""

import faulthandler
import threading
import warnings
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from torch import nn

from unfussy import (
    Failed,
    Pad,
    auto_device,
    batched,
    configure,
    inference,
    run_to,
    stream,
)

pytestmark = pytest.mark.property

WIDTHS = 3  # items are 1 to 3 numbers long
places = st.none() | st.integers(0, 30)
sizes = st.integers(1, 5)


@pytest.fixture(scope="module", autouse=True)
def watchdog():
    """End the process if threads wait for one another."""
    faulthandler.dump_traceback_later(240, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Broken(Exception):  # noqa: N818 - what it says
    pass


class Net(nn.Module):
    @inference
    def plain(self, x):
        return _checked(x).sum(1)

    @batched
    @auto_device
    @inference
    def pair(self, x):
        total = _checked(x).sum(1)
        return {"sum": total, "parts": (2 * total, "m")}

    @batched(pad=Pad(mask="mask"))
    @auto_device
    @inference
    def padded(self, x, mask=None):
        if mask is not None:
            x = x * mask
        return _checked(x).sum(1)

    @batched(ragged="list")
    def lists(self, items):
        return [float(_checked(torch.as_tensor(x)).sum()) for x in items]


def _checked(x):
    if (torch.as_tensor(x) < 0).any():
        raise Broken("method")
    return torch.as_tensor(x)


def total(result):
    if isinstance(result, Failed):
        return "failed", result.index
    if not isinstance(result, dict):
        return float(result)
    assert result["parts"][0] == 2 * result["sum"]
    return float(result["sum"])


def item(i, bad):
    return np.full(1 + (i * i) % WIDTHS, -1 if i in bad else i, dtype=np.float32)


def by_hand(i, bad):
    return ("failed", i) if i in bad else float(i * (1 + (i * i) % WIDTHS))


class Source:
    """Counts what is pulled, and breaks where told."""

    def __init__(self, length, bad=(), breaks=None):
        self.length, self.bad, self.breaks = length, bad, breaks
        self.n_pulled, self.closed = 0, False

    def __iter__(self):
        try:
            for i in range(self.length):
                if i == self.breaks:
                    raise Broken("source")
                self.n_pulled += 1
                yield item(i, self.bad)
        finally:
            self.closed = True


FORMS = {
    "generator": lambda source: iter(source),
    "iterable": lambda source: source,
    "list": lambda source: [item(i, source.bad) for i in range(source.length)],
}
lists = st.lists(st.integers(0, 30), max_size=4, unique=True)
methods = st.sampled_from(["plain", "pair", "padded", "lists"])


def feeders():
    return [t for t in threading.enumerate() if t.name == "unfussy-feeder"]


@given(
    name=methods,
    form=st.sampled_from(sorted(FORMS)),
    length=st.integers(0, 30),
    bad=lists,
    size=sizes | st.just("auto"),
    threaded=st.booleans(),
    on_error=st.sampled_from(["return", "skip"]),
)
def test_streaming_is_a_loop(name, form, length, bad, size, threaded, on_error):
    method = configure(getattr(Net().eval(), name), batch_size=size)
    source = FORMS[form](Source(length, bad))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = stream(method, source, on_error=on_error, threaded=threaded)
        found = [total(result) for result in results]

    expected = [by_hand(i, bad) for i in range(length)]
    if on_error == "skip":
        expected = [x for x in expected if not isinstance(x, tuple)]
    assert found == expected
    assert not feeders()


@given(
    length=st.integers(1, 30),
    size=sizes,
    ends=st.lists(st.integers(0, 30), max_size=3),
    bad=lists,
    by_index=st.booleans(),
)
def test_a_file_is_written_once_however_often_that_ends(
    length, size, ends, bad, by_index
):
    bad = [i for i in bad if i < length]
    if len(bad) == length:
        bad = bad[1:]
    calls = []

    def method(x):
        _checked(x)
        calls.extend(x[:, 0].tolist())
        return x[:, :1]

    method = configure(method, batch_size=size)
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.npy")
        for end in [*ends, None]:
            source = Source(length, bad, end)
            given = FORMS["list"](source) if by_index and end is None else source
            try:
                written = run_to(path, method, given, on_error="skip", job="j")
            except Broken:
                continue
            break
        good = [i for i in range(length) if i not in bad]
        assert np.load(path)[:, 0].tolist() == good
        assert sorted(written.failures) == sorted(bad)
        assert sorted(calls) == good  # each once
        assert written.rows == len(good)


class Streaming(RuleBasedStateMachine):
    """Takes and leaves in any order, beside a loop that is the truth."""

    @initialize(
        name=methods,
        length=st.integers(0, 30),
        bad=lists,
        breaks=places,
        size=sizes,
        depth=st.integers(1, 3),
        threaded=st.booleans(),
    )
    def start(self, name, length, bad, breaks, size, depth, threaded):
        self.source = Source(length, bad, breaks)
        self.good = length if breaks is None else min(length, breaks)
        self.broken = self.good < length
        self.bad = bad
        method = configure(getattr(Net().eval(), name), batch_size=size)
        plans = name in {"padded", "lists"}
        self.ahead = size * (32 if plans else 1) * (depth + 2)
        self.held = iter(self.source)  # so that not dropping it is what closes it
        self.results = stream(
            method, self.held, on_error="return", depth=depth, threaded=threaded
        )
        self.n_taken, self.open = 0, True

    @precondition(lambda self: self.open)
    @rule(n=st.integers(1, 9))
    def take(self, n):
        for _ in range(n):
            if self.n_taken < self.good:
                assert total(next(self.results)) == by_hand(self.n_taken, self.bad)
                self.n_taken += 1
            elif self.open:
                with pytest.raises(Broken if self.broken else StopIteration):
                    next(self.results)
                self.open = False

    @precondition(lambda self: self.open)
    @rule()
    def leave(self):
        with closing(self.results):
            self.open = False

    @precondition(lambda self: self.open and self.n_taken)
    @rule()
    def interrupt(self):
        with pytest.raises(KeyboardInterrupt):
            self.results.throw(KeyboardInterrupt)
        self.open = False

    @precondition(lambda self: not self.open)
    @rule()
    def take_after_the_end(self):
        with pytest.raises(StopIteration):
            next(self.results)

    @invariant()
    def it_is_not_too_far_ahead(self):
        if hasattr(self, "source"):
            assert self.source.n_pulled <= self.n_taken + self.ahead

    @invariant()
    def it_ends_with_its_thread(self):
        if hasattr(self, "source") and not self.open:
            assert not feeders()
            assert self.n_taken == 0 or self.source.closed

    def teardown(self):
        if hasattr(self, "source"):
            self.results.close()


TestStreaming = Streaming.TestCase
