"""Results in files: their form, and whose they are."""

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from unfussy import auto_device, batched, configure, inference, returns, run_to
from unfussy.errors import AllItemsFailedError, InputTypeError, InputValueError

ROWS = np.arange(70.0, dtype=np.float32).reshape(35, 2)


class Net(nn.Module):
    def __init__(self, scale=2.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.n_items = 0
        self.breaks_at = None

    @batched(size=4)
    @inference
    @auto_device
    def double(self, x, shift=0.0):
        if self.breaks_at is not None and (x == self.breaks_at).any():
            raise ValueError("broken")
        self.n_items += len(x)
        return self.scale * x + shift

    @batched(size=4)
    @inference
    @auto_device
    def several(self, x):
        return {"z": self.scale * x, "parts": (x.sum(1), x.bfloat16())}

    @returns("numpy")
    @batched(size=4)
    @inference
    @auto_device
    def arrays(self, x):
        return self.scale * x

    @batched(size=4, on_error="return")
    @inference
    @auto_device
    def roots(self, x):
        if (x < 0).any():
            raise ValueError("no root\nof that")
        return x.sqrt()

    @batched(size=4, ragged="list")
    def texts(self, words):
        return torch.tensor([[len(word), 1] for word in words])


class Source:
    """Breaks once, and counts what is pulled."""

    def __init__(self, breaks=None):
        self.breaks, self.n_pulled = breaks, 0

    def __iter__(self):
        for i, row in enumerate(ROWS):
            if i == self.breaks:
                raise OSError("cable")
            self.n_pulled += 1
            yield row


def broken_run(path, net, breaks=17, **options):
    """Leave a run behind that came as far as item 16."""
    net.breaks_at = ROWS[breaks, 0]
    with pytest.raises(ValueError, match="broken"):
        run_to(path, net.double, ROWS, **options)
    net.breaks_at, net.n_items = None, 0


# --- form --------------------------------------------------------------------------


@pytest.mark.parametrize("source", [list, iter, np.asarray, torch.tensor])
def test_one_array_goes_to_one_file(source, tmp_path):
    written = run_to(tmp_path / "z.npy", Net().double, source(ROWS), shift=1.0)

    np.testing.assert_array_equal(np.load(written.path, mmap_mode="r"), 2 * ROWS + 1)
    assert (written.rows, written.n_resumed, written.failures) == (35, 0, {})
    assert str(written) == f"{tmp_path / 'z.npy'}: 35 rows"


def test_arrays_and_texts_are_written(tmp_path):
    run_to(tmp_path / "a.npy", Net().arrays, iter(ROWS))
    run_to(tmp_path / "b.npy", Net().texts, ["a", "bcd"])

    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), 2 * ROWS)
    assert np.load(tmp_path / "b.npy").tolist() == [[1, 1], [3, 1]]


def test_several_arrays_go_to_a_folder(tmp_path):
    run_to(tmp_path / "z", Net().several, ROWS)

    found = {file.stem: np.load(file) for file in (tmp_path / "z").iterdir()}
    assert sorted(found) == ["parts.0", "parts.1", "z"]
    np.testing.assert_array_equal(found["z"], 2 * ROWS)
    np.testing.assert_array_equal(found["parts.0"], ROWS.sum(1))
    assert found["parts.1"].dtype == np.float32  # NumPy has no bfloat16


def test_the_file_of_an_empty_array_has_no_rows(tmp_path):
    written = run_to(tmp_path / "z.npy", Net().double, ROWS[:0])

    assert np.load(written.path).shape == (0, 2)
    with pytest.raises(InputValueError, match="says what a row is"):
        run_to(tmp_path / "y.npy", Net().double, [])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda x: x.sum(0), r"\(\): results go .* result has shape \(2,\) for 4 it"),
        (lambda x: {"a": x, "b": 1}, r"result\['b'\] has int for 4 items; return one"),
        (lambda x: [*x], "list of results is not stored|result.0. has shape"),
    ],
    ids=["sum", "number", "list"],
)
def test_results_without_a_row_an_item_are_refused(method, message, tmp_path):
    with pytest.raises((InputValueError, InputTypeError), match=message):
        run_to(tmp_path / "z.npy", configure(method, batch_size=4), ROWS)

    assert not [file for file in tmp_path.iterdir() if file.suffix != ".lock"]


def test_one_item_is_no_source(tmp_path):
    with pytest.raises(InputTypeError, match="one item after the other"):
        run_to(tmp_path / "z.npy", Net().texts, "word")


def test_progress_counts_items(tmp_path):
    done = []

    broken_run(tmp_path / "z.npy", net := Net())
    run_to(tmp_path / "z.npy", net.double, ROWS, progress=done.append)

    assert (done[0], sum(done)) == (16, 35)


# --- failing items -----------------------------------------------------------------

NUMBERS = [4.0, -1.0, 9.0, 16.0, -2.0, 25.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, 36.0]


@pytest.mark.parametrize("source", [list, iter])
@pytest.mark.parametrize("on_error", ["skip", None])
def test_items_that_fail_have_a_line_and_no_row(source, on_error, tmp_path):
    path, net = tmp_path / "z.npy", Net().eval()

    written = run_to(path, net.roots, source(NUMBERS), on_error=on_error)

    assert np.load(path).tolist() == [2, 3, 4, 5, 6]
    assert [*written.failures] == [1, 4, 6, 7, 8, 9, 10, 11]
    assert written.failures[1] == "ValueError: no root of that"
    assert str(written).endswith("5 rows, 8 items failed")
    lines = (tmp_path / "z.npy.failures.jsonl").read_text().splitlines()
    assert lines[0] == '{"index": 1, "error": "ValueError: no root of that"}'


def test_a_file_of_no_item_is_an_error(tmp_path):
    net = Net().eval()

    with pytest.raises(AllItemsFailedError, match=r"all 2 items failed; .* item 0"):
        run_to(tmp_path / "z.npy", net.roots, [-1.0, -2.0], on_error="skip")


def test_items_that_failed_are_not_tried_again(tmp_path):
    def source(error):
        yield from [4.0] * 4 + [-1.0] * 4
        if error:
            raise OSError("cable")
        yield 9.0

    path, net = tmp_path / "z.npy", Net().eval()
    with pytest.raises(OSError, match="cable"):
        run_to(path, net.roots, source(error=True))

    written = run_to(path, net.roots, source(error=False))

    assert written.n_resumed == 8
    assert [*written.failures] == [4, 5, 6, 7]
    assert np.load(path).tolist() == [2, 2, 2, 2, 3]


# --- going on ----------------------------------------------------------------------


def test_a_run_that_broke_goes_on(tmp_path):
    path, net = tmp_path / "z.npy", Net()
    broken_run(path, net)

    written = run_to(path, net.double, ROWS)

    assert net.n_items == 35 - 16
    assert written.n_resumed == 16
    assert str(written).endswith("35 rows, the first 16 items done before")
    np.testing.assert_array_equal(np.load(path), 2 * ROWS)


def test_a_source_that_broke_goes_on(tmp_path):
    path, net = tmp_path / "z.npy", Net()
    with pytest.raises(OSError, match="cable"):
        run_to(path, net.double, Source(breaks=18))

    source = Source()
    written = run_to(path, net.double, source)

    assert (written.n_resumed, source.n_pulled) == (18, 35)  # pulled through
    assert net.n_items == 35
    np.testing.assert_array_equal(np.load(path), 2 * ROWS)


def test_what_is_finished_is_told_and_not_computed(tmp_path):
    path, net = tmp_path / "z.npy", Net()
    run_to(path, net.double, Source())
    net.n_items = 0

    source = Source()
    written = run_to(path, net.double, source)

    assert (net.n_items, source.n_pulled) == (0, 0)
    assert (written.rows, written.n_resumed) == (35, 35)


def test_a_run_may_begin_anew(tmp_path):
    path, net = tmp_path / "z.npy", Net()
    broken_run(path, net)

    run_to(path, net.double, ROWS, resume=False)
    run_to(path, Net(3.0).double, ROWS, resume=False)

    assert net.n_items == 35
    np.testing.assert_array_equal(np.load(path), 3 * ROWS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_runs_end_like_those_that_were_left_alone():
    run = [sys.executable, "-m", "tests.killed_runs", "--kills", "8"]

    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves

    killed, results, exact, twice = map(int, printed.split())
    assert killed >= 8
    assert results == exact > 0
    assert twice == 0


# --- whose it is -------------------------------------------------------------------

OTHERS = {
    "weights": (lambda net: Net(3.0).double, ROWS, {}),
    "method": (lambda net: net.arrays, ROWS, {}),
    "source": (lambda net: net.double, ROWS + 1, {}),
    "arguments": (lambda net: net.double, ROWS, {"shift": 1.0}),
    "settings": (lambda net: configure(net.double, precision="fp32"), ROWS, {}),
}


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("what", OTHERS)
def test_what_differs_from_the_job_of_a_file_is_said(what, is_finished, tmp_path):
    path, net = tmp_path / "z.npy", Net()
    if is_finished:
        run_to(path, net.double, ROWS)
    else:
        broken_run(path, net)
    before = {file: file.read_bytes() for file in tmp_path.glob("z.npy*")}
    method, source, shared = OTHERS[what]

    with pytest.raises(InputValueError) as caught:
        run_to(path, method(net), source, **shared)

    words = str(caught.value)
    assert f"another job, which had other {what} (" in words
    assert words.count("and now") == 1
    assert {file: file.read_bytes() for file in before} == before


def test_two_differences_are_both_said(tmp_path):
    run_to(tmp_path / "z.npy", Net().double, ROWS)

    message = (
        r"other weights \(Net \w+, and now Net \w+\) and other arguments "
        r"\(none, and now shift=1.0\); delete it"
    )
    with pytest.raises(InputValueError, match=message):
        run_to(tmp_path / "z.npy", Net(3.0).double, ROWS, shift=1.0)


def test_the_same_job_may_have_a_name(tmp_path):
    run_to(tmp_path / "z.npy", Net().double, ROWS, job="mine")

    assert run_to(tmp_path / "z.npy", Net(3.0).double, ROWS, job="mine").n_resumed == 35
    with pytest.raises(InputValueError, match=r"another job \('mine', and this is 'yo"):
        run_to(tmp_path / "z.npy", Net().double, ROWS, job="yours")


def goes_on(path, *runs):
    """Tell whether the second run takes the file of the first for its own."""
    (method, source, shared), (other, another, others) = runs
    run_to(path, method, source, **shared)
    try:
        return run_to(path, other, another, **others).n_resumed > 0
    except InputValueError:
        return False


@dataclass
class Options:
    table: np.ndarray
    name: str = "a"


def call(x, net=None, options=None):
    return net.scale.detach() * torch.as_tensor(x)


def by_lambda(net):
    return lambda x: net.scale.detach() * torch.as_tensor(x)


def by_other_lambda(net):
    return lambda x: net.scale.detach() + torch.as_tensor(x)


NET = Net()
OF_THE_MODULE = lambda x: NET.double(x)  # noqa: E731
BIG = np.zeros((2**20 + 7, 5), dtype=np.float32)
SAME = Options(np.ones(3))
PAIRS = {
    "equal weights": (True, (Net().double, ROWS), (Net().double, ROWS)),
    "partials": (True, *[(functools.partial(call, net=Net()), ROWS) for _ in "ab"]),
    "weights of partials": (
        False,
        *[(functools.partial(call, net=Net(x)), ROWS) for x in (1.0, 2.0)],
    ),
    "lambdas": (True, *[(by_lambda(Net()), ROWS) for _ in "ab"]),
    "weights of lambdas": (False, *[(by_lambda(Net(x)), ROWS) for x in (1.0, 2.0)]),
    "other lambdas": (False, (by_lambda(Net()), ROWS), (by_other_lambda(Net()), ROWS)),
    "global modules": (True, (OF_THE_MODULE, ROWS), (OF_THE_MODULE, ROWS)),
    "lists": (True, (Net().double, [*ROWS]), (Net().double, [*ROWS])),
    "other items": (False, (Net().double, [*ROWS]), (Net().double, [*ROWS[::-1]])),
    "lengths": (False, (Net().double, ROWS), (Net().double, ROWS[:-1])),
    "kinds": (False, (Net().double, ROWS), (Net().double, ROWS.astype(int))),
    "words": (False, (Net().texts, ["a", "b"]), (Net().texts, ["a", "c"])),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_jobs_are_told_apart(pair, tmp_path):
    same, *runs = PAIRS[pair]

    assert goes_on(tmp_path / "z.npy", *((*run, {}) for run in runs)) is same


@pytest.mark.parametrize(
    ("same", "value", "other"),
    [
        (True, Options(np.ones(3)), Options(np.ones(3))),
        (False, Options(np.ones(3)), Options(np.zeros(3))),
        (False, Options(np.ones(3)), Options(np.ones(3), name="b")),
        (True, object(), object()),
        (False, "a" * 99, "a" * 98 + "b"),
        (False, torch.ones(2), torch.ones(2).to_sparse()),
        (False, [1, None], [1, False]),
    ],
    ids=["equal", "array", "name", "object", "text", "layout", "list"],
)
def test_arguments_tell_jobs_apart(same, value, other, tmp_path):
    method = functools.partial(call, net=Net())
    runs = [(method, ROWS, {"options": x}) for x in (value, other)]

    assert goes_on(tmp_path / "z.npy", *runs) is same


def test_a_sample_of_a_large_source_is_looked_at(tmp_path):
    other = BIG.copy()
    other[::4000] = 1

    runs = [(lambda x: x[:, 0], x, {}) for x in (BIG, other)]

    assert not goes_on(tmp_path / "z.npy", *runs)


def test_a_source_may_say_which_it_is(tmp_path):
    versions = count()

    class Versioned(Source):
        def __init__(self):
            super().__init__()
            self.fingerprint = f"version {next(versions)}; final"

    runs = [(Net().double, Versioned(), {}) for _ in range(2)]

    assert not goes_on(tmp_path / "z.npy", *runs)
