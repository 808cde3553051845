"""
Begin a result, or go on with what is there of it.

What is there is used if it is of the same job, refused if it is not, and dropped only
if that is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from os import PathLike
from pathlib import Path

from unfussy._batching.sinks.columns import is_folder
from unfussy._batching.sinks.failures import Failures
from unfussy._batching.sinks.finished import find_finished
from unfussy._batching.sinks.journal import Journal
from unfussy._batching.sinks.leftovers import (
    check_owner,
    discard_leftovers,
    has_leftovers,
    journal_of,
)
from unfussy._batching.sinks.lock import lock
from unfussy._batching.sinks.sink import Sink, Terms
from unfussy._batching.sinks.store import Store
from unfussy.errors import InputValueError

__all__ = ["open_sink"]


def open_sink(
    path: str | PathLike[str],
    *,
    job: str,
    rows: int | None = None,
    resume: bool = True,
    durable: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Sink:
    """
    Begin a result at *path*, or go on with it.

    Nothing but a lock is written before the first block, which says what the rows are.

    Args:
        path: A file that ends in ``.npy``, for one array; or a folder, for several.
        job: What is computed, of what and by which model: a fingerprint. Only the
            same job goes on.
        rows: How many there will be at most, if that is known: the disk has to have
            room for them then.
        resume: Whether to go on with what is there. If not, what is unfinished is
            dropped now, and what is finished is replaced when this is.
        durable: Whether commits wait for the disk, and so survive a loss of power and
            not only of the process.
        clock: Tells the time in seconds.

    Raises:
        InputValueError: If *path* holds something of another job, is being written
            by another process, or cannot be written.
    """
    terms = Terms(Path(path).absolute(), job, rows, durable, clock)
    _check_path(terms.path)
    with ExitStack() as undo:
        held = lock(terms.path)
        undo.callback(held.release)
        store = _unfinished(terms, resume=resume)
        if store is not None:
            undo.callback(store.close)
        finished = find_finished(terms.path, job) if resume and store is None else None
        sink = Sink(terms, held, store, finished)
        undo.pop_all()
    return sink


def _unfinished(terms: Terms, *, resume: bool) -> Store | None:
    if not has_leftovers(terms.path):
        return None
    if not resume:
        discard_leftovers(terms.path)
        return None
    journal = Journal(journal_of(terms.path))
    try:
        return _load(terms, journal)
    except BaseException:
        journal.close()
        raise


def _load(terms: Terms, journal: Journal) -> Store | None:
    check_owner(terms.path, journal.identity, terms.job, terms.rows)
    store = Store.load(terms.path, journal)
    if not store.is_whole:
        return store
    with closing(store):
        Failures(terms.path, None).publish()
        store.publish()
    return None


def _check_path(path: Path) -> None:
    if is_folder(path) and path.is_file():
        raise InputValueError(
            f"{path} is a file; several arrays go to a folder, and one to a file that "
            "ends in .npy"
        )
    if not is_folder(path) and path.is_dir():
        raise InputValueError(
            f"{path} is a folder; one array goes to a file, and several go to a folder "
            "whose name does not end in .npy"
        )
