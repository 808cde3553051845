"""The feeder's edges: errors, exits, memory, and what its thread knows of torch."""

import contextvars
import gc
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from contextlib import closing

import pytest
import torch

from unfussy import UnfussyError
from unfussy._batching.feeder import feed

FORMS = pytest.mark.parametrize("threaded", [True, False])
VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def feeders():
    return [t for t in threading.enumerate() if t.name == "unfussy-feeder"]


def same(x):
    return x


# --- errors ------------------------------------------------------------------------


def test_an_error_has_the_traceback_of_the_thread():
    def prepare_badly(i):
        return 1 // i

    fed = feed([1, 0], prepare_badly)
    next(fed)

    with pytest.raises(ZeroDivisionError) as caught:
        next(fed)

    assert "prepare_badly" in "".join(traceback.format_tb(caught.tb))


def test_an_error_is_the_very_one_that_was_raised():
    error = OSError("no such file")

    def source():
        yield 1
        raise error

    with pytest.raises(OSError, match="no such file") as caught:
        list(feed(source(), same))

    assert caught.value is error
    assert caught.value.__cause__ is caught.value.__context__ is None


@FORMS
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_raised_too(threaded, kind):
    def leave(_):
        raise kind

    with pytest.raises(kind):
        next(feed([1], leave, threaded=threaded))


@FORMS
def test_a_preparation_cannot_end_the_elements(threaded):
    def stop(_):
        raise StopIteration

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(feed([1, 2], stop, threaded=threaded))


@FORMS
def test_what_closing_a_source_raises_is_raised(threaded):
    def source():
        try:
            yield from range(9)
        finally:
            raise OSError("cannot close")

    fed = feed(source(), same, threaded=threaded)
    next(fed)

    with pytest.raises(OSError, match="cannot close"):
        fed.close()


def test_an_error_that_nobody_reached_is_dropped():
    broke = threading.Event()

    def source():
        yield 1
        broke.set()
        raise OSError

    fed = feed(source(), same)
    next(fed)
    broke.wait(10)
    fed.close()

    assert not feeders()


@FORMS
def test_a_depth_of_nothing_is_refused(threaded):
    with pytest.raises(UnfussyError, match="a depth of at least 1, got 0"):
        feed([], same, depth=0, threaded=threaded)


# --- exits -------------------------------------------------------------------------


def test_nothing_starts_before_the_first_element_is_asked_for():
    fed = feed([1], same)

    assert not feeders()
    fed.close()


def test_sources_are_pulled_and_closed_in_the_thread_of_the_feeder():
    names = []

    def source():
        try:
            while True:
                names.append(threading.current_thread().name)
                yield
        finally:
            names.append(threading.current_thread().name)

    with closing(feed(source(), same)) as fed:
        next(fed)

    assert set(names) == {"unfussy-feeder"}


def test_an_iterator_that_is_no_generator_is_left_open(tmp_path):
    path = tmp_path / "lines"
    path.write_text("a\nb\nc\n")

    with path.open() as lines:
        with closing(feed(lines, str.strip)) as fed:
            assert next(fed) == "a"

        assert not lines.closed


def test_no_thread_is_left_when_the_caller_fails():
    def fail():
        with closing(feed(iter(int, 1), same)) as fed:
            for _ in fed:
                raise ValueError("caller")

    with pytest.raises(ValueError, match="caller"):
        fail()

    assert not feeders()


def test_garbage_collection_ends_the_thread():
    class Holder:
        pass

    holder = Holder()
    holder.self, holder.fed = holder, feed(iter(int, 1), same)
    next(holder.fed)

    del holder
    gc.collect()

    assert not feeders()


def test_the_thread_itself_may_collect_the_garbage():
    let_go = threading.Event()

    class Holder:
        pass

    def collect(i):
        if i == 2:
            let_go.wait(10)
            gc.collect()
        return i

    holder = Holder()
    holder.self, holder.fed = holder, feed(iter(range(9)), collect)
    gone = weakref.ref(holder)
    gc.disable()
    try:
        next(holder.fed)
        del holder
        let_go.set()
        wait_until(lambda: not feeders())
    finally:
        gc.enable()

    assert gone() is None


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.001)
    assert holds()


@pytest.fixture
def interrupts():
    """Ctrl-C raises, which it does not by itself in a job in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals for threads")
@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_while_waiting_ends_the_thread():
    main = threading.main_thread().ident

    def interrupt(_):
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        list(feed(iter(int, 1), interrupt))

    assert not feeders()


def test_a_source_that_does_not_return_is_left_with_a_warning():
    returns = threading.Event()

    def source():
        yield 1
        returns.wait(10)
        yield 2

    fed = feed(source(), same, patience=0.05)
    next(fed)
    try:
        with pytest.warns(
            RuntimeWarning,
            match=r"did not return within 0\.05 s .*: it is in .*wait\(\) \(.*py:\d+\)",
        ) as caught:
            fed.close()

        assert caught[0].filename == __file__
    finally:
        returns.set()
    wait_until(lambda: not feeders())


def test_the_interpreter_ends_quietly_with_a_feeder_at_work():
    program = (
        "import torch\n"
        "from unfussy._batching.feeder import feed\n"
        "def source():\n"
        "    try:\n"
        "        while True: yield 300\n"
        "    finally:\n"
        "        print('closed')\n"
        "fed = feed(source(), lambda n: torch.rand(n, n) @ torch.rand(n, n))\n"
        "next(fed)\n"
    )

    run = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (run.returncode, run.stdout, run.stderr) == (0, "closed\n", "")


# --- memory ------------------------------------------------------------------------


@FORMS
def test_an_element_lives_no_longer_than_the_caller_holds_it(threaded):
    made = []

    def prepare(i):
        tensor = torch.ones(i)
        made.append(weakref.ref(tensor))
        return tensor

    fed = feed([1, 2], prepare, depth=1, threaded=threaded)
    element = next(fed)
    assert element is made[0]()
    del element

    wait_until(lambda: made[0]() is None)
    fed.close()


def test_what_was_not_asked_for_is_dropped_at_once():
    made = []

    def prepare(i):
        tensor = torch.ones(1)
        made.append(weakref.ref(tensor))
        return tensor

    fed = feed(range(9), prepare, depth=3)
    next(fed)
    wait_until(lambda: len(made) == 4)
    fed.close()

    assert not any(ref() is not None for ref in made)


# --- what the thread knows ---------------------------------------------------------


def state(_):
    return (
        VARIABLE.get(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.is_autocast_cache_enabled(),
        torch.empty(0).device.type,
    )


@pytest.mark.parametrize(
    "context",
    [
        lambda: torch.set_grad_enabled(True),
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.float16, cache_enabled=False),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["grad", "no_grad", "inference", "half", "bfloat16", "meta"],
)
def test_the_thread_works_in_the_surroundings_of_the_caller(context):
    token = VARIABLE.set("set")
    try:
        with context():
            here, there = state(None), next(feed([1], state))
    finally:
        VARIABLE.reset(token)

    assert there == here


def test_gradients_may_be_on_inside_inference_mode():
    with torch.inference_mode(), torch.enable_grad():
        here, there = state(None), next(feed([1], state))

    assert there == here


def test_the_default_device_is_that_of_the_caller():
    torch.set_default_device("meta")
    try:
        there = next(feed([1], state))
    finally:
        torch.set_default_device(None)

    assert there[-1] == "meta"


def test_what_the_thread_sets_stays_there():
    before = state(None)

    def change(_):
        VARIABLE.set("changed")
        torch.set_grad_enabled(False)

    list(feed([1, 2], change))

    assert state(None) == before


def test_surroundings_that_cannot_be_entered_are_an_error(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no such mode")

    monkeypatch.setattr(torch, "inference_mode", refuse)

    with pytest.raises(RuntimeError, match="no such mode"):
        next(feed([1], same))
