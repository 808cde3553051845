"""Walks below a folder as items of a batch, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from unfussy._files import fingerprint_of
from unfussy.models.gait.preprocessing import SequenceFolder, read_sequences

__all__ = ["WalkFiles"]


class WalkFiles(Sequence[Any]):
    """
    Walks in files, in natural order of their names.

    Args:
        walks: Where they are.
    """

    def __init__(self, walks: SequenceFolder) -> None:
        self._walks = walks

    @classmethod
    def below(cls, path: Path, /) -> WalkFiles:
        """
        Find the walks below a folder.

        Raises:
            InputValueError: If there are none, or two of one name.
        """
        return cls(read_sequences(path))

    @property
    def names(self) -> tuple[str, ...]:
        """What the walks are called: their paths below the folder."""
        return self._walks.names

    @property
    def fingerprint(self) -> str:
        """The names, sizes and times of all files, as a checksum."""
        files = (
            (f"{name}/{file.name}", file)
            for name, path in self._walks.paths.items()
            for file in _files_of(path)
        )
        return fingerprint_of("walks", files)

    def __len__(self) -> int:
        return len(self._walks)

    @overload
    def __getitem__(self, i: int) -> Any: ...
    @overload
    def __getitem__(self, i: slice) -> WalkFiles: ...
    def __getitem__(self, i: int | slice) -> Any:
        folder = self._walks
        if isinstance(i, slice):
            paths = {name: folder.paths[name] for name in self.names[i]}
            return WalkFiles(SequenceFolder(folder.folder, paths, folder.kind))
        return folder[self.names[i]]


def _files_of(path: Path) -> Iterator[Path]:
    return iter(sorted(path.iterdir()) if path.is_dir() else [path])
