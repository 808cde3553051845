"""What a run that was cut short left on the disk: whose it is, how to drop it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unfussy._batching.sinks import disk
from unfussy._batching.sinks.columns import file_of
from unfussy._batching.sinks.jobs import tell_apart
from unfussy._batching.sinks.journal import Identity, Journal
from unfussy._batching.sinks.npy import part_of
from unfussy.errors import InputValueError

__all__ = [
    "check_owner",
    "discard_leftovers",
    "has_leftovers",
    "journal_of",
]


def has_leftovers(path: Path) -> bool:
    """Tell whether there is an unfinished result that will be *path*."""
    return journal_of(path).exists()


def discard_leftovers(path: Path) -> None:
    """Remove the unfinished result that would have been *path*."""
    if not has_leftovers(path):
        return
    with suppress(InputValueError):  # a damaged journal names no files
        journal = Journal(journal_of(path))
        journal.close()
        for name in journal.identity.columns:
            disk.remove(part_of(file_of(path, name)))
    disk.remove(journal_of(path))


def journal_of(path: Path) -> Path:
    """Return where the journal of the result *path* is."""
    return disk.beside(path, ".journal")


def check_owner(path: Path, found: Identity, job: str, rows: int | None) -> None:
    """
    Make sure that what is left is of the same *job*.

    Raises:
        InputValueError: If it is of another one.
    """
    if found.job != job:
        other = f"of {tell_apart(found.job, job)}"
    elif found.rows != rows:
        other = f"for rows={found.rows}, and now they are {rows}"
    else:
        return
    raise InputValueError(
        f"{journal_of(path)} is {other}; delete it, write to another path, or start "
        "anew with resume=False"
    )
