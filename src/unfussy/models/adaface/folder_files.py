"""
Features of a folder on disk, each beside the name of its picture.

An array and the file that says who is on it cannot be replaced at once. So the latter
is removed before the array is replaced, and written after it: whenever a run is killed,
no label is left beside features of another picture. N features, D numbers each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unfussy._batching.sinks import Sink, disk, open_sink
from unfussy._batching.sinks.jobs import tell_apart
from unfussy.errors import InputValueError
from unfussy.models.adaface.gallery_files import LABELS
from unfussy.models.adaface.searching import row_norms

__all__ = ["Record", "Store", "store_at"]


@dataclass(frozen=True, slots=True)
class Record:
    """
    What is written beside features.

    Attributes:
        job: What was computed.
        folder: Where the pictures are.
        labels: Who is on each picture that has a feature.
        paths: These pictures, below the folder.
        skipped: Why others have none, by their paths below the folder.
    """

    job: str
    folder: str
    labels: list[Any]
    paths: list[str]
    skipped: dict[str, str]


class ArrayStore:
    """
    Features in a ``.npy``, and the record in a file of JSON.

    Args:
        array: Where the features go.
        record: Where the record goes.
        norms: Where the lengths of features go, as a `Gallery` has them, or None.
    """

    def __init__(self, array: Path, record: Path, norms: Path | None = None) -> None:
        self.array, self._record, self._norms = array, record, norms

    def done(self, job: str) -> Record | None:  # noqa: ARG002 - as others have it
        """Return None: only the sink knows whether the array is that of *job*."""
        return None

    def begin(self, job: str, *, resume: bool) -> Sink:
        """
        Return where features go.

        Raises:
            InputValueError: If there is something else already.
        """
        if resume and self._record.exists() and "job" not in self._saved():
            raise InputValueError(
                f"{self._record} is there already, and nothing says of which job; "
                "write to another path, or replace it with resume=False"
            )
        self.array.parent.mkdir(parents=True, exist_ok=True)
        return open_sink(self.array, job=job, resume=resume)

    def finish(self, sink: Sink) -> None:
        """Let the array appear, without the record of another one."""
        disk.remove(self._record)
        sink.finish()

    def publish(self, record: Record) -> None:
        """Write the record of the array that is there, if there is another one."""
        names = {"features": self.array.name}
        if self._norms is not None:
            names["norms"] = self._norms.name
        content = {**names, **asdict(record)}
        if self._saved() == content:
            return
        if self._norms is not None:
            norms = row_norms(_mapped(self.array).numpy())
            _replace(self._norms, lambda file: np.save(file, norms))
        text = json.dumps(content, ensure_ascii=False)
        disk.save(self._record, text.encode())

    def relabel(self, old: Record, new: Record) -> None:
        """Write the record *new* in place of *old*."""
        if old != new:
            self.publish(new)

    def load(self) -> Tensor:
        """Return the features, mapped into memory."""
        return _mapped(self.array)

    def _saved(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads(self._record.read_bytes()))
        return {}


class ArchiveStore:
    """
    Features and their record in one file, ``.npz``, ``.pth`` or ``.pt``.

    Until it is whole, features go to an array beside it.

    Args:
        path: Where the file goes.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._array = path, disk.beside(path, ".features.npy")
        self._write, self._read = _ARCHIVES[path.suffix]

    def done(self, job: str) -> Record | None:
        """
        Return the record of the file that is there, or None.

        Raises:
            InputValueError: If the file is not of *job*.
        """
        if not self._path.exists():
            return None
        record = self._record()
        if record.job != job:
            other = tell_apart(record.job, job)
            raise InputValueError(
                f"{self._path} is the result of {other}; delete it, write to another "
                "path, or replace it with resume=False"
            )
        return record

    def begin(self, job: str, *, resume: bool) -> Sink:
        """Return where features go."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return open_sink(self._array, job=job, resume=resume)

    def finish(self, sink: Sink) -> None:
        """Let the array appear, from which the file is made."""
        sink.finish()

    def publish(self, record: Record) -> None:
        """Make the file of the array that is there, and remove the array."""
        features = _mapped(self._array)
        _replace(self._path, lambda file: self._write(file, features, record))
        for suffix in ("", ".job", ".failures.jsonl"):
            # Some systems do not remove a file that is still mapped.
            with suppress(OSError):
                disk.remove(disk.beside(self._array, suffix))

    def relabel(self, old: Record, new: Record) -> None:
        """Write the record *new* in place of *old*."""
        # Not from the array: what is left of it may be of another job.
        if old != new:
            features = self.load().clone()
            _replace(self._path, lambda file: self._write(file, features, new))

    def load(self) -> Tensor:
        """Return the features."""
        features: Tensor = self._read(self._path)["features"]
        return features

    def _record(self) -> Record:
        try:
            return Record(**json.loads(self._read(self._path)["record"]))
        except Exception as error:
            raise InputValueError(
                f"{self._path} holds no features of a folder ({error!r}); delete it, "
                "write to another path, or replace it with resume=False"
            ) from error


Store: TypeAlias = ArrayStore | ArchiveStore


def store_at(path: str | PathLike[str], /) -> Store:
    """
    Return what writes features and their record to *path*.

    Raises:
        InputValueError: If its suffix is of no known kind.
    """
    place = Path(path).absolute()
    if not place.suffix:
        files = (place / name for name in ("features.npy", LABELS, "norms.npy"))
        return ArrayStore(*files)
    if place.suffix == ".npy":
        return ArrayStore(place, place.with_suffix(".labels.json"))
    if place.suffix in _ARCHIVES:
        return ArchiveStore(place)
    known = ", ".join([".npy", *_ARCHIVES])
    raise InputValueError(f"features go to a folder or to {known}, got {path}")


# --- files -------------------------------------------------------------------------


def _write_npz(file: BinaryIO, features: Tensor, record: Record) -> None:
    np.savez(
        file,
        features=features.numpy(),
        labels=_of_one_kind(record.labels),
        paths=np.array(record.paths, dtype=np.str_),
        record=np.array(json.dumps(asdict(record))),
    )


def _read_npz(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        features = torch.from_numpy(arrays["features"])
        return {"features": features, "record": arrays["record"].item()}


def _write_pth(file: BinaryIO, features: Tensor, record: Record) -> None:
    known = {"labels": record.labels, "paths": record.paths}
    text = json.dumps(asdict(record))
    torch.save({"features": features, **known, "record": text}, file)


def _read_pth(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = torch.load(path, weights_only=True, mmap=True)
    return found


_Writer: TypeAlias = Callable[[BinaryIO, Tensor, Record], None]
_Reader: TypeAlias = Callable[[Path], Mapping[str, Any]]
_ARCHIVES: Final[dict[str, tuple[_Writer, _Reader]]] = {
    ".npz": (_write_npz, _read_npz),
    ".pth": (_write_pth, _read_pth),
    ".pt": (_write_pth, _read_pth),
}


def _of_one_kind(labels: Iterable[Any]) -> Any:
    if all(isinstance(label, int) for label in labels):
        return np.array(labels, dtype=np.int64)
    return np.array(list(map(str, labels)), dtype=np.str_)


def _mapped(path: Path) -> Tensor:
    # Copied on write: torch takes no array that cannot be written to.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    part = disk.beside(path, ".tmp")
    with part.open("wb") as file:
        write(file)
        file.flush()
    with disk.open_file(part) as whole:
        disk.sync(whole)
    disk.move(part, path)
