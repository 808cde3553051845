"""
One array on its way to a ``.npy`` file.

The file carries another name until it is whole. Its header has room for any number
of rows, which is written when that is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

from unfussy._batching.sinks import disk

__all__ = ["NpyPart", "RowKind", "part_of"]

_MAGIC: Final = b"\x93NUMPY\x01\x00"
_ALIGNMENT: Final = 64
_MOST_ROWS: Final = 2**64
_READ_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class RowKind:
    """
    What every row of an array is.

    Attributes:
        dtype: The type of its numbers, in the byte order of this machine.
        shape: Its shape, ``()`` if it is one number.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    @property
    def nbytes(self) -> int:
        """The size of a row."""
        return self.dtype.itemsize * prod(self.shape)

    def header(self, rows: int) -> bytes:
        """Return the start of a ``.npy`` file: of the same length for any *rows*."""
        text, longest = self._describe(rows), self._describe(_MOST_ROWS)
        room = len(_MAGIC) + 2
        size = -(-(room + len(longest) + 1) // _ALIGNMENT) * _ALIGNMENT - room
        return _MAGIC + size.to_bytes(2, "little") + text.ljust(size - 1) + b"\n"

    def _describe(self, rows: int) -> bytes:
        shape = (rows, *self.shape)
        fields = (
            f"'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': {shape}"
        )
        return f"{{{fields}, }}".encode("ascii")


def part_of(path: Path) -> Path:
    """Return what *path* is called until it is whole."""
    return disk.beside(path, ".part")


class NpyPart:
    """
    The rows of an array, in a file that is not whole yet.

    Args:
        path: What the file is called when it is whole.
        kind: What a row is.
        is_named: Whether it is called that already.

    Attributes:
        path: Where it is now.
    """

    def __init__(self, path: Path, kind: RowKind, *, is_named: bool = False) -> None:
        self.path = path if is_named else part_of(path)
        self._name = path
        self._kind = kind
        self._start = len(kind.header(0))
        self._file = disk.open_file(self.path)

    def _offset(self, row: int) -> int:
        return self._start + row * self._kind.nbytes

    def begin(self, rows: int, capacity: int | None) -> None:
        """
        Keep the first *rows* rows and make room for *capacity*.

        Raises:
            OSError: If the disk has no such room.
        """
        self._take_back_name()
        disk.cut(self._file, self._offset(rows))
        disk.write_at(self._file, 0, self._kind.header(rows))
        if capacity is not None:
            disk.reserve(self._file, self._offset(capacity))
        disk.settle(self._file, self.path)

    def _take_back_name(self) -> None:
        if self.path != self._name:
            return
        self._file.close()
        self.path = part_of(self._name)
        disk.move(self._name, self.path)
        self._file = disk.open_file(self.path)

    def write(self, row: int, array: np.ndarray[Any, Any], checksum: int) -> int:
        """Write *array* from *row* on; return *checksum* carried on over its bytes."""
        data = array.reshape(-1).view(np.uint8).data
        disk.write_at(self._file, self._offset(row), data)
        return crc32(data, checksum)

    def checksum(self, start: int, stop: int) -> int:
        """Return the checksum of the rows *start* to *stop*, or of what is there."""
        checksum = 0
        for data in self._read(self._offset(start), self._offset(stop)):
            checksum = crc32(data, checksum)
        return checksum

    def _read(self, start: int, stop: int) -> Iterator[bytes]:
        self._file.seek(start)
        while start < stop and (
            data := self._file.read(min(stop - start, _READ_AT_ONCE))
        ):
            start += len(data)
            yield data

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        disk.sync(self._file, whole=False)

    def seal(self, rows: int) -> None:
        """Make the file what it will be: *rows* rows and a header that says so."""
        disk.cut(self._file, self._offset(rows))
        disk.write_at(self._file, 0, self._kind.header(rows))
        disk.sync(self._file)

    def publish(self) -> None:
        """Give the closed file its name."""
        if self.path != self._name:
            disk.move(self.path, self._name)

    def close(self) -> None:
        """Let go of the file and leave it where it is."""
        self._file.close()
