"""
The files of a folder of generated pictures: what is there, and what is added.

Pictures come first and are listed after: those that a killed run did not come to list
are found by the metadata inside them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from unfussy._batching.sinks import disk
from unfussy._batching.sinks.jobs import tell_apart
from unfussy._batching.sinks.lock import lock
from unfussy.errors import InputValueError
from unfussy.models.multimodal.picture_files import facts_in, save_png

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PictureFolder", "name_of", "open_folder"]

_LIST: Final = "metadata.json"
_JOB: Final = "job.json"
_PICTURE: Final = re.compile(r"seed_(\d+)\.png")
_SECONDS: Final = 1.0  # between two times that the list is written
_SHARE: Final = 20  # of the time at least that writing the list leaves to the rest


def name_of(seed: int) -> str:
    """
    Return what the picture of *seed* is called.

    >>> name_of(7), name_of(4_000_000_000)
    ('seed_007.png', 'seed_4000000000.png')
    """
    return f"seed_{seed:03d}.png"


@contextmanager
def open_folder(path: Path, job: str, *, resume: bool) -> Iterator[PictureFolder]:
    """
    Give the folder at *path*, of which nobody else can be writing.

    Args:
        path: Where; made if it is not there.
        job: What decides about pictures, beside their seeds.
        resume: Whether to keep what is there; else its pictures are removed.

    Raises:
        InputValueError: If there are pictures of another job, or of unknown origin.
    """
    path.mkdir(parents=True, exist_ok=True)
    held = lock(path / _LIST)
    try:
        if not resume:
            _discard(path)
        _take(path, job)
        folder = PictureFolder(path, job)
        try:
            yield folder
        finally:
            folder.commit()
    finally:
        held.release()


class PictureFolder:
    """
    Pictures by seed, and the list of them.

    Args:
        path: Where they are.
        job: As in `open_folder`.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, path: Path, job: str, clock: Callable[[], float] = monotonic
    ) -> None:
        self._path, self._job, self._clock = path, job, clock
        self._unsynced: list[Path] = []
        listed, there = _listed(path), _pictures(path)
        self._lines = {seed: _line(listed[seed]) for seed in listed.keys() & there}
        for seed in there - listed.keys():
            self._adopt(seed)
        self._due = 0.0
        self.commit()

    def has(self, seed: int) -> bool:
        """Tell whether the picture of *seed* is there."""
        return seed in self._lines

    def add(self, image: Image, metadata: Mapping[str, Any]) -> None:
        """Write a picture, and within a second or so the list."""
        path = self._path / name_of(metadata["seed"])
        facts = {"job": self._job, "sample": dict(metadata)}
        save_png(path, image, metadata["caption"], facts)
        self._unsynced.append(path)
        self._list(metadata)
        if self._clock() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Write the list of all pictures, which names none that a disk may lose."""
        start = self._clock()
        while self._unsynced:
            with disk.open_file(self._unsynced.pop()) as file:
                disk.sync(file)
        lines = [self._lines[seed] for seed in sorted(self._lines)]
        text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
        disk.save(self._path / _LIST, text.encode())
        end = self._clock()
        self._due = end + max(_SECONDS, _SHARE * (end - start))

    def _adopt(self, seed: int) -> None:
        path = self._path / name_of(seed)
        facts = facts_in(path)
        if facts.get("job") == self._job:
            self._list(facts["sample"])
            self._unsynced.append(path)

    def _list(self, metadata: Mapping[str, Any]) -> None:
        seed = metadata["seed"]
        first = {"seed": seed, "caption": metadata["caption"]}
        self._lines[seed] = _line({**first, "image_path": name_of(seed), **metadata})


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False)


# --- what is there -----------------------------------------------------------------


def _take(path: Path, job: str) -> None:
    """Make sure that the folder is of this job, or make it so if it is of none."""
    file = path / _JOB
    if not file.exists():
        if _pictures(path) or _listed(path):
            raise InputValueError(
                f"{path} holds pictures of which nobody knows how they were made; "
                "choose another folder, or replace them with resume=False"
            )
        disk.save(file, _line({"job": job}).encode())
        return
    found = _read(file)
    theirs = found.get("job") if isinstance(found, dict) else None
    if theirs != job:
        raise InputValueError(
            f"{path} is of {tell_apart(str(theirs), job)}; choose another folder, or "
            "replace its pictures with resume=False"
        )


def _discard(path: Path) -> None:
    """Remove the pictures, in an order of which a kill leaves nothing mixed up."""
    disk.save(path / _LIST, b"[]\n")
    for seed in _pictures(path):
        (path / name_of(seed)).unlink()
    disk.remove(path / _JOB)


def _pictures(path: Path) -> set[int]:
    """Return the seeds of pictures, by their names alone."""
    found = (_PICTURE.fullmatch(file.name) for file in path.iterdir())
    return {int(x[1]) for x in found if x and name_of(int(x[1])) == x[0]}


def _listed(path: Path) -> dict[int, dict[str, Any]]:
    """Return the metadata that are listed, by seed; of a damaged list, none."""
    entries = _read(path / _LIST)
    if not isinstance(entries, list):
        return {}
    found = [each for each in entries if isinstance(each, dict)]
    return {each["seed"]: each for each in found if isinstance(each.get("seed"), int)}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
