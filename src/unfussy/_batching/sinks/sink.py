"""
Where rows of results go as they come, and where to go on after a kill.

A sink writes rows at once and vouches for them every second, or every 16 MiB. What it
does not vouch for is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from unfussy._batching.sinks.columns import row_kinds, to_columns
from unfussy._batching.sinks.failures import Failures, read_failures
from unfussy._batching.sinks.finished import Finished
from unfussy._batching.sinks.journal import Identity
from unfussy._batching.sinks.lock import Lock
from unfussy._batching.sinks.store import Store
from unfussy._tree import Tree
from unfussy.errors import InputValueError

__all__ = ["Sink", "Terms"]

_SECONDS: Final = 1.0
_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a caller asks for: see `open_sink`.

    Attributes:
        path: Where the result goes.
        job: The fingerprint of what is computed.
        rows: How many there will be at most, or None.
        durable: Whether commits wait for the disk.
        clock: Tells the time in seconds.
    """

    path: Path
    job: str
    rows: int | None
    durable: bool
    clock: Callable[[], float]


class Sink:
    """
    A result that is being written; see `open_sink`.

    Used in a ``with`` statement, it is closed at the end, however that came. What is
    not finished then is left for another time.

    Args:
        terms: What was asked for.
        held: The lock on its path.
        store: What is there unfinished, if it is.
        finished: What is there finished, if it is.
    """

    def __init__(
        self, terms: Terms, held: Lock, store: Store | None, finished: Finished | None
    ) -> None:
        self._terms, self._path = terms, terms.path
        self._lock = held
        self._store = store
        self._finished = finished
        self._skipped = 0
        self._failures = Failures(self._path, self.position)
        self._committed = terms.clock()
        self._is_open = True

    @property
    def is_finished(self) -> bool:
        """Whether the result is there, and nothing is left to do."""
        return self._finished is not None

    @property
    def rows(self) -> int:
        """How many rows are written."""
        reached = self._finished or self._store
        return reached.rows if reached else 0

    @property
    def position(self) -> int:
        """How many items of the source are consumed: where to go on."""
        reached = self._finished or self._store
        return reached.position if reached else self._skipped

    @property
    def failures(self) -> Mapping[int, str]:
        """Why items of the source gave no row, by their index."""
        if self.is_finished:
            return read_failures(self._path)
        return dict(sorted(self._failures.found.items()))

    def write(self, block: Tree, position: int) -> None:
        """
        Write the rows that follow.

        Args:
            block: An array or tensor ``(k, ...)``, or a container of them with *k*
                rows each. Their order in memory and byte order do not matter.
            position: How many items of the source are consumed with this block.

        Raises:
            InputTypeError: If something in *block* cannot be stored.
            InputValueError: If *block* is not like those before or does not go to
                this path. Nothing of it is written then, and nothing else is lost.
            OSError: If the disk is full. What was written before is safe.
        """
        self._check(position)
        columns = to_columns(block, self._path)
        if self._store is None:
            identity = Identity(self._terms.job, self._terms.rows, row_kinds(columns))
            self._store = Store.create(self._path, identity)
        self._store.write(columns, position)
        self._commit_if_due()

    def skip(self, position: int) -> None:
        """Note that the items of the source up to *position* gave no more rows."""
        self._check(position)
        if self._store is None:
            self._skipped = position
        else:
            self._store.skip(position)
            self._commit_if_due()

    def fail(self, index: int, text: str) -> None:
        """
        Note that item *index* of the source gives no row.

        It is on the disk before a commit passes that item, and read as `failures`.

        Args:
            index: Which item of the source.
            text: Why, in a line.
        """
        self._check(self.position)
        self._failures.add(index, text)

    def flush(self) -> None:
        """Commit what is written, now."""
        self._check(self.position)
        self._commit()

    def finish(self) -> None:
        """
        Let the result appear, whole and under its name.

        Raises:
            InputValueError: If no block was ever written, so that nobody knows what
                a row is, or if rows are missing that were announced.
        """
        self._check(self.position)
        if self._store is None:
            raise InputValueError(
                f"{self._path} cannot be finished before its first block, which says "
                "what a row is; write one without rows, shaped (0, ...)"
            )
        missing = (self._terms.rows or 0) - self.rows - len(self._failures.found)
        if missing > 0:
            raise InputValueError(
                f"{self._path} has {self.rows} rows of {self._terms.rows}, and "
                f"{len(self._failures.found)} failures; write the others, or begin it "
                "with rows=None"
            )
        self._commit()
        self._failures.seal()
        self._store.seal()
        self._failures.publish()
        self._finished = self._store.publish()
        self.close()

    def close(self) -> None:
        """Commit what is written, and leave it for another time unless finished."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            if not self.is_finished:
                self._commit()
        finally:
            if self._store is not None:
                self._store.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OSError as second:
            if error is None:
                raise
            error.add_note(f"and {self._path} could not be committed: {second}")

    def _check(self, position: int) -> None:
        if not self._is_open or self.is_finished:
            state = "finished" if self.is_finished else "closed"
            raise InputValueError(f"{self._path} is {state}; open another sink")
        if position < self.position:
            raise InputValueError(
                f"{self._path} is at position {self.position} of its source and cannot "
                f"go back to {position}; give positions that grow"
            )

    def _commit_if_due(self) -> None:
        assert self._store is not None  # noqa: S101 - by the callers
        waited = self._terms.clock() - self._committed
        if waited >= _SECONDS or self._store.pending >= _BYTES:
            self._commit()

    def _commit(self) -> None:
        if self._store is None:
            return
        if self._terms.durable:
            self._failures.sync()
        self._store.commit(durable=self._terms.durable)
        self._committed = self._terms.clock()
