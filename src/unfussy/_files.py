"""What is known of files without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from zlib import crc32

__all__ = ["PICTURES", "fingerprint_of"]

PICTURES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""How the names of pictures end, in lower case."""


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
