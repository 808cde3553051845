"""Laws of measured memory: no peak gets lost, whoever else measures, however long."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unfussy import _guard
from unfussy._batching.memory import _ON, Memory, PeakMeter
from unfussy._cores import CpuInfo
from unfussy._guard import MemoryThresholdWarning, memory_guard
from unfussy._memory_series import Thinned
from unfussy.errors import MemoryThresholdError

pytestmark = pytest.mark.property


# --- meters ------------------------------------------------------------------------


class Backend:
    """Counts one peak for all who ask, which anybody may start anew."""

    def __init__(self):
        self.held = self.peak = 0

    def hold(self, n):
        self.held, self.peak = n, max(self.peak, n)

    def memory_allocated(self, device):
        return self.held

    def max_memory_allocated(self, device):
        return self.peak

    def reset_peak_memory_stats(self, device):
        self.peak = self.held


@given(steps=st.lists(st.integers(0, 2) | st.integers(10, 30), max_size=20))
def test_meters_that_overlap_each_measure_their_own_span(steps):
    """A step below 10 starts or stops a meter; others say what is held from then on."""
    backend = Backend()
    spans, results = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "accelerator", backend)
        meters = [PeakMeter("cuda") for _ in range(3)]
        for step in [*steps, 0, 1, 2, 0, 1, 2]:
            if step >= 10:
                backend.hold(step)
                for span in spans.values():
                    span.append(step)
            elif step in spans:
                span = spans.pop(step)
                meters[step].__exit__(None, None, None)
                results.append((meters[step].peak, max(span) - span[0]))
            else:
                spans[step] = [backend.held]
                meters[step].__enter__()
        for step in spans:
            meters[step].__exit__(None, None, None)

    assert [peak for peak, _ in results] == [expected for _, expected in results]
    assert not _ON


# --- series ------------------------------------------------------------------------


@given(
    amounts=st.lists(st.integers(0, 100)), most=st.integers(1, 8).map(lambda n: 2 * n)
)
def test_a_thinned_curve_is_short_and_keeps_the_highest_of_every_part(amounts, most):
    points = list(enumerate(amounts))
    curve = Thinned(most)

    for point in points:
        curve.add(point)

    kept = curve.points
    assert len(kept) <= most
    assert 2 * len(kept) > most or len(kept) == len(points)
    width = -(-len(points) // len(kept)) if kept else 1
    width = 1 << (width - 1).bit_length()  # parts are a power of two long
    parts = [points[i : i + width] for i in range(0, len(points), width)]
    highest = [max(amount for _, amount in part) for part in parts]
    assert [amount for _, amount in kept] == highest
    assert all(point in part for point, part in zip(kept, parts, strict=True))


# --- guards ------------------------------------------------------------------------

TOTAL = 100


@given(
    frees=st.tuples(*[st.integers(0, TOTAL)] * 3),
    peak=st.none() | st.integers(0, TOTAL),
    percent=st.integers(1, 100),
    on_exceed=st.sampled_from(["warn", "raise", "ignore"]),
)
def test_a_guard_complains_exactly_if_too_much_was_in_use(
    frees, peak, percent, on_exceed
):
    before, end, _ = frees
    lowest = max(0, min(before - (peak or 0), end))
    answers = iter([Memory(free, TOTAL) for free in frees])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_guard, "memory_of", lambda _: next(answers))
        guard = memory_guard(
            "cpu", threshold=percent / 100, on_exceed=on_exceed, cleanup=False
        )
        guard._meter = Told(peak)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with guard:
                    pass
            except MemoryThresholdError:
                raised = True
            else:
                raised = False

    exceeded = TOTAL - lowest > percent / 100 * TOTAL
    assert guard.exceeded is exceeded
    assert raised is (exceeded and on_exceed == "raise")
    kinds = [each.category for each in caught]
    warns = exceeded and on_exceed == "warn"
    assert kinds == [MemoryThresholdWarning] * warns


class Told:
    """A meter whose peak is known before."""

    is_lower_bound = False

    def __init__(self, peak):
        self.peak = peak

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


# --- cores -------------------------------------------------------------------------


@given(
    allowed=st.integers(1, 256),
    quota=st.none() | st.floats(0.01, 512),
    threads=st.integers(1, 256),
)
def test_usable_cores_keep_within_every_limit(allowed, quota, threads):
    cpu = CpuInfo("CPU", None, None, 256, allowed, quota, threads)

    n = cpu.usable_cores
    assert 1 <= n <= allowed
    assert quota is None or n < quota + 1
    assert n == allowed or n + 1 > quota
    assert (cpu.remark is None) == (threads <= n)
