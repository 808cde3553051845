"""A watch on memory: what it says, when it complains, and that it ends."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unfussy import UnfussyError, _guard, _memory_now, _memory_series, batched
from unfussy._batching.host import Roots
from unfussy._batching.memory import Memory, held_memory
from unfussy._guard import MemoryThresholdWarning, memory_guard
from unfussy._memory_now import memory_now
from unfussy._memory_series import MemorySeries
from unfussy.errors import DeviceError, InputValueError, MemoryThresholdError

GIB = 2**30


class Card:
    """A backend with two devices of 80 GiB; a block can take and give back memory."""

    def __init__(self):
        self.held, self.peak, self.current = [0, 0], [0, 0], 0
        self.emptied = 0

    def take(self, n, i=0):
        self.held[i] += n
        self.peak[i] = max(self.peak[i], self.held[i])

    def is_available(self):
        return True

    def current_accelerator(self):
        return torch.device("cuda")

    def current_device(self):
        return self.current

    def device_count(self):
        return 2

    def get_memory_info(self, device):
        return 80 * GIB - self.held[device.index], 80 * GIB

    def memory_allocated(self, device):
        return self.held[device.index]

    memory_reserved = memory_allocated

    def max_memory_allocated(self, device):
        return self.peak[device.index]

    def reset_peak_memory_stats(self, device):
        self.peak[device.index] = self.held[device.index]

    def empty_cache(self):
        self.emptied += 1


def run(guard, block, *args):
    with guard:
        block(*args)


def take_and_fail(card):
    card.take(9 * GIB)
    card.take(-9 * GIB)
    _ = 1 / 0


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr(torch, "accelerator", card)
    monkeypatch.setattr(torch, "get_device_module", lambda *_: card)
    return card


# --- what it says ------------------------------------------------------------------


def test_it_tells_what_a_block_took_and_holds(card):
    with memory_guard("cuda:0") as guard:
        card.take(20 * GIB)
        card.take(-15 * GIB)

    assert (guard.peak, guard.used) == (20 * GIB, 5 * GIB)
    assert guard.before == Memory(80 * GIB, 80 * GIB)
    assert guard.after == Memory(75 * GIB, 80 * GIB)
    assert guard.exceeded is False
    assert not guard.peak_is_lower_bound
    assert str(guard) == (
        "cuda:0: took 20.0 GiB, holds 5.0 GiB; 80.0 of 80.0 GiB free before, "
        "75.0 of 80.0 GiB free after"
    )


def test_it_prints_while_the_block_runs(card):
    with memory_guard("cuda:0") as guard:
        assert str(guard) == "cuda:0: 80.0 of 80.0 GiB free before"


def test_small_amounts_print_in_mib(card):
    with memory_guard("cuda:0") as guard:
        card.take(3 << 20)
        card.take(-1 << 20)

    assert "took 3.0 MiB, holds 2.0 MiB;" in str(guard)


def test_a_block_may_give_memory_back(card):
    card.take(4 * GIB)

    with memory_guard("cuda:0") as guard:
        card.take(-3 * GIB)

    assert (guard.peak, guard.used) == (0, -3 * GIB)
    assert "holds -3.0 GiB" in str(guard)


def test_what_is_not_known_is_said_to_be(monkeypatch):
    monkeypatch.setattr(_guard, "memory_of", lambda _: None)
    monkeypatch.setattr(_guard, "held_memory", lambda _: None)

    with memory_guard("cpu", threshold=1e-9) as guard:
        pass

    assert (guard.before, guard.after, guard.exceeded, guard.used) == (None,) * 4
    assert str(guard) == "cpu: its memory is not known"


def test_a_guard_can_be_used_again(card):
    guard = memory_guard("cuda:0")
    with guard:
        card.take(20 * GIB)
        card.take(-15 * GIB)

    with guard:
        card.take(1 * GIB)

    assert (guard.peak, guard.used) == (1 * GIB, 1 * GIB)
    assert guard.before == Memory(75 * GIB, 80 * GIB)


def test_the_peak_is_right_where_others_measure_inside(card):
    with memory_guard("cuda:0") as outer:
        card.take(9 * GIB)
        card.take(-9 * GIB)
        with memory_guard("cuda:0") as inner:
            card.take(2 * GIB)

    assert (outer.peak, inner.peak) == (9 * GIB, 2 * GIB)


@pytest.mark.skipif(sys.platform != "linux", reason="measured by the Linux kernel")
def test_the_memory_of_real_work_is_about_what_it_took():
    # In a process of its own, where nothing else takes or gives back memory.
    code = """
import torch
from torch import nn
from unfussy import batched
from unfussy._guard import memory_guard
class Net(nn.Module):
    @batched(size="auto")  # measures the peaks of its chunks
    def double(self, x):
        return x * 2
with memory_guard("cpu", threshold=1.0) as guard:
    kept = torch.ones(32 << 18)
    gone = torch.ones(64 << 18)
    del gone
    Net().double(torch.ones(300, 3))
print(guard.peak_is_lower_bound, guard.peak >> 20, guard.used >> 20)
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    bound, peak, used = done.stdout.split()
    assert 92 <= int(peak) <= 120 or bound == "True"
    assert 28 <= int(used) <= 60


# --- when it complains -------------------------------------------------------------


def test_it_warns_where_the_block_is_and_says_what_to_do(card):
    card.take(10 * GIB)
    guard = memory_guard("cuda:0")

    with pytest.warns(MemoryThresholdWarning) as caught:
        run(guard, card.take, 66 * GIB)

    assert guard.exceeded
    assert [each.filename for each in caught] == [__file__]
    assert str(caught[0].message) == (
        "memory_guard: 76.0 of 80.0 GiB on cuda:0 were in use, 66.0 of them by the "
        "block. That is 95.0%, more than the threshold of 90.0%: take smaller batches "
        "or a lower precision, free what is not needed, or raise threshold="
    )
    assert str(guard).endswith(", beyond 90% of it")


@pytest.mark.parametrize(("n", "exceeded"), [(40, False), (41, True)])
def test_the_threshold_itself_is_allowed(card, n, exceeded):
    with memory_guard("cuda:0", threshold=0.5, on_exceed="ignore") as guard:
        card.take(n * GIB)

    assert guard.exceeded is exceeded


def test_it_raises_where_that_is_asked_for_and_cleans_up_before(card):
    guard = memory_guard("cuda:0", threshold=0.1, on_exceed="raise")

    with pytest.raises(MemoryThresholdError, match=r"9\.0 of 80\.0 GiB") as caught:
        run(guard, card.take, 9 * GIB)

    assert isinstance(caught.value, UnfussyError)
    assert isinstance(caught.value, MemoryError)
    assert card.emptied == 1
    assert guard.after == Memory(71 * GIB, 80 * GIB)


@pytest.mark.parametrize("on_exceed", ["warn", "raise"])
def test_a_block_that_raises_keeps_its_error_and_gets_a_note(card, on_exceed):
    guard = memory_guard("cuda:0", threshold=0.1, on_exceed=on_exceed)

    with pytest.raises(ZeroDivisionError) as caught:
        run(guard, take_and_fail, card)

    (note,) = caught.value.__notes__
    assert note.startswith("memory_guard: 9.0 of 80.0 GiB on cuda:0 were in use")
    assert (guard.peak, guard.used, guard.exceeded) == (9 * GIB, 0, True)
    assert card.emptied == 1


def test_a_block_that_raises_gets_no_note_if_that_is_not_wanted(card):
    guard = memory_guard("cuda:0", threshold=0.1, on_exceed="ignore")

    with pytest.raises(ZeroDivisionError) as caught:
        run(guard, take_and_fail, card)

    assert not hasattr(caught.value, "__notes__")
    assert guard.exceeded


def test_a_chunk_that_takes_too_much_is_cut(card):
    sizes = []

    class Net(nn.Module):
        @batched(size=8)
        def double(self, x):
            with memory_guard("cuda:0", threshold=0.05, on_exceed="raise"):
                card.take(len(x) * GIB)
                card.take(-len(x) * GIB)
            sizes.append(len(x))
            return x * 2

    result = Net().double(torch.arange(8.0))

    assert result.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert max(sizes) == 4


# --- cleaning up -------------------------------------------------------------------


@pytest.mark.parametrize("cleanup", [True, False])
def test_garbage_is_collected_and_caches_are_emptied(card, cleanup):
    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            card.take(-3 * GIB)

    with memory_guard("cuda:0", cleanup=cleanup) as guard:
        card.take(3 * GIB)
        Cycle()

    assert card.emptied == cleanup
    assert guard.used == (0 if cleanup else 3 * GIB)
    assert guard.peak == 3 * GIB


# --- which device ------------------------------------------------------------------


def test_the_device_with_most_tensors_is_watched(card):
    card.take(1 * GIB, 0)
    card.take(2 * GIB, 1)

    assert memory_guard().device == torch.device("cuda:1")
    assert memory_now() == Memory(78 * GIB, 80 * GIB)


def test_without_tensors_on_an_accelerator_it_is_the_best_device(card, monkeypatch):
    monkeypatch.setattr(_memory_now, "get_best_device", lambda: torch.device("cuda:1"))

    assert memory_guard().device == torch.device("cuda:1")


def test_a_device_without_a_number_is_the_current_one(card):
    card.current = 1

    assert memory_guard("cuda").device == torch.device("cuda:1")
    assert MemorySeries("cuda").device == torch.device("cuda:1")
    assert memory_guard("cuda:0").device == torch.device("cuda:0")


def test_a_device_of_an_older_kind_has_no_number(card, monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _: object())

    assert memory_guard("cuda").device == torch.device("cuda")


@pytest.mark.parametrize("ask", [memory_guard, memory_now], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("xpu", "was asked for xpu; there is cpu and cuda"),
        ("meta", "was asked for meta; there is cpu and cuda"),
        ("gpu", "takes a device such as 'cuda:0', or 'auto', got 'gpu'"),
    ],
)
def test_devices_that_are_not_there_are_refused(card, ask, device, message):
    with pytest.raises(DeviceError) as caught:
        ask(device)

    assert str(caught.value) == f"{ask.__name__}() {message}"


def test_without_an_accelerator_there_is_only_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)

    with pytest.raises(DeviceError, match="asked for cuda; there is only the cpu"):
        memory_now("cuda")
    assert memory_now("cpu").total > 0


# --- options -----------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0, -1, 1.01, 90, float("nan")])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(
        InputValueError,
        match=rf"takes threshold above 0 and at most 1, got {threshold}$",
    ):
        memory_guard("cpu", threshold=threshold)


def test_what_to_do_has_three_names():
    with pytest.raises(ValueError, match="'warn', 'raise' or 'ignore', got 'error'"):
        memory_guard("cpu", on_exceed="error")


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
def test_an_interval_takes_time(interval):
    with pytest.raises(
        InputValueError, match=rf"interval must be above 0 seconds, got {interval}$"
    ):
        memory_guard("cpu", interval=interval)


# --- the thread that looks ---------------------------------------------------------


def wait_for(reached):
    for _ in range(1000):
        if reached():
            return
        time.sleep(0.005)
    raise AssertionError("it never came")


def watchers():
    return [each for each in threading.enumerate() if each.name == "unfussy-memory"]


def test_there_is_no_thread_unless_it_is_asked_for(card):
    with memory_guard("cuda:0") as guard:
        assert not watchers()

    assert guard.series is None


def test_the_memory_is_seen_while_the_block_runs(card):
    with memory_guard("cuda:0", interval=1e-3) as guard:
        card.take(7 * GIB)
        wait_for(lambda: guard.series.peak == 7 * GIB)
        card.take(-7 * GIB)

    seconds = [point[0] for point in guard.series.points]
    amounts = [point[1] for point in guard.series.points]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert (amounts[0], max(amounts), amounts[-1]) == (0, 7 * GIB, 0)
    assert guard.series.lowest_free == 73 * GIB


def test_the_thread_ends_with_the_block_also_after_an_error(card):
    guard = memory_guard("cuda:0", interval=1e-3)
    with guard:
        assert [thread.daemon for thread in watchers()] == [True]

    with pytest.raises(ZeroDivisionError):
        run(guard, take_and_fail, card)

    assert not watchers()


def test_a_look_that_takes_long_is_waited_for(card, monkeypatch):
    looking = threading.Event()

    def slow(self, device):
        if threading.current_thread() in watchers():
            looking.set()
            time.sleep(0.1)
        return 0

    monkeypatch.setattr(Card, "memory_allocated", slow)

    with MemorySeries("cuda:0", interval=1e-3):
        assert looking.wait(60)

    assert not watchers()


def test_what_others_took_meanwhile_counts_where_a_thread_saw_it(card, monkeypatch):
    guard = memory_guard("cuda:0", interval=1e-3, on_exceed="ignore")
    with guard, monkeypatch.context() as patch:
        patch.setattr(Card, "get_memory_info", lambda *_: (GIB, 80 * GIB))
        wait_for(lambda: guard.series.lowest_free == GIB)

    assert guard.exceeded


def test_where_nobody_counts_the_peak_the_thread_knows_a_lower_bound(card, monkeypatch):
    monkeypatch.delattr(Card, "max_memory_allocated")
    monkeypatch.delattr(Card, "reset_peak_memory_stats")
    card.take(1 * GIB)

    with memory_guard("cuda:0", interval=1e-3) as guard:
        card.take(7 * GIB)
        wait_for(lambda: guard.series.peak == 8 * GIB)
        card.take(-7 * GIB)

    assert (guard.peak, guard.peak_is_lower_bound) == (7 * GIB, True)
    assert "took at least 7.0 GiB" in str(guard)


def test_a_series_can_be_used_again(card):
    with MemorySeries("cuda:0", interval=60) as series:
        card.take(7 * GIB)
    card.take(-7 * GIB)

    with series:
        card.take(1 * GIB)

    assert [amount for _, amount in series.points] == [0, 1 * GIB]
    assert (series.peak, series.lowest_free) == (1 * GIB, 79 * GIB)


def test_what_nobody_tells_is_not_in_the_series(monkeypatch):
    monkeypatch.setattr(_memory_series, "held_memory", lambda _: None)
    monkeypatch.setattr(_memory_series, "memory_of", lambda _: None)

    with MemorySeries("cpu") as series:
        pass

    assert (series.points, series.peak, series.lowest_free) == ((), None, None)


def test_no_program_is_kept_alive_by_a_series_that_nobody_ends():
    code = """
from unfussy._memory_series import MemorySeries
MemorySeries("cpu", interval=1e-3).__enter__()
print("done")
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == "done\n"


# --- what a process holds ----------------------------------------------------------


def test_on_the_host_all_resident_memory_is_held(tmp_path):
    roots = Roots(tmp_path, tmp_path)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("VmHWM: 900 kB\nVmRSS:\t 100 kB\n")

    assert held_memory("cpu", roots=roots) == 100 * 1024


def test_where_the_kernel_says_nothing_psutil_knows_it(tmp_path, monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=123))
    psutil = SimpleNamespace(Process=lambda: process)
    monkeypatch.setitem(sys.modules, "psutil", psutil)

    assert held_memory("cpu", roots=Roots(tmp_path, tmp_path)) == 123


def test_apple_devices_tell_what_their_tensors_take(monkeypatch):
    backend = SimpleNamespace(current_allocated_memory=lambda: 7)
    monkeypatch.setattr(torch, "get_device_module", lambda _: backend)

    assert held_memory("mps") == 7


def test_a_device_that_cannot_tell_what_is_held_is_none(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda _: object())

    assert held_memory("cuda") is None
