"""When a bar is shown, and to whom."""

import sys
from functools import partialmethod

import pytest
from tqdm.auto import tqdm

from unfussy import _progress
from unfussy._progress import ticker
from unfussy.errors import MissingExtraError


class Clock:
    """Moves when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def automatic(clock):
    """Give a ticker that decides for itself, at a terminal."""

    def make(total=10, *, terminal=True):
        return ticker(
            None, total=total, label="work", _clock=clock, _isatty=lambda: terminal
        )

    return make


@pytest.fixture
def shown(capsys):
    """Give a function that returns what stderr shows, and checks stdout."""

    def read():
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return read


# --- asked for ---------------------------------------------------------------------


def test_a_bar_that_is_asked_for_is_there_at_once_and_ends_complete(shown):
    with ticker(progress=True, total=10, label="work") as tick:
        assert "work:   0%" in shown()
        for _ in range(5):
            tick(2)

    assert "work: 100%" in shown().splitlines()[-1]


def test_a_bar_of_unknown_length_counts(shown):
    with ticker(progress=True, total=None, label="work") as tick:
        tick(3)
        tick(4)

    assert "work: 7item" in shown()


def test_a_bar_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)

    with (
        pytest.raises(MissingExtraError, match=r"unfussy\[progress\]"),
        ticker(progress=True, total=10, label="work"),
    ):
        pass


def test_a_function_is_called_with_the_number_of_items(shown):
    done = []

    with ticker(done.append, total=10, label="work") as tick:
        tick(3)
        tick(7)

    assert done == [3, 7]
    assert shown() == ""


def test_false_shows_nothing(clock, shown):
    with ticker(
        progress=False, total=10, label="work", _clock=clock, _isatty=lambda: True
    ) as tick:
        clock.now = 60
        tick(3)

    assert shown() == ""


# --- automatic ---------------------------------------------------------------------


def test_a_long_job_gets_a_bar_that_counts_what_was_done_before(
    automatic, clock, shown
):
    with automatic() as tick:
        clock.now = 0.9
        tick(2)
        assert shown() == ""

        clock.now = 1.1
        tick(3)
        assert "work:  50%" in shown()

        tick(5)

    assert "work: 100%" in shown().splitlines()[-1]


def test_a_late_bar_knows_how_long_the_job_has_taken(automatic, clock, shown):
    with automatic() as tick:
        clock.now = 60.0
        tick(5)

    assert "[01:00<01:00, 12.00s/item]" in shown()


def test_a_job_that_ends_at_its_first_tick_gets_no_bar(automatic, clock, shown):
    with automatic() as tick:
        clock.now = 60.0
        tick(10)

    assert shown() == ""


def test_a_job_of_unknown_length_gets_a_bar(automatic, clock, shown):
    with automatic(None) as tick:
        clock.now = 2.0
        tick(10)
        tick(10)

    assert "work: 20item" in shown()


def test_there_is_no_bar_where_no_terminal_is(automatic, clock, shown):
    with automatic(terminal=False) as tick:
        clock.now = 60.0
        tick(1)

    assert shown() == ""


def test_there_is_no_bar_without_tqdm(automatic, clock, shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)

    with automatic() as tick:
        clock.now = 60.0
        tick(1)
        tick(1)

    assert shown() == ""


def test_a_bar_is_closed_on_errors(automatic, clock, shown):
    def fail():
        with automatic() as tick:
            clock.now = 2.0
            tick(3)
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()

    assert shown().endswith("item/s]\n")  # its line is left


def test_bars_can_be_switched_off_for_all(automatic, clock, shown, monkeypatch):
    monkeypatch.setattr(tqdm, "__init__", partialmethod(tqdm.__init__, disable=True))

    with automatic() as tick:
        clock.now = 2.0
        tick(3)

    assert shown() == ""


def test_a_short_job_never_asks_for_tqdm(automatic, clock, monkeypatch):
    monkeypatch.setattr(_progress, "_bar", None)

    with automatic() as tick:
        clock.now = 0.9
        tick(3)
        tick(7)


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_program_without_stderr_gets_no_bar(monkeypatch, tmp_path, stream):
    if stream == "closed":
        stream = (tmp_path / "stderr").open("w")
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    with ticker(None, total=10, label="work") as tick:
        tick(1)
