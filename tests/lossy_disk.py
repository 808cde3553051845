"""A disk that dies at any moment, and loses whatever nobody waited for."""

from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from unfussy._batching.sinks import disk

__all__ = ["LossyDisk", "PowerLossError"]


class PowerLossError(BaseException):
    """Ends a writer as a kill does: nobody may catch it and go on."""


class LossyDisk:
    """
    Replaces the functions that change files, within a ``with`` statement.

    Attributes:
        steps: How many changes are left until it dies; None for ever.
    """

    def __init__(self, steps=None):
        self.steps = steps
        self._unsynced = []
        self._patches = ExitStack()

    def __enter__(self):
        for name in ["write_at", "cut", "reserve", "sync", "move", "remove"]:
            self._patches.enter_context(
                mock.patch.object(disk, name, self._watched(getattr(disk, name)))
            )
        for name in ["fsync", "fdatasync"]:  # real ones only take time
            self._patches.enter_context(mock.patch.object(disk.os, name, create=True))
        return self

    def __exit__(self, *_):
        self._patches.close()

    def _watched(self, real):
        def change(first, *rest, **named):
            self._count()
            if real.__name__ == "write_at":
                self._remember(first, *rest)
            if real.__name__ == "sync":
                self._forget(first.name)
            if real.__name__ == "move":
                self._rename(first, *rest)
            return real(first, *rest, **named)

        return change

    def _count(self):
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise PowerLossError

    def _remember(self, file, offset, data):
        file.seek(offset)
        before = file.read(len(data))
        self._unsynced.append((str(file.name), offset, before, len(data)))

    def _forget(self, name):
        self._unsynced = [write for write in self._unsynced if write[0] != str(name)]

    def _rename(self, source, target):
        self._unsynced = [
            (str(target) if name == str(source) else name, *write)
            for name, *write in self._unsynced
        ]

    def lose(self, random):
        """Undo some of the writes that nobody waited for, in part or as a whole."""
        for name, offset, before, size in reversed(self._unsynced):
            path = Path(name)
            if not path.exists() or random.random() < 0.4:
                continue
            data = bytearray(path.read_bytes())
            start = offset + random.randrange(size + 1)
            old = before.ljust(size, b"\0")[start - offset :]
            data[start : offset + size] = old[: max(0, len(data) - start)]
            path.write_bytes(data)
        self._unsynced = []
        self.steps = None
