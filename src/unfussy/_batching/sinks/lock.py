"""
One writer at a time.

The lock is the system's, on a file beside the result: it ends with the process that
holds it, however that ends.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unfussy._batching.sinks.disk import beside
from unfussy.errors import InputValueError

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, 64, os.SEEK_SET)  # behind what others want to read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


__all__ = ["Lock", "lock"]


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held until it is released."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Let others write."""
        # Removed while it is held: who opened it meanwhile sees that, and tries anew.
        with suppress(OSError):
            self.path.unlink()
        os.close(self.descriptor)
        if sys.platform == "win32":  # an open file cannot be removed there
            with suppress(OSError):
                self.path.unlink()


def lock(target: Path) -> Lock:
    """
    Become the only writer of *target*.

    Raises:
        InputValueError: If another writer is at it, or nothing can be written there.
    """
    path = beside(target, ".lock")
    while True:
        descriptor = _open(path, target)
        try:
            _take(descriptor)
        except OSError as error:
            raise _cannot_lock(descriptor, target, error) from None
        if _is_still_at(path, descriptor):
            _sign(descriptor)
            return Lock(path, descriptor)
        os.close(descriptor)


def _open(path: Path, target: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        raise InputValueError(
            f"there is no folder {target.parent} for {target.name}; make it first"
        ) from None
    except OSError as error:
        raise InputValueError(
            f"nothing can be written beside {target}: {error}; write to another folder"
        ) from error


def _cannot_lock(descriptor: int, target: Path, error: OSError) -> InputValueError:
    owner = _signature(descriptor)
    os.close(descriptor)
    if isinstance(error, (BlockingIOError, PermissionError)):
        return InputValueError(
            f"process {owner or 'of another user'} is writing {target}; wait for it to "
            "end, or write to another path"
        )
    return InputValueError(
        f"{target} cannot be locked: {error}; write to a folder on another disk"
    )


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())


def _signature(descriptor: int) -> str:
    with suppress(OSError):
        return os.read(descriptor, 32).decode().strip()
    return ""


def _is_still_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
