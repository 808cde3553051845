"""
Features of all faces in a folder, however many, each with its label.

The position in the folder goes to the files together with each block of features, so a
run that is killed goes on there. N features, D numbers each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from unfussy._progress import Progress
from unfussy.errors import InputValueError
from unfussy.models.adaface.face_files import Aligner, FaceFiles
from unfussy.models.adaface.folder_files import Record, store_at
from unfussy.models.adaface.folder_runs import Embedder, Rows, Run
from unfussy.models.adaface.gallery_inputs import check_count, plain_labels

__all__ = ["FolderFeatures", "extract_features_from_folder"]


@dataclass(frozen=True, slots=True, eq=False)
class FolderFeatures:
    """
    The features of a folder; unpacks to features and labels.

    Attributes:
        features: ``(N, D)``, float32, on the CPU; mapped into memory if they are in a
            file that can be.
        labels: Who is on each, strings or whole numbers.
        paths: The picture of each.
        skipped: Why other pictures have none.
    """

    features: Tensor
    labels: list[Any]
    paths: list[Path]
    skipped: dict[Path, str]

    def __iter__(self) -> Iterator[Any]:
        yield self.features
        yield self.labels

    def __str__(self) -> str:
        known = f"{len(self.labels)} faces, {len(set(self.labels))} labels"
        return f"{known}, {len(self.skipped)} pictures skipped"


def extract_features_from_folder(
    folder: str | PathLike[str],
    model: Embedder,
    batch_size: int = 32,
    *,
    out: str | PathLike[str] | None = None,
    aligner: Aligner | None = None,
    flip: bool = True,
    label: Callable[[Path], str | int] | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    resume: bool = True,
    progress: Progress = None,
) -> FolderFeatures:
    """
    Embed the faces in all pictures below a folder, in the order of their paths.

    Pictures are read as they are needed and results written as they come: with *out*,
    memory does not grow with the folder, and the same call goes on after a kill. What
    is there already is not computed again.

    Args:
        folder: Its pictures are taken, and those of folders in it; hidden ones are not.
        model: An `AdaFace`, or another with ``easy_embed`` and ``size``.
        batch_size: How many faces go through the network at once.
        out: Where results go: a folder, readable by `Gallery.load`; a ``.npy``, with
            labels in a ``.labels.json`` beside it; or one file ``.npz`` or ``.pth``
            with both. None keeps them in memory.
        aligner: An `MTCNN` that finds the face in each photo; without one, pictures
            are aligned faces already.
        flip: Whether mirrored faces are embedded too and both views fused.
        label: Names who is on a picture by its path. By default that is the folder in
            *folder* that it is in, or the file's own name if it is in none.
        on_error: Whether pictures that cannot be read or show no face are skipped and
            named in the result, or raise.
        resume: Whether to go on with what is there; else begin anew.
        progress: As in `batched`.

    Raises:
        AllItemsFailedError: If every picture was skipped.
        InputTypeError: If a label is neither string nor whole number.
        InputValueError: If there are no pictures, *out* holds something else, or, with
            ``on_error="raise"``, a picture is unusable.
        MissingExtraError: If Pillow is not installed.
    """
    check_count("batch_size", batch_size)
    if on_error not in ("skip", "raise"):
        raise InputValueError(f"on_error is 'skip' or 'raise', got {on_error!r}")
    files = FaceFiles.below(Path(folder).absolute())
    labels = _labels(files, label)
    run = Run(files, model, aligner, batch_size, flip, on_error == "raise", progress)
    if out is None:
        rows = Rows()
        run.fill(rows)
        return _result(files, run.describe(rows, "", labels), torch.cat(rows.blocks))
    job, store = run.job(), store_at(out)
    found = store.done(job) if resume else None
    if found is None:
        with store.begin(job, resume=resume) as sink:
            if not sink.is_finished:
                run.fill(sink)
                store.finish(sink)
            record = run.describe(sink, job, labels)
        store.publish(record)
    else:
        record = replace(found, labels=[labels[name] for name in found.paths])
        store.relabel(found, record)
    return _result(files, record, store.load())


def _labels(files: FaceFiles, label: Callable[[Path], Any] | None) -> dict[str, Any]:
    """Return the label of each picture by its path below the folder."""
    if label is None:
        return {name: name.split("/")[0] for name in files.names}
    return dict(zip(files.names, plain_labels([label(path) for path in files])))


def _result(files: FaceFiles, record: Record, features: Tensor) -> FolderFeatures:
    paths = [files.folder / name for name in record.paths]
    skipped = {files.folder / name: why for name, why in record.skipped.items()}
    return FolderFeatures(features, record.labels, paths, skipped)
