"""Files told apart by what is known of them without reading."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

__all__ = ["fingerprint_of"]


def fingerprint_of(kind: str, files: Iterable[tuple[str, Path]], /) -> str:
    """
    Return a checksum of names, sizes and times, with what the files are before it.

    Args:
        kind: What they are.
        files: Each with the name that counts.
    """
    known = [
        (name, state.st_size, state.st_mtime_ns)
        for name, file in files
        for state in [file.stat()]
    ]
    return f"{kind} {crc32(repr(known).encode()):08x}"
