"""Laws of sinks: however often a run is cut short, its result is that of one run."""

import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.lossy_disk import LossyDisk, PowerLossError
from unfussy._batching.sinks import open_sink
from unfussy.errors import InputValueError

pytestmark = pytest.mark.property

SOURCE = 24
FORMS = {
    "one.npy": lambda ids: np.stack([ids, ids + 0.5], axis=1),
    "flat.npy": lambda ids: torch.as_tensor(ids),
    "several": lambda ids: {
        "x": ids * 2,
        "y": (ids[:, None, None] + np.zeros((2, 2)),),
    },
}


def fails(index):
    return index % 5 == 3


def good(start, stop):
    return np.array([i for i in range(start, stop) if not fails(i)], dtype=np.int64)


def advance(sink, n):
    """Take *n* items of the source."""
    start, stop = sink.position, min(sink.position + n, SOURCE)
    for index in filter(fails, range(start, stop)):
        sink.fail(index, f"item {index}")
    if stop > start and not len(good(start, stop)):
        sink.skip(stop)
        return
    sink.write(FORMS[sink._path.name](good(start, stop)), stop)


def safe_position(sink):
    return sink.position if sink.rows else 0


def files_of(path):
    return [*path.iterdir()] if path.is_dir() else [path]


def expected(path, stop=SOURCE):
    columns = FORMS[path.name](good(0, stop))
    if isinstance(columns, dict):
        return {"x.npy": columns["x"], "y.0.npy": columns["y"][0]}
    return {path.name: np.asarray(columns)}


def check_result(sink, path):
    wanted = expected(path)
    assert {file.name for file in files_of(path)} == wanted.keys()
    for file in files_of(path):
        array = wanted[file.name]
        np.testing.assert_array_equal(np.load(file), array)
        assert np.load(file).dtype == array.dtype
        assert file.read_bytes().endswith(b"\n" + array.tobytes())
    assert sink.failures == {i: f"item {i}" for i in range(SOURCE) if fails(i)}
    notes = {path.name, f"{path.name}.job", f"{path.name}.failures.jsonl"}
    assert {file.name for file in path.parent.iterdir()} == notes


@given(
    name=st.sampled_from(sorted(FORMS)),
    rows=st.sampled_from([None, SOURCE]),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    deaths=st.lists(st.integers(0, 150), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_a_run_that_dies_anywhere_ends_like_one_that_does_not(
    name, rows, sizes, deaths, seed
):
    random = Random(seed)
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        safe = 0

        for steps in [*deaths, None]:
            with LossyDisk(steps) as disk, suppress(PowerLossError):
                sink = open_sink(path, job="mine", rows=rows, clock=lambda: 0.0)
                with sink:
                    assert sink.position >= safe
                    for turn in count():
                        if sink.is_finished or sink.position == SOURCE:
                            break
                        advance(sink, sizes[turn % len(sizes)])
                        if turn % 2:
                            sink.flush()
                            safe = safe_position(sink)
                    if not sink.is_finished:
                        sink.finish()
            disk.lose(random)
            if random.random() < 0.5:
                append(path.parent, random.randbytes(random.randrange(1, 99)))

        check_result(sink, path)


def append(folder, garbage):
    for file in folder.rglob("*"):
        if file.name.endswith((".npy.part", ".journal")):
            file.write_bytes(file.read_bytes() + garbage)


class Runs(RuleBasedStateMachine):
    """Runs over one source, each cut short in some way, but for the last."""

    def __init__(self):
        super().__init__()
        self.folder = Path(mkdtemp())
        self.disk = LossyDisk()
        self.disk.__enter__()
        self.safe = 0
        self.time = 0.0
        self.path = self.sink = self.rows = None

    @precondition(lambda self: self.sink is None)
    @rule(name=st.sampled_from(sorted(FORMS)), rows=st.sampled_from([None, SOURCE]))
    def begin(self, name, rows):
        if self.path is None:
            self.path, self.rows = self.folder / name, rows
        self.sink = open_sink(
            self.path, job="mine", rows=self.rows, clock=lambda: self.time
        )
        assert self.sink.position >= self.safe

    @precondition(lambda self: self.sink is not None)
    @rule(n=st.integers(0, 7), seconds=st.sampled_from([0.0, 0.4, 1.5]))
    def write(self, n, seconds):
        self.time += seconds
        advance(self.sink, n)

    @precondition(lambda self: self.sink is not None)
    @rule()
    def flush(self):
        self.sink.flush()
        self.safe = safe_position(self.sink)

    @precondition(lambda self: self.sink is not None and self.sink._store is not None)
    @rule()
    def write_something_else(self):
        rows = self.sink.rows

        with pytest.raises(InputValueError):
            self.sink.write(np.zeros((2, 7), "i1"), self.sink.position)

        assert self.sink.rows == rows

    @precondition(lambda self: self.sink is not None and self.sink._store is not None)
    @rule()
    def close(self):
        self.sink.close()
        self.safe = safe_position(self.sink)
        self.sink = None

    @precondition(lambda self: self.sink is not None)
    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed):
        self.sink._lock.release()  # as the system does
        if self.sink._store is not None:
            self.sink._store.close()
        self.disk.lose(Random(seed))
        self.sink = None

    @precondition(lambda self: self.sink is None and self.path is not None)
    @rule(garbage=st.binary(min_size=1, max_size=100))
    def append_garbage(self, garbage):
        append(self.folder, garbage)

    @invariant()
    def nothing_of_the_result_is_seen(self):
        assert self.path is None or not [*self.folder.rglob("*.npy")]

    def teardown(self):
        if self.path is not None:
            if self.sink is None:
                self.begin(None, None)
            with self.sink:
                while self.sink.position < SOURCE or not self.sink.rows:
                    advance(self.sink, 5)
                self.sink.finish()
            check_result(self.sink, self.path)
        self.disk.__exit__()
        shutil.rmtree(self.folder)


TestRuns = Runs.TestCase
TestRuns.settings = settings(stateful_step_count=15)


dtypes = st.one_of(
    stn.boolean_dtypes(),
    stn.integer_dtypes(endianness="?"),
    stn.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    stn.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)
VIEWS = [np.asfortranarray, lambda x: x[::-1], lambda x: x.repeat(2, axis=0)[::2]]


@given(data=st.data(), dtype=dtypes, view=st.sampled_from(VIEWS))
def test_blocks_of_any_dtype_and_layout_are_read_back_as_they_were(data, dtype, view):
    shape = data.draw(stn.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    blocks = [view(data.draw(stn.arrays(dtype, (n, *shape)))) for n in lengths]
    with TemporaryDirectory() as folder, LossyDisk():
        path = Path(folder, "x.npy")

        with open_sink(path, job="mine") as sink:
            for block in blocks:
                sink.write(block, sink.position + len(block))
            sink.finish()

        whole = np.concatenate(blocks)
        assert np.load(path).dtype == whole.dtype.newbyteorder("=")
        np.testing.assert_array_equal(np.load(path), whole)
        np.testing.assert_array_equal(np.load(path, mmap_mode=mmap_mode(whole)), whole)


def mmap_mode(array):
    return "r" if array.size else None  # no system maps nothing
