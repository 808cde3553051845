"""
Laws of recording: what was called is counted, stages fit into calls, results stay.

A *step* is a call of one of the methods of `Model`, with its number of items; steps
run in order, in one thread or in several.
"""

import math
import threading
from collections import Counter
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.modules import Plain
from unfussy import (
    EasyInferenceMixin,
    Pad,
    auto_device,
    autocast_policy,
    batched,
    inference,
    options,
    returns,
    stream,
)
from unfussy._recording import SWITCH
from unfussy.profiling import Report, compare, profile

pytestmark = pytest.mark.property

CHUNK = 3


class Model(EasyInferenceMixin, Plain, easy=("embed",)):
    def embed(self, x):
        return self.net(x)

    @batched
    @inference
    @auto_device
    @autocast_policy
    def quick(self, x):
        return self.net(x)

    @inference(mode="inference")
    @autocast_policy(precision="bf16")
    @auto_device
    def low(self, x):
        return self.net(x)

    @batched(size=CHUNK)
    @auto_device
    @inference
    @returns("numpy")
    def cut(self, x):
        return {"y": self.net(x)}

    @batched(size=CHUNK, on_error="return")
    @auto_device
    @inference
    def picky(self, x):
        if x.amax() > 1:
            raise ValueError("too large")
        return self.net(x)

    @batched(size=CHUNK, pad=Pad(results="fixed"))
    @inference
    def ragged(self, x):
        return x.sum((1, 2))

    @inference
    def outer(self, x):
        return self.quick(x) + torch.as_tensor(self.cut(x)["y"])

    @inference
    def broken(self, x):
        raise ArithmeticError("as always")

    @inference
    def steps(self, x):
        for row in x:
            yield self.net(row)


def items(n):
    return torch.linspace(-1, 1, 3 * n).reshape(n, 3)


def quick(model, n):
    return model.quick(items(n))


def named(model, n):
    return model.quick(x=items(n).numpy())


def low(model, n):
    return model.low(items(n))


def cut(model, n):
    return model.cut(items(n).double().numpy())


def chosen(model, n):
    with options(batch_size=CHUNK):
        return model.quick(items(n))


def easy(model, n):
    return model.easy_embed(items(n), batch_size=CHUNK)


def picky(model, n):
    outcome = model.picky(torch.cat([items(n - 1), torch.full((1, 3), 2.0)]))
    return outcome.result, [failed.index for failed in outcome.failures]


def ragged(model, n):
    return model.ragged([torch.ones(1 + i % 2, 3) for i in range(n)])


def outer(model, n):
    return model.outer(items(n))


def broken(model, n):
    with suppress(ArithmeticError):
        model.broken(items(n))


def steps(model, n):
    return list(model.steps(items(n)))


def streamed(model, n):
    return list(stream(model.cut, list(items(n))))


def fed(model, n):
    return list(stream(model.cut, iter(list(items(n))), threaded=True))


def chunks(n):
    return max(1, math.ceil(n / CHUNK))


def expected(step, n):
    """Return how often each method is called, with how many items and chunks."""
    windows = [(CHUNK, 1)] * (n // CHUNK) + [(n % CHUNK, 1)] * bool(n % CHUNK)
    of_outer = [
        ("outer", "call", n, 1),
        ("quick", "call", n, 1),
        ("cut", "call", n, chunks(n)),
    ]
    of_stream = [
        ("cut", "stream", n, len(windows)),
        *(("cut", "call", size, 1) for size, _ in windows),
    ]
    of_feeder = [("cut", "ahead", size, 1) for size, _ in windows]
    made = {
        quick: [("quick", "call", n, 1)],
        named: [("quick", "call", n, 1)],
        low: [("low", "call", n, 1)],
        cut: [("cut", "call", n, chunks(n))],
        chosen: [("quick", "call", n, chunks(n))],
        easy: [("easy_embed", "call", n, chunks(n))],
        outer: of_outer,
        broken: [("broken", "call", n, 0)],
        steps: [("steps", "call", n, 1)],
        streamed: of_stream,
        fed: [*of_stream, *of_feeder],
    }
    return Counter(made[step])


STEPS = (quick, named, low, cut, chosen, easy, outer, broken, steps, streamed, fed)
COUNTED = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 8)), max_size=6)
ANY = st.lists(
    st.tuples(st.sampled_from((*STEPS, picky, ragged)), st.integers(1, 8)), max_size=6
)


def model():
    torch.manual_seed(0)
    return Model().eval()


def run(steps, net=None):
    net = model() if net is None else net
    return [step(net, n) for step, n in steps]


def counted(calls):
    return Counter(
        (call.method.partition(".")[2][:-2], call.kind, call.items, call.chunks)
        for call in calls
    )


def same(a, b):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        return (
            a.dtype == b.dtype
            and a.is_inference() == b.is_inference()
            and (torch.equal(a, b))
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


@given(made=COUNTED)
def test_every_call_is_recorded_with_its_items_and_chunks(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    assert counted(session.calls) == sum((expected(*x) for x in made), Counter())


@given(made=st.lists(COUNTED, min_size=2, max_size=3))
def test_calls_of_all_threads_are_recorded(made):
    net = model()
    threads = [threading.Thread(target=run, args=(part, net)) for part in made]

    with profile(enable_memory_tracking=False) as session:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    flat = [x for part in made for x in part]
    assert counted(session.calls) == sum((expected(*x) for x in flat), Counter())


@given(made=ANY)
def test_stages_fit_into_their_call_and_calls_into_the_session(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    done = session.profile
    for call in done.calls:
        assert min(call.stages.values()) >= 0
        assert sum(call.stages.values()) <= call.seconds + 1e-9
        assert 0 <= call.inner_seconds <= call.seconds + 1e-9
        assert 0 <= call.start <= done.seconds


@given(made=ANY)
def test_spans_follow_each_other_and_add_up_to_the_stages(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    for call in session.calls:
        assert all(a[2] <= b[1] + 1e-9 for a, b in pairwise(call.spans))
        for stage, seconds in call.stages.items():
            spans = (stop - start for name, start, stop in call.spans if name == stage)
            assert math.isclose(sum(spans), seconds, abs_tol=1e-7)


@given(made=ANY)
def test_inner_calls_take_their_time_from_their_outer_one(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    calls = {call.id: call for call in session.calls}
    inner = dict.fromkeys(calls, 0.0)
    for call in calls.values():
        if call.outer is not None:
            inner[call.outer] += call.seconds
            assert call.depth == calls[call.outer].depth + 1
    for key, seconds in inner.items():
        assert math.isclose(calls[key].inner_seconds, seconds, abs_tol=1e-7)


@given(made=ANY)
def test_recording_changes_no_result(made):
    plain = run(made)

    with profile(enable_memory_tracking=False):
        recorded = run(made)

    assert same(recorded, plain)


@given(made=ANY, fails=st.booleans())
def test_after_a_session_nothing_is_recorded(made, fails):
    net = model()

    with suppress(KeyError), profile(enable_memory_tracking=False) as session:
        run(made, net)
        if fails:
            raise KeyError
    before = session.profile
    run(made, net)

    assert session.calls == before.calls
    assert session.profile.n_calls == before.n_calls
    assert session.profile.seconds == before.seconds
    assert not SWITCH.on
    assert not SWITCH.sinks


@given(before=COUNTED, both=COUNTED, after=COUNTED)
def test_overlapping_sessions_have_what_happened_in_each(before, both, after):
    net = model()
    outer, inner = (profile(x, enable_memory_tracking=False) for x in ("a", "b"))

    a = outer.__enter__()
    run(before, net)
    b = inner.__enter__()
    run(both, net)
    outer.__exit__(None, None, None)
    run(after, net)
    inner.__exit__(None, None, None)

    of_a = sum((expected(*x) for x in before + both), Counter())
    of_b = sum((expected(*x) for x in both + after), Counter())
    assert counted(a.calls) == of_a
    assert counted(b.calls) == of_b


@given(made=ANY, keep=st.integers(1, 4))
def test_the_latest_calls_are_kept_and_all_are_counted(made, keep):
    with (
        profile(enable_memory_tracking=False) as whole,
        profile(enable_memory_tracking=False, keep=keep) as few,
    ):
        run(made)

    ids = [call.id for call in whole.calls]
    assert [call.id for call in few.calls] == ids[-keep:]
    assert few.profile.n_calls == len(ids)


@given(made=st.lists(ANY, min_size=1, max_size=2))
def test_reports_come_back_from_json_the_same(made):
    profiles = []
    for part in made:
        with profile("made", enable_memory_tracking=False) as session:
            run(part)
        profiles.append(session.profile)
    report = Report(tuple(profiles))

    again = Report.from_json(report.to_json())

    assert again == report
    assert again.to_json() == report.to_json()


@given(made=ANY)
def test_a_csv_has_a_row_for_each_call(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    head, *rows = session.generate_report().to_csv().splitlines()

    assert len(rows) == len(session.calls)
    assert all(row.count(",") == head.count(",") for row in rows)


@given(made=COUNTED)
def test_a_session_compared_with_itself_shows_no_difference(made):
    with profile(enable_memory_tracking=False) as session:
        run(made)

    comparison = compare(session, session)

    verdicts = {each.verdict for each in comparison.methods}
    assert verdicts <= {"no difference seen", "too few calls to tell"}
    assert all(each.ratio == 1 for each in comparison.methods)
