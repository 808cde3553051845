"""
How this process runs on a CPU: what its allocator keeps, how many threads it has.

Nothing here happens unless it is asked for. The C library of Linux gives large blocks
back to the system as soon as they are free, and a network asks for the same ones at its
next layer: each page is then mapped, zeroed and faulted in anew.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch

from unfussy.errors import InputValueError

__all__ = [
    "CpuTuning",
    "allocator",
    "allocator_obstacle",
    "keeps_memory",
    "minor_faults",
    "tune_cpu",
]

# Of malloc.h, with the values that keep memory and the ones that glibc starts with.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_KEEPING: Final = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}
_DEFAULT: Final = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}
_IN_FORCE: Final[dict[int, int]] = {}  # glibc cannot be asked


@dataclass(frozen=True, slots=True)
class CpuTuning:
    """
    What `tune_cpu` did; prints as a sentence for each setting.

    As a context, it undoes itself at the end of the block.

    Attributes:
        allocator: Whether the allocator keeps memory now.
        reason: Why it was left alone; None if it was not.
        threads: The number of threads that was set; None if it was left alone.
        threads_before: What it was before.
        allocator_before: Whether the allocator kept memory before.
    """

    allocator: bool
    reason: str | None
    threads: int | None
    threads_before: int
    allocator_before: bool = False

    @property
    def applied(self) -> bool:
        """Whether anything was changed."""
        return self._set_allocator or self.threads is not None

    @property
    def _set_allocator(self) -> bool:
        return self.allocator and not self.allocator_before

    def undo(self) -> None:
        """
        Put back what can be put back.

        The allocator gives free memory back again, by its default thresholds, and at
        once what it can. It does not go back to adapting them to the program.
        """
        if self._set_allocator:
            _set_allocator(_DEFAULT)
            _libc().malloc_trim(0)
        if self.threads is not None:
            torch.set_num_threads(self.threads_before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def __str__(self) -> str:
        done = "keeps freed memory" if self.allocator else f"left alone: {self.reason}"
        count = f"{self.threads}, before {self.threads_before}"
        kept = f"left alone: {self.threads_before}"
        return f"allocator: {done}\nthreads: {kept if self.threads is None else count}"


def tune_cpu(*, allocator: bool = True, threads: int | None = None) -> CpuTuning:
    """
    Make large batches fast on this CPU, for the whole process.

    With *allocator*, the C library keeps the memory that is freed instead of giving it
    back to the system, and the process stays as large as it ever was. That can be done
    with glibc only; the result says why it was not done. Call it before the first
    large batch, or at any time.

    Args:
        allocator: Whether to have memory kept.
        threads: How many threads one operation of torch may use; None leaves that.

    Raises:
        InputValueError: If *threads* is less than 1.

    Examples:
        >>> with tune_cpu(threads=1) as tuning:
        ...     torch.get_num_threads()
        1
        >>> print(tune_cpu(allocator=False))
        allocator: left alone: not asked for
        threads: left alone: ...
    """
    if threads is not None and threads < 1:
        raise InputValueError(f"tune_cpu() takes threads of at least 1, got {threads}")
    before, kept = torch.get_num_threads(), keeps_memory()
    reason = allocator_obstacle() if allocator else "not asked for"
    if reason is None and not _set_allocator(_KEEPING):
        reason = "mallopt() refused"
    if threads is not None:
        torch.set_num_threads(threads)
    return CpuTuning(reason is None, reason, threads, before, kept)


def allocator() -> str | None:
    """Return where blocks of memory come from, and what was set; None if unknown."""
    if not sys.platform.startswith("linux"):
        return None
    owner = _owner(_libc().posix_memalign)
    return f"{owner}, keeps freed memory" if keeps_memory() else owner


def keeps_memory() -> bool:
    """Tell whether `tune_cpu` has the allocator keep memory now."""
    return _IN_FORCE == _KEEPING


def minor_faults() -> int | None:
    """Return how many pages this process has faulted in; None where nobody counts."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ModuleNotFoundError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


# --- the C library -----------------------------------------------------------------


def _libc() -> Any:
    return ctypes.CDLL(None)


def _set_allocator(values: dict[int, int]) -> bool:
    mallopt: Callable[[int, int], int] = _libc().mallopt
    answers = [mallopt(name, value) for name, value in values.items()]
    _IN_FORCE.update(values)
    return all(answers)


def allocator_obstacle() -> str | None:
    """Return why the allocator cannot be told to keep memory; None if it can."""
    if not sys.platform.startswith("linux"):
        return f"on {sys.platform} it has no such setting"
    libc = _libc()
    if not hasattr(libc, "gnu_get_libc_version"):
        return "the C library is not glibc"
    owner = _owner(libc.posix_memalign)
    return (
        None if owner.startswith(("libc.", "libc-")) else f"memory comes from {owner}"
    )


class _Symbol(ctypes.Structure):
    """What ``dladdr`` finds out about an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _owner(function: Any) -> str:
    """Return the name of the file that *function* comes from."""
    found = _Symbol()
    address = ctypes.cast(function, ctypes.c_void_p)
    _libc().dladdr(address, ctypes.byref(found))
    return Path((found.file or b"unknown").decode()).name
