"""Profiles of planned calls: what is recorded, compared and reported."""

import asyncio
import csv
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.modules import Plain
from unfussy import (
    EasyInferenceMixin,
    Pad,
    UnfussyError,
    auto_device,
    batched,
    configure,
    inference,
    options,
    patch,
    returns,
    run_to,
    stream,
    unfuss,
)
from unfussy._recording import SWITCH
from unfussy.profiling import (
    CallRecord,
    Profile,
    Report,
    compare,
    get_profiler,
    profile,
)
from unfussy.profiling.schema import SCHEMA, check_report
from unfussy.testing import OOM_ERRORS

X = torch.ones(4, 3)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self):
        self.now = 1

    def __call__(self):
        return self.now

    def tick(self, microseconds):
        self.now += 1000 * microseconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("unfussy._recording.perf_counter_ns", clock)
    return clock


def recorded(**settings):
    return profile(enable_memory_tracking=False, **settings)


def stages(call):
    return {name: round(1e6 * s) for name, s in call.stages.items() if s}


def embed_of(body, *decorators):
    def embed(self, x):
        return body(x)

    for decorator in decorators or (inference, auto_device):
        embed = decorator(embed)
    return type("Net", (Plain,), {"embed": embed})().embed


# --- what is recorded --------------------------------------------------------------


def test_a_call_is_recorded_with_what_it_was_given():
    embed = embed_of(lambda x: x)

    with recorded() as session:
        embed(X)
        embed(X.double().numpy())

    first, second = session.calls
    assert first.method == "embed()"
    assert (first.items, first.bytes_in, first.device) == (4, 48, "cpu")
    assert (second.items, second.bytes_in) == (4, 96)
    assert (first.kind, first.depth, first.outer, first.error) == (
        "call",
        0,
        None,
        None,
    )
    assert first.thread == threading.current_thread().name


@pytest.mark.parametrize(
    ("given", "items", "nbytes"),
    [
        (torch.tensor(1.0), 1, 4),
        ({"a": X}, 4, 48),
        ([X, X], 2, 96),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], 3, 48),
        ("text", 1, 0),
        (torch.zeros(0, 3), 0, 0),
        ({"a": torch.zeros(0, 3)}, 0, 0),
    ],
    ids=["scalar", "dict", "list", "numbers", "text", "none", "none in a dict"],
)
def test_items_and_bytes_of_any_input_are_counted(given, items, nbytes):
    embed = embed_of(lambda x: None)

    with recorded() as session:
        embed(given)

    (call,) = session.calls
    assert (call.items, call.bytes_in) == (items, nbytes)


def test_a_single_item_of_a_batched_method_is_one_item():
    embed = embed_of(lambda x: 2 * x, batched(item=1), auto_device)

    with recorded() as session:
        embed(torch.ones(3))

    assert session.calls[0].items == 1


@pytest.mark.parametrize(
    "given",
    [X.to_sparse(), torch.nested.nested_tensor([X, X[:1]], layout=torch.jagged)],
    ids=["sparse", "nested"],
)
def test_unusual_tensors_are_recorded_too(given):
    embed = embed_of(lambda x: x, inference)

    with recorded() as session:
        result = embed(given)

    assert result is given
    assert len(session.calls) == 1


def test_inputs_that_cannot_be_counted_do_not_hinder_the_call():
    class Odd:
        @property
        def nbytes(self):
            raise RuntimeError("odd")

    embed = embed_of(lambda x: "fine")

    with recorded() as session:
        result = embed(Odd())

    assert result == "fine"
    assert len(session.calls) == 1


def test_every_door_to_a_planned_method_is_recorded_once(tmp_path):
    class Net(EasyInferenceMixin, Plain, easy=("embed",)):
        def embed(self, x):
            return self.net(x)

        @batched
        @inference
        @auto_device
        def encode(self, x):
            return self.net(x)

    net = Net()
    doors = [
        lambda: net.easy_embed(X),
        lambda: net.easy_embed(X, precision="fp32"),
        lambda: net.encode(X),
        lambda: net.encode(x=X),
        lambda: configure(net.encode, batch_size=4)(X),
        lambda: unfuss(Plain())(X),
        lambda: unfuss(net).encode(X),
    ]
    for door in doors:
        with recorded() as session:
            door()

        assert [call.items for call in session.calls] == [4]

    with recorded() as session, options(precision="fp32"), patch(Plain, "forward"):
        Plain()(X)

    assert len(session.calls) == 1


def test_an_error_is_recorded_by_its_type_and_raised_as_it_is():
    def fail(x):
        raise KeyError("mine")

    embed = embed_of(fail)

    with recorded() as session, pytest.raises(KeyError, match="mine"):
        embed(X)

    assert session.calls[0].error == "KeyError"
    assert session.calls[0].chunks == 0
    assert session.methods[0].errors == 1


def test_what_cannot_be_converted_is_recorded_as_an_error():
    embed = embed_of(lambda x: x)

    with recorded() as session, pytest.raises(UnfussyError):
        embed(torch.ones(2, device="meta"))

    assert session.calls[0].error == "NoDataError"


def test_a_call_that_outlasts_the_session_is_not_recorded():
    began, over = threading.Event(), threading.Event()

    def wait(x):
        began.set()
        over.wait(10)

    embed = embed_of(wait)
    thread = threading.Thread(target=embed, args=(X,))

    with recorded() as session:
        thread.start()
        began.wait(10)
    over.set()
    thread.join()

    assert session.calls == ()


def test_calls_before_a_session_do_not_count_as_outer_ones():
    inner = embed_of(lambda x: x)
    session = []

    def body(x):
        with recorded() as found:
            inner(x)
        session.append(found)

    embed_of(body)(X)

    assert [call.depth for call in session[0].calls] == [0]


# --- stages ------------------------------------------------------------------------


def test_each_stage_has_a_clock_of_its_own(clock, monkeypatch):
    def slower(name, microseconds):
        module, _, attribute = name.rpartition(".")
        function = getattr(__import__(module, fromlist=["x"]), attribute)

        def call(*args, **kwargs):
            clock.tick(microseconds)
            return function(*args, **kwargs)

        monkeypatch.setattr(name, call)

    slower("unfussy._chunked.prepared", 1)
    slower("unfussy._joined.join", 20)
    slower("unfussy._call.finish_output", 300)

    def body(x):
        clock.tick(4000)
        return x

    embed = embed_of(body, batched(size=2), inference, returns("numpy"))

    with recorded() as session:
        embed(X)

    (call,) = session.calls
    assert stages(call) == {"convert": 1, "join": 20, "output": 300, "run": 8000}
    assert round(1e6 * call.seconds) == 8321
    assert round(1e6 * call.other_seconds) == 0
    assert [n for n, _ in call.pieces] == [2, 2]


def test_the_time_of_an_inner_call_is_its_own(clock):
    def slow(x):
        clock.tick(5)
        return x

    inner = embed_of(slow)

    def body(x):
        clock.tick(1)
        return inner(x)

    outer = embed_of(body)

    with recorded() as session:
        outer(X)

    of_inner, of_outer = session.calls
    assert of_inner.outer == of_outer.id
    assert of_inner.depth == 1
    assert round(1e6 * of_outer.seconds) == 6
    assert round(1e6 * of_outer.inner_seconds) == 5
    assert round(1e6 * of_outer.own_seconds) == 1
    assert stages(of_outer) == {"run": 6}


def test_a_generator_is_not_charged_for_what_happens_between_its_steps(clock):
    def numbers(self, x):
        for row in x:
            clock.tick(1)
            yield row

    net = type("Net", (Plain,), {"numbers": inference(auto_device(numbers))})()

    with recorded() as session:
        for _ in net.numbers(X):
            clock.tick(100)

    (call,) = session.calls
    assert round(1e6 * call.seconds) == 4
    assert stages(call) == {"run": 4}


def test_a_generator_that_is_left_early_is_recorded():
    def numbers(self, x):
        yield from x

    net = type("Net", (Plain,), {"numbers": inference(numbers)})()

    with recorded() as session:
        made = net.numbers(X)
        next(made)
        made.close()

    assert [call.error for call in session.calls] == [None]


def test_coroutines_that_overlap_are_each_recorded(clock):
    async def wait(self, x):
        clock.tick(3)
        await asyncio.sleep(0)
        clock.tick(3)
        return x

    net = type("Net", (Plain,), {"wait": inference(wait)})()

    async def both():
        return await asyncio.gather(net.wait(X), net.wait(X[:2]))

    with recorded() as session:
        asyncio.run(both())

    assert [call.items for call in session.calls] == [4, 2]
    assert [round(1e6 * call.seconds) for call in session.calls] == [6, 6]
    assert [call.depth for call in session.calls] == [0, 0]


def test_asynchronous_generators_and_their_errors_are_recorded():
    async def numbers(self, x):
        yield x
        raise KeyError

    net = type("Net", (Plain,), {"numbers": inference(numbers)})()

    async def run():
        async for _ in net.numbers(X):
            pass

    with recorded() as session, pytest.raises(KeyError):
        asyncio.run(run())

    assert [call.error for call in session.calls] == ["KeyError"]


# --- batches -----------------------------------------------------------------------


def test_times_that_memory_ran_out_are_counted():
    def picky(x):
        if len(x) > 2:
            raise OOM_ERRORS["cuda"].make()
        return x

    embed = embed_of(picky, batched, inference)

    with recorded() as session:
        result = embed(torch.ones(8, 3))

    (call,) = session.calls
    assert len(result) == call.items == 8
    assert call.retries == 2
    assert call.chunks == len(call.pieces)
    assert sum(n for n, _ in call.pieces) == 8


def test_items_that_failed_are_counted():
    def picky(x):
        if x.amax() > 1:
            raise ValueError
        return x

    embed = embed_of(picky, batched(size=2, on_error="return"), inference)

    with recorded() as session:
        embed(torch.tensor([0.0, 2.0, 0.0, 3.0])[:, None])

    assert session.calls[0].failures == 2
    assert session.methods[0].failures == 2


def test_the_share_of_padding_is_known():
    lengths = [1, 3]
    padded = embed_of(lambda x: x.sum(1), batched(size=2, pad=Pad(results="fixed")))
    equal = embed_of(lambda x: x, batched(size=2))

    with recorded() as session:
        padded([torch.ones(n) for n in lengths])
        equal(X)

    assert session.calls[0].padding_waste == pytest.approx(2 / 6)
    assert session.calls[1].padding_waste is None


def test_a_stream_is_recorded_with_its_windows_and_its_waiting(clock):
    def source():
        for row in X:
            clock.tick(10)
            yield row

    def body(x):
        clock.tick(1)
        return x

    embed = embed_of(body, batched(size=2), inference)

    with recorded() as session:
        for _ in stream(embed, source(), threaded=False):
            clock.tick(1000)

    *windows, whole = session.calls
    assert [each.items for each in windows] == [2, 2]
    assert (whole.kind, whole.items, whole.chunks) == ("stream", 4, 2)
    assert {each.outer for each in windows} == {whole.id}
    assert stages(whole) == {"run": 2, "wait": 40}


def test_what_a_thread_makes_ready_is_recorded_apart():
    embed = embed_of(lambda x: x, batched(size=2), inference)

    with recorded() as session:
        list(stream(embed, iter(list(X)), threaded=True))

    ahead = [call for call in session.calls if call.kind == "ahead"]
    assert [call.items for call in ahead] == [2, 2]
    assert {call.thread for call in ahead} == {"unfussy-feeder"}
    assert all(call.stages["convert"] > 0 for call in ahead)


def test_a_run_to_a_file_is_recorded(tmp_path):
    embed = embed_of(lambda x: x, batched(size=2), inference)

    with recorded() as session:
        run_to(tmp_path / "z.npy", embed, X.numpy())

    whole = session.calls[-1]
    assert (whole.kind, whole.items, whole.chunks) == ("stream", 4, 2)
    assert whole.stages["output"] > 0


def test_a_stream_that_is_closed_early_is_recorded():
    embed = embed_of(lambda x: x, batched(size=2), inference)

    with recorded() as session:
        made = stream(embed, list(X))
        next(made)
        made.close()

    assert [call.kind for call in session.calls] == ["call", "stream"]


# --- compilers ---------------------------------------------------------------------


def test_compiled_code_records_nothing_and_is_not_compiled_anew():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    embed = embed_of(lambda x: 2 * x)
    compiled = torch.compile(embed, backend=backend, fullgraph=True)
    before = compiled(X)

    with recorded() as session:
        inside = compiled(X)
    after = compiled(X)

    assert session.calls == ()
    assert len(graphs) == 1
    assert torch.equal(inside, before)
    assert torch.equal(after, before)
    torch._dynamo.reset()


def test_what_is_compiled_inside_of_a_call_is_a_part_of_it():
    inner = torch.compile(lambda x: 2 * x, backend="eager")
    embed = embed_of(inner)

    with recorded() as session:
        result = embed(X)

    assert torch.equal(result, 2 * X)
    assert len(session.calls) == 1
    torch._dynamo.reset()


def test_calls_can_be_mapped_while_they_are_recorded():
    embed = embed_of(lambda x: 2 * x, inference)

    with recorded() as session:
        result = torch.func.vmap(embed)(X)

    assert torch.equal(result, 2 * X)
    assert len(session.calls) == 1


# --- devices and memory ------------------------------------------------------------


class Marks:
    """Events of a device on which everything takes two milliseconds."""

    waited = 0

    def __init__(self, device, *, enable_timing):
        assert enable_timing

    def record(self):
        pass

    def elapsed_time(self, other):
        return 2.0


@pytest.fixture
def device(monkeypatch):
    def synchronize(device):
        Marks.waited += 1

    Marks.waited = 0
    monkeypatch.setattr("unfussy._recording._NO_WAITING", frozenset())
    monkeypatch.setattr("unfussy._recording._CAN_WAIT", {})
    monkeypatch.setattr(torch, "Event", Marks)
    monkeypatch.setattr(torch.accelerator, "synchronize", synchronize)
    return Marks


def test_with_device_tracking_calls_wait_for_their_device(device):
    embed = embed_of(lambda x: x)

    with recorded(enable_device_tracking=True) as session:
        embed(X)

    assert device.waited == 2  # first, to see whether it works
    assert session.calls[0].device_seconds == pytest.approx(0.002)
    assert session.calls[0].stages["wait"] > 0


def test_a_device_that_cannot_be_waited_for_is_not(device, monkeypatch):
    def refuse(device):
        raise RuntimeError("there is no such thing here")

    monkeypatch.setattr(torch.accelerator, "synchronize", refuse)
    embed = embed_of(lambda x: x)

    with recorded(enable_device_tracking=True) as session:
        result = embed(X)

    assert result is X
    assert session.calls[0].device_seconds is None


def test_without_device_tracking_nobody_waits(device):
    embed = embed_of(lambda x: x)

    with recorded() as session:
        embed(X)

    assert device.waited == 0
    assert session.calls[0].device_seconds is None


def test_on_a_cpu_there_is_nothing_to_wait_for():
    embed = embed_of(lambda x: x)

    with recorded(enable_device_tracking=True) as session:
        embed(X)

    assert session.calls[0].stages["wait"] == 0
    assert session.calls[0].device_seconds is None


def test_memory_is_looked_at_until_the_session_ends():
    names = {thread.name for thread in threading.enumerate()}

    with profile() as session:
        during = {thread.name for thread in threading.enumerate()} - names

    done = session.profile
    assert during == {"unfussy-memory"}
    assert {thread.name for thread in threading.enumerate()} == names
    assert [sample.seconds for sample in done.memory] == sorted(
        sample.seconds for sample in done.memory
    )
    known = [sample.resident for sample in done.memory if sample.resident is not None]
    assert done.peak_resident is None or done.peak_resident >= max(known)


def test_without_memory_tracking_there_is_no_thread():
    before = threading.active_count()

    with recorded() as session:
        during = threading.active_count()

    assert during == before
    assert session.profile.memory == ()


# --- one profiler for the process --------------------------------------------------


@pytest.fixture
def profiler():
    made = get_profiler(enable_memory_tracking=False)
    yield made
    made.close()


def test_the_profiler_records_until_it_is_closed(profiler):
    embed = embed_of(lambda x: x)

    embed(X)
    profiler.close()
    embed(X)

    assert len(profiler.overall.calls) == 1
    assert not SWITCH.on


def test_there_is_one_profiler_until_it_is_closed(profiler):
    again = get_profiler()
    profiler.close()
    other = get_profiler(enable_memory_tracking=False)
    other.close()

    assert again is profiler
    assert other is not profiler


def test_other_settings_for_the_one_profiler_are_refused(profiler):
    with pytest.raises(UnfussyError, match=r"enable_device_tracking=False; close\(\)"):
        get_profiler(enable_device_tracking=True)


def test_named_sessions_are_reported_beside_all_calls(profiler, tmp_path):
    embed = embed_of(lambda x: x)

    with profiler.session("fp32"):
        embed(X)
    embed(X)
    report = profiler.generate_report(save_path=tmp_path / "performance_report.json")

    assert {each.name: each.n_calls for each in report.profiles} == {
        "all calls": 2,
        "fp32": 1,
    }
    assert Report.load(tmp_path / "performance_report.json") == report
    assert "fp32: 1 calls" in str(profiler)


def test_two_sessions_of_one_name_are_refused(profiler):
    with profiler.session("a"):
        pass

    with (
        pytest.raises(UnfussyError, match="'a' already; give this one another name"),
        profiler.session("a"),
    ):
        pass


# --- comparison --------------------------------------------------------------------


def call_of(seconds, **others):
    made = {
        "id": 0,
        "method": "Net.embed()",
        "kind": "call",
        "outer": None,
        "depth": 0,
        "thread": "MainThread",
        "device": "cpu",
        "start": 0.0,
        "seconds": seconds,
        "inner_seconds": 0.0,
        "stages": dict.fromkeys(
            ("convert", "move", "wait", "run", "join", "output"), 0.0
        ),
        "items": 4,
        "bytes_in": 48,
        "chunks": 1,
        "pieces": ((4, seconds),),
        "padding_waste": None,
        "retries": 0,
        "failures": 0,
        "error": None,
        "device_seconds": None,
        "spans": (),
    }
    return CallRecord(**(made | others))


def profile_of(name, times, **others):
    calls = tuple(call_of(seconds, **others) for seconds in times)
    return Profile(name, sum(times), len(calls), calls)


TIMES = [0.001 * (1 + 0.01 * (i % 7)) for i in range(40)]


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(0.5, "faster"), (2.0, "slower"), (1.0, "no difference seen")],
)
def test_a_comparison_gives_a_ratio_its_interval_and_a_verdict(factor, verdict):
    a = profile_of("a", TIMES)
    b = profile_of("b", [factor * seconds for seconds in TIMES])

    (found,) = compare(a, b).methods

    assert found.ratio == pytest.approx(factor)
    assert found.low <= found.ratio <= found.high
    assert found.high - found.low < 0.2 * factor
    assert found.verdict == verdict


def test_the_interval_is_that_of_medians_drawn_again(monkeypatch):
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(size=31), rng.lognormal(size=31)
    draws = rng.integers(0, 31, (2, 4000, 31))
    ratios = np.median(b[draws[0]], 1) / np.median(a[draws[1]], 1)

    (found,) = compare(profile_of("a", a), profile_of("b", b)).methods

    expected = np.percentile(ratios, [2.5, 97.5])
    np.testing.assert_allclose([found.low, found.high], expected, rtol=0.1)


def test_of_few_calls_nothing_is_said():
    a, b = profile_of("a", [1.0] * 4), profile_of("b", [9.0] * 40)

    assert compare(a, b).methods[0].verdict == "too few calls to tell"


def test_a_comparison_is_the_same_each_time():
    times = np.random.default_rng(0).lognormal(size=60).tolist()
    a, b = profile_of("a", times[:30]), profile_of("b", times[30:])

    assert compare(a, b) == compare(a, b)
    assert compare(a, b, seed=1) != compare(a, b)


def test_calls_of_different_sizes_are_compared_by_item():
    a = profile_of("a", TIMES)
    b = profile_of("b", [2 * seconds for seconds in TIMES], items=8)

    assert compare(a, b, per="item").methods[0].ratio == pytest.approx(1)


def test_calls_that_raised_are_not_compared():
    a = profile_of("a", TIMES)
    b = profile_of("b", TIMES)
    slow = replace(b, calls=(*b.calls, *profile_of("", [9.0] * 99, error="E").calls))

    assert compare(a, slow).methods[0].ratio == pytest.approx(1)


def test_a_comparison_prints_as_a_table_and_names_what_is_missing():
    a = profile_of("fp32", TIMES)
    b = profile_of("bf16", [0.5 * seconds for seconds in TIMES])
    more = replace(b, calls=(*b.calls, call_of(1.0, method="Net.other()")))

    text = str(compare(a, more))

    assert "bf16 is" in text
    assert "1.03 ms" in text
    assert "faster" in text
    assert "only in one of them: Net.other()" in text


def test_a_confidence_beyond_one_is_refused():
    with pytest.raises(UnfussyError, match="between 0 and 1, got 95"):
        compare(profile_of("a", TIMES), profile_of("b", TIMES), confidence=95)


# --- reports -----------------------------------------------------------------------


@pytest.fixture
def session():
    embed = embed_of(lambda x: 2 * x, batched(size=2), inference, auto_device)
    with profile("a <session>") as made:
        embed(X)
        embed(X.numpy())
        list(stream(embed, list(X)))
    return made


def test_a_report_in_json_follows_its_schema(session, tmp_path):
    path = tmp_path / "report.json"

    session.generate_report(path)

    data = json.loads(path.read_text())
    check_report(data)
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("format"), "report has no 'format'"),
        (lambda data: data.update(format=9), r"report.format is one of \[1\], got 9"),
        (lambda data: data.update(more=1), "report has 'more', which is unknown"),
        (
            lambda data: data["sessions"][0]["calls"][1].update(seconds=-1),
            r"report.sessions\[0\].calls\[1\].seconds is at least 0, got -1",
        ),
        (
            lambda data: data["sessions"][0].update(n_calls="many"),
            r"report.sessions\[0\].n_calls is of type integer, got str",
        ),
        (
            lambda data: data["sessions"][0].update(n_calls=True),
            r"n_calls is of type integer, got bool",
        ),
    ],
)
def test_what_is_no_report_is_refused_where_it_goes_wrong(session, change, message):
    data = session.generate_report().to_dict()
    change(data)

    with pytest.raises(UnfussyError, match=message):
        Report.from_json(json.dumps(data))


def test_what_is_no_json_is_refused():
    with pytest.raises(UnfussyError, match="no JSON"):
        Report.from_json("{")


def test_a_report_in_csv_has_a_row_for_each_call(session, tmp_path):
    path = tmp_path / "report.csv"

    session.generate_report(path)

    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == len(session.calls)
    assert rows[0]["items"] == "4"
    assert float(rows[0]["run_seconds"]) == session.calls[0].stages["run"]


def test_a_report_for_people_is_one_page(session, tmp_path):
    path = tmp_path / "report.html"

    session.generate_report(path)

    html = path.read_text(encoding="utf-8")
    assert "a &lt;session&gt;" in html
    assert "calls" in html
    assert "<script" not in html


def test_a_page_of_several_sessions_has_a_section_for_each(session):
    html = Report((session.profile, profile_of("other", TIMES))).to_html()

    assert html.count("<h2>") == 2


def test_pictures_are_in_the_page_where_matplotlib_is_installed(session):
    pytest.importorskip("matplotlib")

    html = session.generate_report().to_html()

    assert html.count("<svg") >= 3
    assert "left out" not in html


def test_a_report_of_nothing_can_be_read_and_written(tmp_path):
    with recorded() as session:
        pass

    report = session.generate_report()

    assert str(session).startswith("profile: 0 calls in ")
    assert "no planned call ended" in report.to_html()
    assert Report.from_json(report.to_json()) == report
    assert len(report.to_csv().splitlines()) == 1


def test_a_report_of_another_suffix_is_refused(session, tmp_path):
    with pytest.raises(UnfussyError, match=r"\.json, \.csv or \.html, got 'x.pdf'"):
        session.generate_report(tmp_path / "x.pdf")


def test_a_session_prints_as_tables(session):
    lines = str(session).splitlines()

    assert lines[0].startswith("a <session>: 5 calls in ")
    assert lines[2].split()[:3] == ["method", "calls", "p50"]
    assert any(line.split()[:1] == ["method"] and "run" in line for line in lines[3:])


def test_a_summary_has_percentiles_and_throughput():
    (summary,) = profile_of("a", [0.001 * i for i in range(1, 101)]).methods

    assert summary.count == 100
    assert summary.p50 == pytest.approx(0.0505)
    assert summary.p90 == pytest.approx(0.0901)
    assert summary.p99 == pytest.approx(0.09901)
    assert summary.mean == pytest.approx(0.0505)
    assert summary.items_per_second == pytest.approx(400 / 5.05)


def test_keeping_no_call_is_refused():
    with pytest.raises(UnfussyError, match="at least 1 call, got 0"), recorded(keep=0):
        pass


def test_a_trace_shows_calls_and_stages_as_ranges(tmp_path):
    embed = embed_of(lambda x: 2 * x)
    path = tmp_path / "trace.json"

    with recorded(trace=path) as session:
        embed(X)

    names = {event.get("name") for event in json.loads(path.read_text())["traceEvents"]}
    assert {f"unfussy: {session.calls[0].method}", "unfussy: run"} <= names
    assert "aten::mul" in names


def test_after_an_error_in_a_block_the_switch_is_off():
    with pytest.raises(KeyError), recorded(trace=Path("/nowhere/trace.json")):
        raise KeyError

    assert not SWITCH.on
