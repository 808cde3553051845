"""
The journal: which rows of an unfinished result can be trusted.

Its first line says whose result it is. Every commit adds a record, which counts only
if it is whole, in its place, and if the rows it vouches for are what they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from struct import Struct
from typing import Any, Final
from zlib import crc32

import numpy as np

from unfussy._batching.sinks import disk
from unfussy._batching.sinks.npy import RowKind
from unfussy.errors import InputValueError

__all__ = ["Identity", "Journal", "Record"]

_FORMAT: Final = "unfussy journal 1"
# Sequence number, whether it is the last, rows, position, checksum of the rows
_BODY: Final = Struct("<IIQQI")
_CHECK: Final = Struct("<I")
_SIZE: Final = _BODY.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Whose result it is.

    Attributes:
        job: The caller's fingerprint of what is computed.
        rows: The greatest number of rows, or None if nobody knows.
        columns: What is stored: for every file its name, and what its rows are.
    """

    job: str
    rows: int | None
    columns: Mapping[str, RowKind]

    def to_line(self) -> bytes:
        """Return the identity as a line of JSON."""
        columns = [[name, x.dtype.str, x.shape] for name, x in self.columns.items()]
        fields = {"format": _FORMAT, "job": self.job, "rows": self.rows}
        return json.dumps({**fields, "columns": columns}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Identity:
        """Return the identity that `to_line` made *line* of; fail with any error."""
        fields: dict[str, Any] = json.loads(line)
        if fields["format"] != _FORMAT:
            raise ValueError(fields["format"])
        columns = {
            name: RowKind(np.dtype(dtype), tuple(shape))
            for name, dtype, shape in fields["columns"]
        }
        return cls(fields["job"], fields["rows"], columns)


@dataclass(frozen=True, slots=True)
class Record:
    """
    What is done after a commit.

    Attributes:
        rows: How many rows are written.
        position: How many items of the source are consumed.
        checksum: The checksum of the rows since the commit before.
        is_last: Whether the result is whole.
    """

    rows: int
    position: int
    checksum: int
    is_last: bool = False


class Journal:
    """
    An open journal.

    Args:
        path: Where it is.

    Raises:
        InputValueError: If it is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = disk.open_file(path)
        line, _, rest = self._file.readall().partition(b"\n")
        try:
            self.identity = Identity.from_line(line)
        except Exception as error:
            self._file.close()
            raise InputValueError(
                f"{path} is damaged, or of another version of unfussy; delete it, or "
                "start anew with resume=False"
            ) from error
        self._start = len(line) + 1
        self._seed = crc32(line)
        self._length = 0
        self._found = rest

    @classmethod
    def create(cls, path: Path, identity: Identity) -> Journal:
        """Make a journal without records, there whole or not at all."""
        disk.save(path, identity.to_line())
        return cls(path)

    def records(self) -> Iterator[Record]:
        """Yield the records that were found, up to the first that is not whole."""
        for sequence in count():
            data = self._found[sequence * _SIZE :][:_SIZE]
            if len(data) < _SIZE:
                return
            _, is_last, rows, position, checksum = _BODY.unpack_from(data)
            record = Record(rows, position, checksum, bool(is_last))
            if data != self._pack(record, sequence):
                return
            yield record

    @property
    def claims_to_be_whole(self) -> bool:
        """Whether one of the records that were found is the last."""
        return any(record.is_last for record in self.records())

    def _pack(self, record: Record, sequence: int) -> bytes:
        body = _BODY.pack(
            sequence, record.is_last, record.rows, record.position, record.checksum
        )
        return body + _CHECK.pack(crc32(body, self._seed))

    def keep(self, length: int) -> None:
        """Drop all records but the first *length*; go on from there."""
        self._length, self._found = length, b""
        disk.cut(self._file, self._start + length * _SIZE)

    def append(self, record: Record, *, durable: bool) -> None:
        """Add *record*, and if *durable* wait until it is on the disk."""
        offset = self._start + self._length * _SIZE
        disk.write_at(self._file, offset, self._pack(record, self._length))
        if durable:
            disk.sync(self._file)
        self._length += 1

    def discard(self) -> None:
        """Remove the journal."""
        self.close()
        disk.remove(self.path)

    def close(self) -> None:
        """Let go of the file and leave it where it is."""
        self._file.close()
