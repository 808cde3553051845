"""
Changes to files in an order that holds when the power fails.

A system keeps writes in memory and carries them out in an order of its own. What
must not be overtaken is synchronised first: bytes by `sync`, names of files by
`move` and `remove`.
"""

from __future__ import annotations

import errno
import os
from io import FileIO
from pathlib import Path

__all__ = [
    "beside",
    "cut",
    "move",
    "open_file",
    "remove",
    "reserve",
    "save",
    "settle",
    "sync",
    "write_at",
]

_NO_SUCH_THING = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that goes with *path*."""
    return path.with_name(path.name + suffix)


def open_file(path: Path) -> FileIO:
    """Open *path* to read and write anywhere; make it if it is not there."""
    return open(path, "r+b", buffering=0, opener=_make_or_open)


def write_at(file: FileIO, offset: int, data: bytes | memoryview) -> None:
    """Write all of *data* at *offset*."""
    file.seek(offset)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]  # the system may take less than it is given


def cut(file: FileIO, size: int) -> None:
    """Drop what *file* has behind its first *size* bytes."""
    if file.seek(0, os.SEEK_END) > size:
        file.truncate(size)


def reserve(file: FileIO, size: int) -> None:
    """
    Make sure that the disk has room for *size* bytes of *file*, where that can be told.

    Raises:
        OSError: If the disk is too full, now and not hours later.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _NO_SUCH_THING:
            raise


def sync(file: FileIO, *, whole: bool = True) -> None:
    """Wait until the bytes of *file* are on the disk, and if *whole* its times too."""
    if whole or not hasattr(os, "fdatasync"):
        os.fsync(file.fileno())
    else:
        os.fdatasync(file.fileno())


def settle(file: FileIO, path: Path) -> None:
    """Wait until *file* is on the disk, under the name *path*."""
    sync(file)
    _sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Give *source* the name *target*, whatever had that name before."""
    source.replace(target)
    _sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove the file *path*, if it is there."""
    if path.exists():
        path.unlink()
        _sync_folder(path.parent)


def save(path: Path, data: bytes) -> None:
    """Make a file of *data* that is there whole, or not at all."""
    partial = beside(path, ".tmp")
    with open_file(partial) as file:
        cut(file, 0)
        write_at(file, 0, data)
        sync(file)
    move(partial, path)


def _make_or_open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # where a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems
        if error.errno not in _NO_SUCH_THING:
            raise
    finally:
        os.close(descriptor)
