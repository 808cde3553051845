"""Containers with a tensor *x* and a note beside it."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Frozen", "Pair", "Record"]


class Pair(NamedTuple):
    x: object
    note: str = "n"


@dataclass
class Record:
    x: object
    note: str = "n"


@dataclass(frozen=True, slots=True)
class Frozen:
    x: object
    note: str = "n"
