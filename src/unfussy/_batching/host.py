"""
How much memory this process can still take on the host.

The tightest of several limits counts: the machine's, those of the control groups
around the process, and the process's own. Everything is a pair (free, total), in
bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

__all__ = [
    "ROOTS",
    "Roots",
    "control_groups",
    "host_memory",
    "read_fields",
    "read_text",
]

T = TypeVar("T")

_Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Roots:
    """
    Where the kernel tells about memory, and about cores.

    Attributes:
        proc: Facts about the machine and this process.
        cgroup: The limits of control groups, of version 2 or 1.
    """

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")


ROOTS: Final = Roots()


def host_memory(roots: Roots = ROOTS) -> _Pair | None:
    """Return what this process can take on the host, and its total, or None."""
    machine = _machine(roots)
    groups = control_groups(roots, "memory", _group_v2, _group_v1)
    found = [*groups, *_address_space(roots)]
    found += [] if machine is None else [machine]
    if not found:
        return None
    return max(0, min(free for free, _ in found)), min(total for _, total in found)


def _machine(roots: Roots) -> _Pair | None:
    facts = read_fields(roots.proc / "meminfo")
    if "MemAvailable" in facts and "MemTotal" in facts:
        return facts["MemAvailable"] * 1024, facts["MemTotal"] * 1024
    return _from_psutil() or _from_sysconf()


def _from_psutil() -> _Pair | None:
    try:
        import psutil  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError:
        return None
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _from_sysconf() -> _Pair | None:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, total = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return free * page, total * page


def _address_space(roots: Roots) -> Iterator[_Pair]:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    if (pages := read_text(roots.proc / "self" / "statm")) is not None:
        yield limit - int(pages.split()[0]) * resource.getpagesize(), limit


# --- control groups ----------------------------------------------------------------


def control_groups(
    roots: Roots,
    controller: str,
    read_v2: Callable[[str], T | None],
    read_v1: Callable[[str], T | None],
) -> Iterator[T]:
    """
    Yield what each control group around this process says, if it says anything.

    Args:
        roots: Where the kernel tells about them.
        controller: What they control: ``"memory"`` or ``"cpu"``.
        read_v2: Reads the folder of a group of version 2.
        read_v1: Reads the folder of a group of version 1.
    """
    for line in (read_text(roots.proc / "self" / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            yield from _walk_up(str(roots.cgroup), path, read_v2)
        elif controller in controllers.split(","):
            yield from _walk_up(str(roots.cgroup / controller), path, read_v1)


def _walk_up(root: str, path: str, read: Callable[[str], T | None]) -> Iterator[T]:
    # Inside a container the path may be that of the host, which is not there: the
    # root is the container's own group then.
    folder = root + path.rstrip("/")
    while True:
        if (found := read(folder)) is not None:
            yield found
        if len(folder) <= len(root):
            return
        folder = folder.rpartition("/")[0]


def _group_v2(folder: str) -> _Pair | None:
    limit = read_text(f"{folder}/memory.max")
    if limit is None or limit.strip() == "max":
        return None
    return _group(folder, int(limit), "memory.current", "inactive_file")


_NO_LIMIT: Final = 2**60  # version 1 says "none" by the greatest number of pages


def _group_v1(folder: str) -> _Pair | None:
    limit = read_text(f"{folder}/memory.limit_in_bytes")
    if limit is None or int(limit) >= _NO_LIMIT:
        return None
    return _group(folder, int(limit), "memory.usage_in_bytes", "total_inactive_file")


def _group(folder: str, limit: int, usage: str, cache: str) -> _Pair:
    used = int(read_text(f"{folder}/{usage}") or 0)
    # Files that were read once count as usage, and give way to whoever needs memory.
    used -= read_fields(f"{folder}/memory.stat").get(cache, 0)
    return limit - max(0, used), limit


# --- reading -----------------------------------------------------------------------

_FIELD: Final = re.compile(r"^(\w+):?\s+(\d+)", re.MULTILINE)


def read_fields(path: Path | str) -> dict[str, int]:
    """Return the numbers in a file that has a name and a number on each line."""
    return {name: int(number) for name, number in _FIELD.findall(read_text(path) or "")}


def read_text(path: Path | str) -> str | None:
    """Return the beginning of a file, at most 64 KiB; None if it cannot be read."""
    # Half the time of Path.read_text: this is asked before every chunk.
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(file, 1 << 16).decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(file)
