"""Seeds and sizes as people type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from unfussy.errors import InputValueError

__all__ = ["Seeds", "read_seeds", "read_size"]

_LARGEST: Final = 2**32 - 1
_PART: Final = re.compile(r"\s*(-?\d+)\s*(?::\s*(-?\d+)\s*(?::\s*(\d+)\s*)?)?")
_SIZE: Final = re.compile(r"\s*(\d+)\s*(?:[x,]\s*(\d+)\s*)?")


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds in the order in which they were typed."""

    parts: tuple[range, ...]

    def __iter__(self) -> Iterator[int]:
        for part in self.parts:
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def read_seeds(text: str) -> Seeds:
    """
    Return the seeds that *text* names.

    Raises:
        InputValueError: If it names none, or is not understood.

    Examples:
        >>> [*read_seeds("0:3, 42, 10:20:5")]
        [0, 1, 2, 42, 10, 15]
    """
    parts = tuple(_part(text, each) for each in text.split(","))
    if not any(parts):
        raise InputValueError(f"--seeds {text!r} names no seed; 0:100 is 0 to 99")
    for part in filter(None, parts):
        if not 0 <= part[0] <= part[-1] <= _LARGEST:
            raise InputValueError(f"a seed is from 0 to {_LARGEST}, got {text!r}")
    return Seeds(parts)


def _part(text: str, part: str) -> range:
    found = _PART.fullmatch(part)
    if found is None or found[3] == "0":
        raise InputValueError(
            f"--seeds is like 0:100 (0 to 99), 0:100:5 or 3,1,4; got {text!r}"
        )
    first, end, step = found.groups()
    return range(
        int(first), int(first) + 1 if end is None else int(end), int(step or 1)
    )


def read_size(text: str) -> int | tuple[int, int]:
    """
    Return the size that *text* names: one side, or width and height.

    Raises:
        InputValueError: If it is not understood.

    Examples:
        >>> read_size("256"), read_size("320x240")
        (256, (320, 240))
    """
    found = _SIZE.fullmatch(text.lower())
    if found is None:
        raise InputValueError(f"--output-size is like 256 or 320x240, got {text!r}")
    width, height = found.groups()
    return int(width) if height is None else (int(width), int(height))
