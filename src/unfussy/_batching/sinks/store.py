"""
An unfinished result on the disk: its rows, and the journal that vouches for them.

Rows are written first and vouched for when they are there; files get their names
when the journal says that they are whole. Wherever that is cut short, what was
committed is found again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from struct import pack
from zlib import crc32

from unfussy._batching.sinks.columns import Columns, check_columns, file_of, is_folder
from unfussy._batching.sinks.finished import Finished, mark, note_finished
from unfussy._batching.sinks.journal import Identity, Journal, Record
from unfussy._batching.sinks.leftovers import (
    discard_leftovers,
    journal_of,
)
from unfussy._batching.sinks.npy import NpyPart, part_of
from unfussy.errors import InputValueError

__all__ = ["Store"]


@dataclass(frozen=True, slots=True)
class _State:
    """What is written, and since the last commit: checksums and how many bytes."""

    rows: int
    position: int
    checksums: Mapping[str, int]
    pending: int = 0


class Store:
    """
    The files of an unfinished result; `create` or `load` one.

    Attributes:
        is_whole: Whether all is written and only the names are to be given.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.is_whole = False
        self._path = path
        self._journal = journal
        self._parts: dict[str, NpyPart] = {}
        with ExitStack() as undo:
            for name, kind in journal.identity.columns.items():
                file, claims = file_of(path, name), journal.claims_to_be_whole
                is_named = claims and file.exists() and not part_of(file).exists()
                part = self._parts[name] = NpyPart(file, kind, is_named=is_named)
                undo.callback(part.close)
            undo.pop_all()
        self._state = self._last = _State(0, 0, dict.fromkeys(self._parts, 0))

    @classmethod
    def create(cls, path: Path, identity: Identity) -> Store:
        """
        Make the files of a result that has no rows yet.

        Raises:
            OSError: If there is no room for all its rows; nothing is left then.
        """
        if is_folder(path):
            path.mkdir(exist_ok=True)
        journal = Journal.create(journal_of(path), identity)
        try:
            store = cls(path, journal)
            store._begin()
        except BaseException as error:
            journal.close()
            discard_leftovers(path)
            if isinstance(error, OSError):
                error.add_note(_advice(path, identity))
            raise
        return store

    @classmethod
    def load(cls, path: Path, journal: Journal) -> Store:
        """Find what was committed."""
        store = cls(path, journal)
        try:
            store._trust()
        except BaseException:
            store.close()
            raise
        if not store.is_whole:
            store._begin()
        return store

    @property
    def rows(self) -> int:
        """How many rows are written."""
        return self._state.rows

    @property
    def position(self) -> int:
        """How many items of the source are consumed."""
        return self._state.position

    @property
    def pending(self) -> int:
        """How many bytes are written and not committed."""
        return self._state.pending

    def write(self, columns: Columns, position: int) -> None:
        """
        Write a block of rows, for all of the source up to *position*.

        Raises:
            InputValueError: If the block is not like the others, or one too many.
        """
        identity, state = self._journal.identity, self._state
        check_columns(columns, identity.columns, self._path)
        rows = state.rows + len(next(iter(columns.values())))
        if identity.rows is not None and rows > identity.rows:
            raise InputValueError(
                f"{self._path} was begun for {identity.rows} rows, and with this block "
                f"it has {rows}; begin it with more, or with rows=None"
            )
        checksums = {
            name: part.write(state.rows, columns[name], state.checksums[name])
            for name, part in self._parts.items()
        }
        pending = state.pending + sum(array.nbytes for array in columns.values())
        # In one step, so that an interrupt finds a state that is true.
        self._state = _State(rows, position, checksums, pending)

    def skip(self, position: int) -> None:
        """Note that the source up to *position* gave no more rows."""
        self._state = replace(self._state, position=position)

    def commit(self, *, durable: bool) -> None:
        """Vouch for what is written."""
        state, last = self._state, self._last
        if (state.rows, state.position) == (last.rows, last.position):
            return
        if durable:
            for part in self._parts.values():
                part.sync()
        self._journal.append(_record(state), durable=durable)
        fresh = dict.fromkeys(self._parts, 0)
        self._state = self._last = _State(state.rows, state.position, fresh)

    def seal(self) -> None:
        """Commit, and make every file what it will be."""
        self.commit(durable=True)
        for part in self._parts.values():
            part.seal(self.rows)
        self._journal.append(_record(self._state, is_last=True), durable=True)
        self.is_whole = True

    def publish(self) -> Finished:
        """Give the files of a whole result their names, and remove the journal."""
        for part in self._parts.values():
            part.seal(self.rows)
        self.close()
        marks = {name: mark(part.path) for name, part in self._parts.items()}
        job = self._journal.identity.job
        finished = Finished(job, self.rows, self.position, marks)
        note_finished(self._path, finished)
        for part in self._parts.values():
            part.publish()
        self._journal.discard()
        return finished

    def close(self) -> None:
        """Let go of the files and leave them where they are."""
        for part in self._parts.values():
            part.close()
        self._journal.close()

    def _begin(self) -> None:
        try:
            for part in self._parts.values():
                part.begin(self.rows, self._journal.identity.rows)
        except BaseException:
            self.close()
            raise

    def _trust(self) -> None:
        """Go on from the last record that holds, as do all before it."""
        length = 0
        for record in self._journal.records():
            if record != _record(self._read(record), is_last=record.is_last):
                break
            rows, position = record.rows, record.position
            self._state = replace(self._state, rows=rows, position=position)
            self.is_whole = record.is_last
            length += 1
        self._last = self._state
        self._journal.keep(length)

    def _read(self, record: Record) -> _State:
        rows, parts = record.rows, self._parts.items()
        checksums = {name: part.checksum(self.rows, rows) for name, part in parts}
        return _State(rows, record.position, checksums)


def _advice(path: Path, identity: Identity) -> str:
    row = sum(kind.nbytes for kind in identity.columns.values())
    room = f"{row * (identity.rows or 1) / 2**20:,.1f} MiB"
    return f"{path} needs {room}; free them, or write to another disk"


def _record(state: _State, *, is_last: bool = False) -> Record:
    checksums = state.checksums.values()
    checksum = crc32(pack(f"<{len(checksums)}I", *checksums))
    return Record(state.rows, state.position, checksum, is_last)
