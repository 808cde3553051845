"""Who is faster, said only when it is sure."""

from contextlib import contextmanager
from random import Random

import pytest

from unfussy._optimizing.estimates import Estimate, estimate
from unfussy._optimizing.timing import MIN_GAIN, Contender, compare, measure


class Machine:
    """A clock that only work moves, with noise of its own."""

    def __init__(self, noise=0.0, seed=0):
        self.now, self.noise, self.random = 0.0, noise, Random(seed)
        self.log = []

    def __call__(self):
        return self.now

    def work(self, seconds, name="", drift=0.0):
        def call():
            self.log.append(name)
            noise = self.random.lognormvariate(0, self.noise) if self.noise else 1
            self.now += seconds * noise * (1 + drift * self.now)

        return Contender(call)


def compared(machine, first, second, seconds=1000.0, seed=0):
    return compare(first, second, seconds=seconds, clock=machine, seed=seed)


def test_the_ratio_is_how_many_times_as_fast_the_second_is():
    machine = Machine()

    found = compared(machine, machine.work(0.3), machine.work(0.1))

    assert found.ratio.value == pytest.approx(3)
    assert found.first.value == pytest.approx(0.3)
    assert found.second.value == pytest.approx(0.1)
    assert found.gains


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_a_clear_answer_takes_three_rounds(factor):
    machine = Machine(noise=0.01)

    found = compared(machine, machine.work(0.1 * factor), machine.work(0.1))

    assert found.rounds == 3
    assert found.gains == (factor > 1)


def test_noise_takes_more_rounds():
    machine = Machine(noise=0.1)

    found = compared(machine, machine.work(0.11), machine.work(0.1))

    assert found.rounds > 8
    assert found.gains


def test_the_answer_is_looked_at_a_few_times_only():
    rounds = set()

    for seed in range(100):
        machine = Machine(0.1, seed)
        a, b = machine.work(0.108), machine.work(0.1)
        rounds.add(compared(machine, a, b, seed=seed).rounds)

    assert rounds <= {3, 5, 8, 12, 18, 27, 40, 60, 90}


def test_a_gain_too_small_to_be_worth_it_is_none():
    machine = Machine()

    found = compared(machine, machine.work(0.1 * 1.01), machine.work(0.1))

    assert found.ratio.low > 1
    assert not found.gains


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_equals_are_hardly_ever_told_apart(noise):
    wrong = 0

    for seed in range(300):
        machine = Machine(noise, seed)
        a, b = machine.work(0.1), machine.work(0.1)
        wrong += compared(machine, a, b, seed=seed).gains

    assert wrong <= 6  # of 300


def test_a_real_gain_is_hardly_ever_missed():
    missed = 0

    for seed in range(200):
        machine = Machine(0.05, seed)
        a, b = machine.work(0.11), machine.work(0.1)
        missed += not compared(machine, a, b, seed=seed).gains

    assert missed <= 4  # of 200


def test_a_machine_that_slows_down_disturbs_nothing():
    wrong = 0

    for seed in range(100):
        machine = Machine(0.005, seed)
        a, b = (machine.work(0.1, drift=0.01) for _ in range(2))
        wrong += compared(machine, a, b, seed=seed).gains

    assert wrong <= 2  # of 100


def test_time_is_up_after_three_rounds_at_the_earliest():
    machine = Machine(noise=0.3)

    found = compared(machine, machine.work(1.0), machine.work(1.0), seconds=0.0)

    assert found.rounds == 3


def test_short_calls_are_timed_many_at_once():
    machine = Machine()

    compared(machine, machine.work(1e-6), machine.work(1e-6))

    assert len(machine.log) > 1000


def test_the_two_are_timed_in_turn():
    machine = Machine(noise=0.3)

    compared(machine, machine.work(1.0, "a"), machine.work(1.0, "b"))

    rounds = machine.log[4:]  # behind the calls that warm up
    pairs = list(zip(rounds[::2], rounds[1::2]))
    assert set(pairs) == {("a", "b"), ("b", "a")}


def test_settings_are_in_force_for_whoever_needs_them_alone():
    machine, state = Machine(), {"on": False}
    seen = {"a": set(), "b": set()}

    @contextmanager
    def force():
        state["on"] = True
        yield
        state["on"] = False

    def work(name):
        def call():
            seen[name].add(state["on"])
            machine.now += 0.1

        return call

    compared(machine, Contender(work("a")), Contender(work("b"), force))

    assert seen == {"a": {False}, "b": {True}}
    assert not state["on"]


def test_the_device_is_waited_for_inside_the_time():
    machine = Machine()
    late = Contender(machine.work(0.0).call, wait=machine.work(0.5).call)

    assert measure(late, seconds=10, clock=machine).value == pytest.approx(0.5)


def test_one_contender_is_measured_at_least_three_times():
    machine = Machine()

    found = measure(machine.work(0.2, "a"), seconds=0, clock=machine)

    assert found.value == pytest.approx(0.2)
    assert len(machine.log) == 5  # two of them warm up


@pytest.mark.parametrize(("n", "rank"), [(8, 0), (10, 0), (15, 2), (20, 3), (100, 36)])
def test_the_interval_is_that_of_the_sign_test(n, rank):
    found = estimate([float(i) for i in range(n)])

    assert (found.low, found.high) == (rank, n - 1 - rank)


def test_few_values_have_a_wide_interval():
    assert estimate([1.0, 2.0, 4.0]) == Estimate(2.0, -8.0, 13.0)
    assert estimate([1.0, 2.0, 3.0, 4.0, 5.0]) == Estimate(3.0, -3.0, 9.0)


def test_an_estimate_prints_with_its_interval():
    assert str(Estimate(1.234, 1.1, 1.3)) == "1.23 [1.10, 1.30]"
    assert MIN_GAIN == 1.02
