"""
A run through the faces of a folder, from wherever the last one came to.

A block of features goes to the sink together with the position in the folder, so the
two never part. N features, D numbers each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import Tensor

from unfussy._batching.sinks import Sink
from unfussy._jobs import describe_job
from unfussy._progress import Progress, Tick, ticker
from unfussy._targets import make_target
from unfussy.errors import AllItemsFailedError, InputValueError
from unfussy.models.adaface.face_files import Aligner, FaceFiles, Unusable, read_faces
from unfussy.models.adaface.folder_files import Record

__all__ = ["Embedder", "Rows", "Run"]

_NAME: Final = "extract_features_from_folder()"


class Embedder(Protocol):
    """What makes features of faces, such as an ``AdaFace``."""

    size: int

    def easy_embed(self, images: Any, /, **options: Any) -> Any:
        """Return the features of faces ``(B, 3, size, size)``, ``(B, D)``."""
        ...


@dataclass(slots=True)
class Rows:
    """
    A sink in memory.

    Attributes:
        blocks: Features, in order.
        failures: Why pictures gave none, by their index.
        position: How many pictures are done.
    """

    blocks: list[Tensor] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    position: int = 0

    @property
    def rows(self) -> int:
        """How many features there are."""
        return sum(map(len, self.blocks))

    def write(self, block: Tensor, position: int) -> None:
        """Take features of pictures before *position*."""
        self.blocks.append(block)
        self.position = position

    def skip(self, position: int) -> None:
        """Note that pictures up to *position* gave no more features."""
        self.position = position

    def fail(self, index: int, text: str) -> None:
        """Note why a picture gives none."""
        self.failures[index] = text


_Sink: TypeAlias = Sink | Rows
_Face: TypeAlias = Tensor | Unusable


@dataclass(frozen=True, slots=True)
class Run:
    """
    What is computed, and how.

    Attributes:
        files: The pictures.
        model: What makes features of faces.
        aligner: What finds the faces, if pictures are no aligned faces.
        batch_size: How many faces go through the network at once.
        flip: Whether mirrored faces are embedded too.
        raises: Whether a picture that is unusable raises.
        progress: As in `batched`.
    """

    files: FaceFiles
    model: Embedder
    aligner: Aligner | None
    batch_size: int
    flip: bool
    raises: bool
    progress: Progress

    def job(self) -> str:
        """Return a line that tells this computation from others."""
        settings = getattr(self.aligner, "settings", None)
        shared = {"flip": self.flip, "aligner": self.aligner, "found_by": settings}
        return describe_job(
            make_target(self.model.easy_embed, None), self.files, shared
        )

    def fill(self, sink: _Sink) -> None:
        """
        Embed what is missing in *sink*.

        Raises:
            AllItemsFailedError: If it then has no features at all.
            InputValueError: If a picture is unusable, and that raises.
        """
        start, total = sink.position, len(self.files)
        paths = map(self.files.__getitem__, range(start, total))
        faces = read_faces(paths, self.aligner, self.model.size)
        with ticker(self.progress, total=total, label=_NAME) as tick, closing(faces):
            tick(start)
            self._fill(sink, faces, tick)
        if not sink.rows:
            first = next(iter(sink.failures))
            raise AllItemsFailedError(
                f"{_NAME}: none of {total} pictures gave features; the first is "
                f"{self.files[first]}: {sink.failures[first]}"
            )

    def _fill(self, sink: _Sink, faces: Iterable[_Face], tick: Tick) -> None:
        for group in _grouped(faces, self.batch_size):
            start = sink.position
            embedded = self._embedded([x for x in group if isinstance(x, Tensor)])
            found = [x if isinstance(x, Unusable) else next(embedded) for x in group]
            for i, row in enumerate(found, start):
                if isinstance(row, Unusable):
                    self._note(sink, i, row)
            if rows := [row for row in found if isinstance(row, Tensor)]:
                sink.write(torch.stack(rows), start + len(group))
            else:
                sink.skip(start + len(group))
            tick(len(group))

    def _embedded(self, faces: list[Tensor]) -> Iterator[_Face]:
        if not faces:
            return
        features = self.model.easy_embed(
            torch.stack(faces),
            flip=self.flip,
            channels="bgr",
            value_range=(-1, 1),
            batch_size=self.batch_size,
            progress=False,
        )
        for row in features.detach().float().cpu():
            yield row if row.isfinite().all() else Unusable(_NOT_FINITE)

    def _note(self, sink: _Sink, index: int, face: Unusable) -> None:
        path = self.files[index]
        if self.raises:
            reason = f"{path}: {face.reason(path)}"
            raise InputValueError(reason) from face.error
        sink.fail(index, face.reason(path))

    def describe(self, sink: _Sink, job: str, labels: dict[str, Any]) -> Record:
        """Return what is to be written beside the features in *sink*."""
        names, failures = self.files.names, sink.failures
        paths = [name for i, name in enumerate(names) if i not in failures]
        skipped = {names[i]: why for i, why in failures.items()}
        found = [labels[name] for name in paths]
        return Record(job, str(self.files.folder), found, paths, skipped)


_NOT_FINITE = InputValueError("the network gives no finite features for it")


def _grouped(faces: Iterable[_Face], batch_size: int) -> Iterator[list[_Face]]:
    """Yield pictures together that have *batch_size* faces, or few for long."""
    group: list[_Face] = []
    n = 0
    for face in faces:
        group.append(face)
        n += isinstance(face, Tensor)
        if n == batch_size or len(group) == 4 * batch_size:
            yield group
            group, n = [], 0
    if group:
        yield group
