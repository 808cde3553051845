"""
Folders of walks: which there are, what they are called, and each when it is asked for.

A walk is a folder that holds pictures, such as ``id/type/view`` in the official
layout, or a file with frames. Its name is its path below the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from unfussy.errors import InputValueError
from unfussy.models.gait.preprocessing.pictures import PICTURES, Kind, holds_several
from unfussy.models.gait.preprocessing.reading import (
    ARRAYS,
    FILES,
    PICKLES,
    natural_key,
    read_arrays,
    read_frames,
    refuse_pickle,
)

__all__ = ["SequenceFolder", "read_sequences"]


@dataclass(frozen=True, slots=True)
class SequenceFolder(Mapping[str, Any]):
    """
    The walks below a folder by name, in natural order; each is read when asked for.

    Attributes:
        folder: Where they are.
        paths: Where each is, by name.
        kind: What the pixels of pictures are.
    """

    folder: Path
    paths: Mapping[str, Path]
    kind: Kind = "silhouettes"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the walks, with slashes."""
        return tuple(self.paths)

    def __len__(self) -> int:
        """Return the number of walks."""
        return len(self.paths)

    def __iter__(self) -> Iterator[str]:
        """Return the name of each walk in turn."""
        return iter(self.paths)

    def __getitem__(self, name: str) -> Any:
        """Return the frames of a walk, as `read_frames`; a mapping if it has parts."""
        path = self.paths[name]
        if path.is_file() and path.suffix.lower() in ARRAYS:
            arrays = read_arrays(path)
            return arrays if len(arrays) != 1 else next(iter(arrays.values()))
        return read_frames(path, kind=self.kind)


def read_sequences(
    path: str | PathLike[str], /, *, kind: Kind = "silhouettes"
) -> SequenceFolder:
    """
    Find the walks below a folder; each is read when it is asked for.

    A folder that holds pictures is one walk; every other file with frames is one too.
    A file that is called like its folder, as in ``001/nm-01/090/090.npy``, has the name
    of the folder. What is hidden is left out.

    Args:
        path: The folder, or the file of a single walk.
        kind: As in `read_frames`.

    Returns:
        The walks by name, as in
        ``for name, frames in read_sequences("walks").items()``.

    Raises:
        FileNotFoundError: If there is nothing of that name.
        InputValueError: If there are no walks, two of one name, or pickles without a
            file of arrays beside them.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"there is no file or folder {folder}")
    if folder.is_file():
        return SequenceFolder(folder.parent, {folder.stem: folder}, kind)
    shown = _shown(folder)
    _refuse_pickles(shown)
    found = sorted(_walks_among(shown, folder))
    if not found:
        raise InputValueError(
            f"there are no walks below {folder}: folders of pictures, or files of "
            f"{', '.join(sorted(FILES))}"
        )
    paths: dict[str, Path] = {}
    for _, name, place in found:
        if name in paths:
            raise InputValueError(
                f"two walks are called {name!r}: {paths[name]} and {place}"
            )
        paths[name] = place
    return SequenceFolder(folder, paths, kind)


def _walks_among(shown: list[Path], folder: Path) -> Iterator[tuple[Any, str, Path]]:
    places = set()
    for path in shown:
        suffix = path.suffix.lower()
        if suffix in FILES:
            is_single = suffix in PICTURES and not holds_several(path)
            places.add(path.parent if is_single else path)
    for place in places:
        name = _name_of(place, folder)
        yield tuple(map(natural_key, name.split("/"))), name, place


def _shown(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _name_of(place: Path, folder: Path) -> str:
    if place == folder:
        return folder.resolve().name
    parts = place.relative_to(folder).parts
    if place.is_dir():
        return "/".join(parts)
    if parts[:-1] and parts[-2] == place.stem:
        return "/".join(parts[:-1])
    return "/".join((*parts[:-1], place.stem))


def _refuse_pickles(shown: list[Path]) -> None:
    """Refuse pickles, unless their arrays lie beside them."""
    known = {path.with_suffix("") for path in shown if path.suffix.lower() in ARRAYS}
    for path in shown:
        if path.suffix.lower() in PICKLES and path.with_suffix("") not in known:
            raise refuse_pickle(path)
