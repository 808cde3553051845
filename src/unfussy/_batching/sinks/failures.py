"""
Items of the source that gave no row, and why.

They stand in a file of JSON lines beside the result. What was noted after the last
commit is dropped at the next start: those items are tried again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from unfussy._batching.sinks import disk

__all__ = ["Failures", "failures_file", "read_failures"]


def failures_file(path: Path) -> Path:
    """Return where the failures of the result *path* are."""
    return disk.beside(path, ".failures.jsonl")


def read_failures(path: Path) -> dict[int, str]:
    """Return the failures of a finished result by their index, in its order."""
    return _read(failures_file(path))


class Failures:
    """
    The failures of an unfinished result.

    Args:
        path: Where the result will be.
        position: How many items of the source are settled; None for all.
    """

    def __init__(self, path: Path, position: int | None) -> None:
        self._path = failures_file(path)
        self._part = disk.beside(self._path, ".part")
        known = _read(self._part).items()
        self.found = {i: why for i, why in known if position is None or i < position}
        lines = _to_lines(self.found)
        if self.found:
            disk.save(self._part, lines)
        else:
            disk.remove(self._part)
        self._size = self._synced = len(lines)

    def add(self, index: int, text: str) -> None:
        """Note that item *index* failed for the reason *text*."""
        cause = " ".join(text.split())
        line = _to_lines({index: cause})
        with disk.open_file(self._part) as file:
            disk.write_at(file, self._size, line)
        self._size += len(line)
        self.found[index] = cause

    def sync(self) -> None:
        """Wait until all is on the disk."""
        if self._synced < self._size:
            with disk.open_file(self._part) as file:
                disk.sync(file)
            self._synced = self._size

    def seal(self) -> None:
        """Make sure that no failures of an older result stay if there are none."""
        self.sync()
        if not self.found:
            disk.remove(self._path)

    def publish(self) -> None:
        """Give the file its name, if there is one."""
        if self._part.exists():
            disk.move(self._part, self._path)


def _to_lines(failures: Mapping[int, str]) -> bytes:
    rows = ({"index": index, "error": text} for index, text in failures.items())
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def _read(path: Path) -> dict[int, str]:
    if not path.exists():
        return {}
    found: dict[int, str] = {}
    for line in path.read_bytes().splitlines():
        with suppress(ValueError, TypeError, KeyError):  # a kill may leave half a line
            failure = json.loads(line)
            found[int(failure["index"])] = str(failure["error"])
    return dict(sorted(found.items()))
