"""Sinks: what they write, what they refuse, and what is left if they are cut short."""

import errno
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.lossy_disk import LossyDisk
from unfussy import UnfussyError
from unfussy._batching.sinks import disk, open_sink
from unfussy.errors import InputTypeError, InputValueError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npy"


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def begun(path, n=3, job="mine", **options):
    """Write *n* rows and leave them."""
    with open_sink(path, job=job, **options) as sink:
        sink.write(np.arange(n), n)


def finished(path, n=3, job="mine", **options):
    with open_sink(path, job=job, **options) as sink:
        sink.write(np.arange(n), n)
        sink.finish()


# --- one file ----------------------------------------------------------------------


def test_a_finished_file_is_like_one_that_numpy_saved(path):
    whole = np.random.default_rng(0).normal(size=(5, 2)).astype("f4")

    with open_sink(path, job="mine") as sink:
        sink.write(whole[:2], 2)
        sink.write(torch.from_numpy(whole[2:]), 5)
        sink.finish()

    np.save(path.with_name("twin.npy"), whole)
    assert path.read_bytes() == path.with_name("twin.npy").read_bytes()
    assert np.array_equal(np.load(path, mmap_mode="r"), whole)
    assert names(path.parent) == ["twin.npy", "x.npy", "x.npy.job"]


def test_nothing_but_the_lock_is_there_before_the_first_block(path):
    with open_sink(path, job="mine"):
        assert names(path.parent) == ["x.npy.lock"]

    assert names(path.parent) == []


def test_the_file_appears_only_when_it_is_finished(path):
    begun(path)

    assert names(path.parent) == ["x.npy.journal", "x.npy.part"]


def test_fewer_rows_than_announced_are_well_if_the_others_failed(path):
    with open_sink(path, job="mine", rows=4) as sink:
        sink.fail(1, "not a\n picture")
        sink.write(np.arange(3), 4)
        sink.finish()

    assert np.load(path).shape == (3,)
    assert sink.failures == {1: "not a picture"}
    assert path.with_name("x.npy.failures.jsonl").exists()


def test_rows_that_were_announced_and_are_missing_keep_it_from_finishing(path):
    with open_sink(path, job="mine", rows=4) as sink:
        sink.write(np.arange(3), 3)
        with pytest.raises(InputValueError, match="3 rows of 4, and 0 failures"):
            sink.finish()

    assert open_position(path, rows=4) == 3


def open_position(path, **options):
    with open_sink(path, job="mine", **options) as sink:
        return sink.position


def test_more_rows_than_announced_are_refused_and_nothing_is_lost(path):
    with open_sink(path, job="mine", rows=4) as sink:
        sink.write(np.arange(3), 3)
        with pytest.raises(InputValueError, match="begun for 4 rows.* has 6"):
            sink.write(np.arange(3), 6)
        sink.write(np.arange(3, 4), 4)
        sink.finish()

    assert np.load(path).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (0, 0)])
@pytest.mark.parametrize("rows", [None, 0])
def test_no_rows_at_all_are_a_result_too(path, shape, rows):
    with open_sink(path, job="mine", rows=rows) as sink:
        sink.write(np.zeros(shape, "f4"), 0)
        sink.finish()

    assert np.load(path).shape == shape


def test_a_result_without_any_block_cannot_be_finished(path):
    with (
        open_sink(path, job="mine") as sink,
        pytest.raises(InputValueError, match=r"write one without rows, shaped \(0, "),
    ):
        sink.finish()


def test_byte_order_is_that_of_the_machine_and_may_change_between_blocks(path):
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(2, dtype=">i4"), 2)
        sink.write(np.arange(2, 4, dtype="<i4"), 4)
        sink.finish()

    assert np.load(path).dtype == np.dtype("i4")
    assert np.load(path).tolist() == [0, 1, 2, 3]


def test_precisions_that_numpy_does_not_know_become_float32(path):
    with open_sink(path, job="mine") as sink:
        sink.write(torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True), 2)
        sink.finish()

    assert np.load(path).dtype == np.float32


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (np.zeros((2, 4)), r"rows of int64 \(\), and this block has float64 \(4,\)"),
        (np.zeros(2, "i4"), r"rows of int64 \(\), and this block has int32 \(\)"),
    ],
)
def test_a_block_unlike_those_before_is_refused_and_nothing_is_lost(path, block, said):
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(3), 3)
        with pytest.raises(InputValueError, match=said):
            sink.write(block, 5)
        sink.finish()

    assert np.load(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ([np.zeros(2)], "stack its items to one array"),
        (np.zeros(()), "one value for all items; return a row for each"),
        (np.array([None, {}]), "of dtype object, which has no place"),
        (np.zeros(2, "i4,f4"), "convert it to numbers"),
        (np.ma.masked_array([1, 2], [0, 1]), "is a MaskedArray; only arrays"),
        ("text", "result is a str; only arrays and tensors"),
    ],
)
def test_what_is_no_array_of_rows_is_refused(path, block, said):
    with (
        open_sink(path, job="mine") as sink,
        pytest.raises((InputTypeError, InputValueError), match=said),
    ):
        sink.write(block, 2)

    assert names(path.parent) == []


def test_positions_do_not_go_back(path):
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(3), 3)
        with pytest.raises(InputValueError, match="position 3 .* go back to 2"):
            sink.write(np.arange(3), 2)


def test_a_finished_or_closed_sink_takes_no_more(path):
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(3), 3)
        sink.finish()
        with pytest.raises(InputValueError, match="is finished; open another"):
            sink.write(np.arange(3), 6)

    closed = open_sink(path, job="mine", resume=False)
    closed.close()
    closed.close()
    with pytest.raises(InputValueError, match="is closed; open another"):
        closed.fail(0, "late")


# --- several arrays ----------------------------------------------------------------


def test_containers_go_to_a_folder_with_a_file_for_every_leaf(tmp_path):
    with open_sink(tmp_path / "out", job="mine") as sink:
        sink.write({"loc": np.ones((2, 3)), "pose": (np.zeros(2), torch.ones(2))}, 2)
        sink.finish()

    assert names(tmp_path) == ["out", "out.job"]
    assert names(tmp_path / "out") == ["loc.npy", "pose.0.npy", "pose.1.npy"]
    assert np.load(tmp_path / "out" / "loc.npy").shape == (2, 3)


def test_files_of_an_older_result_do_not_stay_beside_a_newer_one(tmp_path):
    for block in [{"a": np.ones(2), "b": np.ones(2)}, {"a": np.zeros(2)}]:
        with open_sink(tmp_path / "out", job="mine", resume=False) as sink:
            sink.write(block, 2)
            sink.finish()

    assert names(tmp_path / "out") == ["a.npy"]


@pytest.mark.parametrize(
    ("name", "block", "said"),
    [
        ("out", np.ones(2), r"one array.*; write to .*out\.npy instead"),
        ("out.npy", {"a": np.ones(2), "b": np.ones(2)}, "holds a, b; write to .*out "),
        ("out", {}, "holds no array"),
        ("out", {"a": np.ones(2), "b": np.ones(3)}, r"rows: a \(2,\), b \(3,\)"),
        ("out", {"a": np.ones(2), "b": "text"}, r"result\['b'\] is a str"),
        ("out", {"a/b": np.ones(2)}, "'a/b' cannot name a file; rename"),
        ("out", {"a": np.ones(2), "A": np.ones(2)}, r"several .* to a\.npy; rename"),
    ],
)
def test_blocks_that_do_not_go_to_the_path_are_refused(tmp_path, name, block, said):
    with (
        open_sink(tmp_path / name, job="mine") as sink,
        pytest.raises(UnfussyError, match=said),
    ):
        sink.write(block, 2)

    assert names(tmp_path) == []


def test_a_block_with_other_names_is_refused(tmp_path):
    with open_sink(tmp_path / "out", job="mine") as sink:
        sink.write({"a": np.ones(2)}, 2)
        with pytest.raises(InputValueError, match=r"rows of a .*this block has b "):
            sink.write({"b": np.ones(2)}, 4)


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "out").write_text("")
    (tmp_path / "out.npy").mkdir()

    with pytest.raises(InputValueError, match="out is a file; several arrays go to"):
        open_sink(tmp_path / "out", job="mine")
    with pytest.raises(InputValueError, match=r"out\.npy is a folder; one array goes"):
        open_sink(tmp_path / "out.npy", job="mine")


# --- going on ----------------------------------------------------------------------


def test_the_position_is_known_before_anything_is_computed(path):
    begun(path)

    with open_sink(path, job="mine") as sink:
        assert (sink.rows, sink.position, sink.is_finished) == (3, 3, False)


def test_an_error_commits_what_is_complete(path):
    with pytest.raises(ZeroDivisionError):
        breaks_off(path)

    with open_sink(path, job="mine") as sink:
        assert (sink.rows, sink.position) == (3, 4)


def breaks_off(path, before=lambda: None):
    with open_sink(path, job="mine", clock=lambda: 0.0) as sink:
        sink.write(np.arange(3), 4)
        before()
        _ = 1 / 0


def test_a_block_that_was_interrupted_is_not_committed_in_part(tmp_path, monkeypatch):
    block, real = {"a": np.ones(2), "b": np.ones(2)}, disk.write_at

    def write_at(file, *rest):
        if "b.npy" in str(file.name):
            raise KeyboardInterrupt
        real(file, *rest)

    with open_sink(tmp_path / "out", job="mine") as sink:
        sink.write(block, 2)
        monkeypatch.setattr(disk, "write_at", write_at)
        with pytest.raises(KeyboardInterrupt):
            sink.write(block, 4)
        monkeypatch.undo()

    with open_sink(tmp_path / "out", job="mine") as sink:
        assert (sink.rows, sink.position) == (2, 2)


def test_rows_that_changed_after_their_commit_are_computed_again(path):
    begun(path, 2)
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(2, 4), 4)
    part = path.with_name("x.npy.part")
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)

    with open_sink(path, job="mine") as sink:
        assert sink.position == 2


def test_a_record_of_which_any_byte_changed_is_not_trusted(path):
    begun(path, 2)
    with open_sink(path, job="mine") as sink:
        sink.write(np.arange(2, 4), 4)
    journal = path.with_name("x.npy.journal")
    data = journal.read_bytes()

    for i in range(1, 33):
        journal.write_bytes(
            data[:-i] + bytes([data[-i] ^ 1]) + data[len(data) - i + 1 :]
        )
        assert open_position(path) == 2


@pytest.mark.parametrize("seconds", [0.9, 1.1])
def test_commits_come_every_second(path, seconds):
    time = [0.0]
    with LossyDisk():
        sink = open_sink(path, job="mine", clock=lambda: time[0])
        sink.write(np.arange(3), 3)
        time[0] += seconds
        sink.write(np.arange(3), 6)
        abandon(sink)

        assert open_position(path) == (6 if seconds > 1 else 0)


def abandon(sink):
    sink._lock.release()
    sink._store.close()


def test_commits_come_every_16_mebibytes(path):
    sink = open_sink(path, job="mine", clock=lambda: 0.0)
    for position in [1, 2, 3]:
        sink.write(np.zeros((1, 8 << 20), "u1"), position)
    abandon(sink)

    assert open_position(path) == 2


@pytest.mark.parametrize("durable", [True, False])
def test_only_durable_commits_wait_for_the_disk(path, durable, monkeypatch):
    with open_sink(path, job="mine", durable=durable) as sink:
        sink.write(np.arange(3), 3)
        waits = []
        monkeypatch.setattr(disk, "sync", lambda *_, **__: waits.append(1))
        sink.flush()
        sink.flush()

    assert len(waits) == (2 if durable else 0)


def test_failures_after_the_last_commit_are_tried_again(path):
    with open_sink(path, job="mine") as sink:
        sink.fail(1, "old")
        sink.fail(1, "bad")
        sink.write(np.arange(2), 3)
        sink.fail(4, "not settled")

    with open_sink(path, job="mine") as sink:
        assert sink.failures == {1: "bad"}


def test_a_torn_line_of_failures_is_dropped(path):
    with open_sink(path, job="mine") as sink:
        sink.fail(0, "bad")
        sink.write(np.arange(2), 3)
    with path.with_name("x.npy.failures.jsonl.part").open("a") as file:
        file.write('{"index": 1, "err')

    with open_sink(path, job="mine") as sink:
        sink.fail(3, "worse")
        sink.skip(4)
        sink.finish()

    lines = path.with_name("x.npy.failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 3]


@pytest.fixture
def half_named(tmp_path, monkeypatch):
    """A folder of two files, one of which had its name when its writer was stopped."""
    out, real = tmp_path / "out", disk.move

    def move(source, target):
        if target.name == "b.npy":
            raise KeyboardInterrupt
        real(source, target)

    with open_sink(out, job="mine") as sink:
        sink.write({"a": np.ones(2), "b": np.ones(2)}, 2)
        monkeypatch.setattr(disk, "move", move)
        with pytest.raises(KeyboardInterrupt):
            sink.finish()
    monkeypatch.undo()
    assert names(out) == ["a.npy", "b.npy.part"]
    return out


def test_a_result_that_was_stopped_while_it_got_its_names_gets_the_others(half_named):
    with open_sink(half_named, job="mine") as sink:
        assert sink.is_finished
        assert (sink.rows, sink.position) == (2, 2)

    assert names(half_named) == ["a.npy", "b.npy"]
    assert names(half_named.parent) == ["out", "out.job"]


@pytest.mark.parametrize("name", ["a.npy", "b.npy.part"])
def test_a_result_that_was_torn_while_it_got_its_names_is_made_anew(half_named, name):
    os.truncate(half_named / name, 130)

    with open_sink(half_named, job="mine") as sink:
        assert (sink.is_finished, sink.rows) == (False, 0)
        assert names(half_named) == ["a.npy.part", "b.npy.part"]
        sink.write({"a": np.ones(2), "b": np.ones(2)}, 2)
        sink.finish()

    assert names(half_named) == ["a.npy", "b.npy"]
    assert np.load(half_named / name.removesuffix(".part")).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["a.npy", "b.npy.part"])
def test_garbage_after_a_whole_result_does_not_become_part_of_it(half_named, name):
    before = (half_named / name).read_bytes()
    (half_named / name).write_bytes(before + b"garbage")

    with open_sink(half_named, job="mine") as sink:
        assert sink.is_finished

    assert (half_named / name.removesuffix(".part")).read_bytes() == before


# --- whose it is -------------------------------------------------------------------


def test_a_finished_result_of_the_same_job_is_left_alone(path):
    finished(path)
    before = path.stat()

    with open_sink(path, job="mine") as sink:
        assert (sink.is_finished, sink.rows, sink.position) == (True, 3, 3)

    assert path.stat() == before


@pytest.mark.parametrize("make", [begun, finished])
def test_the_result_of_another_job_is_refused_and_left_alone(path, make):
    make(path, job="theirs")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    with pytest.raises(
        InputValueError, match=r"another job \('theirs', and this is 'm"
    ):
        open_sink(path, job="mine")

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_file_of_which_nothing_is_known_is_refused(path):
    np.save(path, np.zeros(3))

    with pytest.raises(
        InputValueError, match="no note of its job; delete it, .*=False"
    ):
        open_sink(path, job="mine")


def test_a_finished_file_that_was_changed_since_is_refused(path):
    finished(path)
    np.save(path, np.zeros(5))

    with pytest.raises(InputValueError, match="there already"):
        open_sink(path, job="mine")


def test_rows_whose_journal_is_gone_are_refused(path):
    begun(path)
    path.with_name("x.npy.journal").unlink()

    with pytest.raises(
        InputValueError, match=r"x\.npy\.part is there, but not the jour"
    ):
        open_sink(path, job="mine")


def test_a_job_of_another_length_is_refused(path):
    begun(path, rows=5)

    with pytest.raises(InputValueError, match="for rows=5, and now they are 6"):
        open_sink(path, job="mine", rows=6)


@pytest.mark.parametrize("text", ["", "not a journal\n", '{"format": "other"}\n'])
def test_a_journal_that_cannot_be_read_is_refused(path, text):
    path.with_name("x.npy.journal").write_text(text)

    with pytest.raises(InputValueError, match="is damaged, or of another version"):
        open_sink(path, job="mine")
    finished(path, resume=False)

    assert names(path.parent) == ["x.npy", "x.npy.job"]


def test_starting_anew_drops_what_is_unfinished(path):
    begun(path, 5, job="theirs")

    finished(path, resume=False)

    assert np.load(path).tolist() == [0, 1, 2]


def test_starting_anew_replaces_what_is_finished_only_at_the_end(path):
    finished(path, 5, job="theirs")

    with open_sink(path, job="mine", resume=False) as sink:
        sink.write(np.arange(3), 3)
        assert len(np.load(path)) == 5
        sink.finish()

    assert len(np.load(path)) == 3
    assert names(path.parent) == ["x.npy", "x.npy.job"]


def test_two_writers_do_not_write_one_file(path):
    with open_sink(path, job="mine") as sink:
        with pytest.raises(InputValueError, match=rf"process {os.getpid()} is writing"):
            open_sink(path, job="mine")
        sink.write(np.arange(3), 3)
        sink.finish()

    assert np.load(path).tolist() == [0, 1, 2]


def test_a_lock_that_its_owner_gave_up_meanwhile_is_taken_anew(path, monkeypatch):
    from unfussy._batching.sinks import lock  # noqa: PLC0415 - a module, patched

    real, taken = lock._take, []

    def take(descriptor):
        real(descriptor)
        if not taken:
            path.with_name("x.npy.lock").unlink()
        taken.append(descriptor)

    monkeypatch.setattr(lock, "_take", take)
    with open_sink(path, job="mine"):
        assert len(taken) == 2
        assert names(path.parent) == ["x.npy.lock"]


# --- what the disk refuses ---------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_too_full_is_told_before_the_work_and_nothing_is_left(path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)

    with (
        open_sink(path, job="mine", rows=1 << 20) as sink,
        pytest.raises(OSError, match="No space left") as caught,
    ):
        sink.write(np.arange(3), 3)

    assert caught.value.errno == errno.ENOSPC
    assert "needs 8.0 MiB; free them" in caught.value.__notes__[0]
    assert names(path.parent) == []


def test_a_disk_that_reserves_nothing_is_used_all_the_same(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    finished(path, rows=3)
    monkeypatch.delattr(os, "posix_fallocate")
    finished(path, rows=3, resume=False)

    assert np.load(path).tolist() == [0, 1, 2]


def test_a_disk_that_fills_up_loses_no_rows(path, monkeypatch):
    real = disk.write_at

    def write_half(file, offset, data):
        real(file, offset, memoryview(data)[: len(data) // 2])
        full()

    with open_sink(path, job="mine", clock=lambda: 0.0) as sink:
        sink.write(np.arange(3), 3)
        monkeypatch.setattr(disk, "write_at", write_half)
        with pytest.raises(OSError, match="No space"):
            sink.write(np.arange(3, 6), 6)
        with pytest.raises(OSError, match="No space"):
            sink.flush()
        monkeypatch.undo()
        sink.write(np.arange(3, 6), 6)
        sink.finish()

    assert np.load(path).tolist() == list(range(6))


def test_a_system_that_takes_less_than_it_is_given_is_given_the_rest():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(data[:3])

    file = Slow()

    disk.write_at(file, 2, b"abcdefgh")

    assert file.getvalue() == b"\0\0abcdefgh"


def test_an_error_is_not_hidden_by_a_full_disk(path, monkeypatch):
    with pytest.raises(ZeroDivisionError) as caught:
        breaks_off(path, lambda: monkeypatch.setattr(disk, "write_at", full))

    assert "could not be committed: [Errno 28]" in caught.value.__notes__[0]


def test_a_full_disk_is_told_when_a_sink_is_closed(path, monkeypatch):
    sink = open_sink(path, job="mine", clock=lambda: 0.0)
    sink.write(np.arange(3), 3)
    monkeypatch.setattr(disk, "write_at", full)

    with pytest.raises(OSError, match="No space"), sink:
        pass

    monkeypatch.undo()
    assert names(path.parent) == ["x.npy.journal", "x.npy.part"]


def test_a_folder_that_cannot_be_written_is_told_at_once(path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(
        InputValueError, match=r"nothing can be written beside .*x\.npy"
    ):
        open_sink(path, job="mine")


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(InputValueError, match=r"no folder .*a for x\.npy; make it"):
        open_sink(tmp_path / "a" / "x.npy", job="mine")


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_a_disk_without_locks_is_told(path, monkeypatch):
    import fcntl  # noqa: PLC0415 - not on Windows

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(InputValueError, match="cannot be locked: .*another disk"):
        open_sink(path, job="mine")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_folders_that_cannot_be_synchronised_are_no_reason_to_stop(
    path, monkeypatch, number
):
    real = os.fsync

    def refuse(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a link
            raise OSError(number, "fsync")
        real(descriptor)

    if not os.path.exists("/proc/self/fd"):  # noqa: PTH110 - as above
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", refuse)

    if number == errno.EINVAL:
        finished(path)
        assert path.exists()
    else:
        with pytest.raises(OSError, match="fsync"):
            finished(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_writers_leave_what_others_finish_byte_for_byte():
    run = [sys.executable, "-m", "tests.killing", "--kills", "8"]

    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves

    killed, results, exact = map(int, printed.split())
    assert killed >= 8
    assert results == exact > 0
