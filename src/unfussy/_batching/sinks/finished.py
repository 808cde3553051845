"""
Finished results, and of which job they are.

A ``.npy`` file has no place for a fingerprint, so it stands in a small file beside the
result. That is believed only while the result is as it was left; without it, a result
is nobody's and is not overwritten unasked.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from unfussy._batching.sinks import disk
from unfussy._batching.sinks.columns import file_of, is_folder
from unfussy._batching.sinks.jobs import tell_apart
from unfussy.errors import InputValueError

__all__ = ["Finished", "find_finished", "mark", "note_finished"]


@dataclass(frozen=True, slots=True)
class Finished:
    """
    A result that is whole.

    Attributes:
        job: The fingerprint of what computed it.
        rows: How many rows it has.
        position: How many items of the source it took.
        files: The sizes and times of its files, by the names of their columns.
    """

    job: str
    rows: int
    position: int
    files: dict[str, list[int]]


def _note(path: Path) -> Path:
    return disk.beside(path, ".job")


def find_finished(path: Path, job: str) -> Finished | None:
    """
    Return the finished result of *job* at *path*, or None if nothing is there.

    Raises:
        InputValueError: If something is there that is not the result of *job*.
    """
    if parts := _files(path, ".part"):
        raise _refusal(f"{parts[0]} is there, but not the journal that goes with it")
    if not (files := _files(path, "")):
        return None
    note = _read(path)
    if note is None or not _is_as_noted(path, note):
        raise _refusal(f"{files[0]} is there already, and no note of its job")
    if note.job != job:
        raise _refusal(f"{path} is the result of {tell_apart(note.job, job)}")
    return note


def note_finished(path: Path, note: Finished) -> None:
    """Note what *path* will be; remove files of an older result that are not in it."""
    if (old := _read(path)) is not None:
        for name in old.files.keys() - note.files.keys():
            disk.remove(file_of(path, name))
    disk.save(_note(path), json.dumps(asdict(note)).encode() + b"\n")


def mark(file: Path) -> list[int]:
    """Return the size and the time of *file*, which change if it is changed."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _files(path: Path, suffix: str) -> list[Path]:
    if is_folder(path):
        return sorted(path.glob(f"*.npy{suffix}"))
    file = disk.beside(path, suffix)
    return [file] if file.exists() else []


def _read(path: Path) -> Finished | None:
    with suppress(OSError, ValueError, TypeError):
        return Finished(**json.loads(_note(path).read_bytes()))
    return None


def _is_as_noted(path: Path, note: Finished) -> bool:
    with suppress(OSError):
        return all(mark(file_of(path, name)) == x for name, x in note.files.items())
    return False


def _refusal(what: str) -> InputValueError:
    return InputValueError(
        f"{what}; delete it, write to another path, or replace it with resume=False"
    )
