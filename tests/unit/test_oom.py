"""Errors of memory: which are known, what is let go, and a process that has little."""

import gc
import subprocess
import sys
import weakref
from contextlib import suppress

import pytest
import torch

from unfussy._batching import oom
from unfussy._batching.oom import (
    drop_frames,
    is_out_of_memory,
    oom_kind,
    release_memory,
)
from unfussy.testing import OOM_ERRORS, OOM_LOOKALIKES, OOM_SUSPECTS


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    """Collections of other tests, and of this one, do not count for the next."""
    monkeypatch.setattr(oom, "_COLLECTOR", oom._Collector())


# --- which errors ------------------------------------------------------------------


@pytest.mark.parametrize("name", OOM_ERRORS)
def test_what_backends_say_is_definite(name):
    assert oom_kind(OOM_ERRORS[name].make()) == "definite"


@pytest.mark.parametrize("name", OOM_SUSPECTS)
def test_what_less_at_once_often_cures_is_suspect(name):
    assert oom_kind(OOM_SUSPECTS[name].make()) == "suspect"


@pytest.mark.parametrize("name", OOM_LOOKALIKES)
def test_what_looks_alike_is_neither(name):
    assert oom_kind(OOM_LOOKALIKES[name].make()) is None


@pytest.mark.parametrize(
    "text",
    [
        "CUDA driver error: out of memory",
        "HIP error: out of memory",
        "NPU out of memory. Tried to allocate 2.00 GiB",
        "Triton Error [CUDA]: out of memory",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "CURAND_STATUS_ALLOCATION_FAILED",
        "RESOURCE_EXHAUSTED: Attempting to reserve 3.5G at the bottom of memory.",
    ],
)
def test_rarer_texts_are_definite(text):
    assert oom_kind(RuntimeError(text)) == "definite"


@pytest.mark.parametrize(
    "text",
    [
        "out of memory",
        "the worker said: error: out of memory",
        "there is not enough memory in the queue's name",
    ],
)
def test_sentences_about_memory_are_neither(text):
    assert oom_kind(RuntimeError(text)) is None


def test_a_cause_is_followed_and_a_context_is_not():
    caused, followed = ValueError("loading failed"), RuntimeError("report failed")
    caused.__cause__ = RuntimeError("could not create a primitive")
    followed.__context__ = MemoryError()

    assert oom_kind(caused) == "suspect"
    caused.__cause__.__cause__ = MemoryError()
    assert oom_kind(caused) == "definite"
    caused.__cause__.__cause__.__cause__ = caused  # a ring
    assert oom_kind(caused) == "definite"
    assert oom_kind(followed) is None
    assert oom_kind(None) is None


def test_after_a_failed_assertion_on_the_device_nothing_is_tried():
    error = torch.OutOfMemoryError("CUDA out of memory.")
    error.__cause__ = OOM_LOOKALIKES["device_assert"].make()

    assert not is_out_of_memory(error)


# --- what is let go ----------------------------------------------------------------


class Big:
    """Stands for a tensor."""


def fail(alive, error):
    big = Big()
    alive.append(weakref.ref(big))
    raise error


def fail_and_report(alive, error):
    try:
        fail(alive, error)
    except MemoryError:
        fail(alive, RuntimeError("no report"))


def fail_by_cause(alive, error):
    try:
        fail(alive, error)
    except MemoryError as cause:
        raise RuntimeError("loading failed") from cause


def fail_far_behind(alive, error):
    try:
        fail_and_report(alive, error)
    except RuntimeError as cause:
        raise RuntimeError("training failed") from cause


@pytest.mark.parametrize(
    "attempt", [fail, fail_and_report, fail_by_cause, fail_far_behind]
)
def test_an_error_that_someone_keeps_keeps_nothing_else(attempt):
    alive, kept = [], []

    try:
        attempt(alive, MemoryError())
    except (MemoryError, RuntimeError) as error:
        kept.append(error)
    assert all(ref() is not None for ref in alive)
    drop_frames(kept[0])

    assert all(ref() is None for ref in alive)
    assert kept[0].__traceback__ is not None


def fail_and_drop(alive):
    try:
        fail(alive, MemoryError())
    except MemoryError as error:
        drop_frames(error)
        return error


def test_frames_of_an_error_that_the_caller_handles_are_his():
    alive, errors = [], []

    try:
        fail(alive, ValueError())
    except ValueError:
        errors.append(fail_and_drop(alive))
        assert [ref() is not None for ref in alive] == [True, False]

    assert isinstance(errors[0].__context__, ValueError)


def attempt_with_cycle(alive):
    tensor = torch.ones(3)
    alive.append(weakref.ref(tensor))
    ring = [tensor]
    ring.append(ring)
    raise MemoryError


def test_garbage_in_cycles_is_gone_at_every_retry():
    alive = []

    for _ in range(5):
        with suppress(MemoryError):
            attempt_with_cycle(alive)
        release_memory()

        assert [ref() for ref in alive] == [None] * len(alive)


@pytest.fixture
def generations(monkeypatch):
    """The oldest generation of objects that each collection looked at."""
    seen = []
    monkeypatch.setattr(gc, "collect", lambda generation=2: seen.append(generation))
    return seen


def test_a_cascade_of_refusals_looks_at_old_objects_once(generations, monkeypatch):
    times = iter([0.0, 0.1, 0.2, 2.0, 2.2, 2.3])
    monkeypatch.setattr(oom, "monotonic", lambda: next(times))

    release_memory()  # takes 0.1 seconds, so the next may be after 2 seconds
    release_memory()
    release_memory()
    assert generations == [2, 1, 1]
    release_memory()
    assert generations == [2, 1, 1, 2]


def test_before_giving_up_all_garbage_is_looked_for(generations):
    release_memory()
    release_memory(thoroughly=True)

    assert generations == [2, 2]


@pytest.mark.parametrize("age", ["new", "old", "none"])
def test_the_cache_of_the_device_is_emptied_where_there_is_one(monkeypatch, age):
    emptied = []

    class Module:
        def is_available(self):
            return True

        if age != "none":

            def empty_cache(self):
                emptied.append(age)

    class Accelerator(Module):
        if age == "old":
            empty_cache = property()

    monkeypatch.setattr(torch, "accelerator", Accelerator())
    monkeypatch.setattr(torch, "get_device_module", Module)

    release_memory()

    assert emptied == ([] if age == "none" else [age])


# --- a process that has little -----------------------------------------------------

CHILD = """
import resource, sys
import torch
from torch import nn
from unfussy import batched
from unfussy._batching.oom import oom_kind

torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(256, 4096), nn.ReLU(), nn.Linear(4096, 8))
x = torch.rand(2000, 256)
with torch.no_grad():
    expected = torch.cat([net(x[i : i + 100]) for i in range(0, 2000, 100)])
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20), -1))
    try:
        net(x)
    except RuntimeError as error:
        print("all at once:", oom_kind(error))
    result = batched(lambda net, x: net(x))(net, x)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
torch.testing.assert_close(result, expected)
print("in chunks:", len(result), "rows")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_process_with_little_memory_gets_the_right_rows():
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "all at once: definite\nin chunks: 2000 rows\n"
