"""The commands that build and search a gallery of faces."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from unfussy._batching.sinks import disk
from unfussy._hardware import get_best_device
from unfussy._jobs import describe_job
from unfussy._targets import make_target
from unfussy.cli.telling import readable_errors, say
from unfussy.cli.wishes import Checkpoint
from unfussy.errors import InputValueError

__all__ = ["gallery"]

_SETTINGS: Final = "build.json"
_NAMED: Final = 5  # skipped pictures that are told

gallery = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build a gallery of faces with AdaFace, and search it.",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How the features of a gallery are made, so that those of a query are made alike.

    Attributes:
        checkpoint: The weights, or None for random ones.
        architecture: Of random weights.
        align: Whether pictures are aligned faces, or photos for MTCNN.
        mtcnn_weights: Those of MTCNN, if not in the package facenet-pytorch.
    """

    checkpoint: str | None
    architecture: str
    align: Literal["none", "mtcnn"]
    mtcnn_weights: str | None


@gallery.command()
def build(
    photos: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    *,
    out: Annotated[Path, typer.Option(help="The folder of the gallery.")],
    checkpoint: Checkpoint = None,
    architecture: Annotated[
        str, typer.Option(help="Of random weights, if there is no checkpoint.")
    ] = "ir_50",
    align: Annotated[
        Literal["none", "mtcnn"],
        typer.Option(help="Pictures are aligned faces, or photos for MTCNN."),
    ] = "none",
    mtcnn_weights: Annotated[
        Path | None,
        typer.Option(help="The weights of MTCNN, if not those of facenet-pytorch."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Faces that go through the network at once.")
    ] = 32,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever is there of it.")
    ] = False,
) -> None:
    """
    Embed the faces in all pictures below PHOTOS, and write a gallery.

    A face is labelled by the folder in PHOTOS that it is in, or by its file's name.
    Features are saved as they come, and the same command goes on after a kill.
    """
    with readable_errors():
        if out.suffix:
            raise InputValueError(f"--out is a folder, whose name has no dot: {out}")
        settings = Settings(
            None if checkpoint is None else str(checkpoint.absolute()),
            architecture,
            align,
            None if mtcnn_weights is None else str(mtcnn_weights.absolute()),
        )
        typer.echo(_build(photos, out, settings, batch_size, restarts=restart))


@gallery.command()
def search(
    query: Annotated[Path, typer.Argument(help="A picture of one face.")],
    folder: Annotated[
        Path, typer.Argument(metavar="GALLERY", help="What `build` wrote.")
    ],
    *,
    top: Annotated[int, typer.Option(min=1, help="How many matches.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="A picture of the matches: .png or .jpg.")
    ] = None,
) -> None:
    """
    Print the faces of GALLERY most similar to that in QUERY, the best first.

    The face is found and embedded as those of the gallery were.
    """
    with readable_errors():
        if out is not None:
            _check_picture(out)
        if not query.is_file():
            raise InputValueError(f"there is no file {query}")
        rows = _search(query, folder, top)
        for score, label, path in rows:
            typer.echo(f"{score:.4f}  {label}  {path}")
        if out is not None:
            from unfussy.cli.sheets import draw_matches  # noqa: PLC0415 - an extra

            draw_matches(query, rows).save(out)
            say(f"{out}: the query and {len(rows)} matches")


# --- what they do ------------------------------------------------------------------


def _build(
    photos: Path, out: Path, settings: Settings, batch_size: int, *, restarts: bool
) -> str:
    from unfussy.models.adaface.folders import (  # noqa: PLC0415 - this family alone
        extract_features_from_folder,
    )

    if not photos.is_dir():
        raise InputValueError(f"there is no folder {photos}")
    model, aligner = _models(settings)
    try:
        found = extract_features_from_folder(
            photos,
            model,
            batch_size,
            out=out,
            aligner=aligner,
            resume=not restarts,
            progress=sys.stderr.isatty(),
        )
    except InputValueError as error:
        text = str(error).replace("resume=False", "--restart")
        raise InputValueError(text) from error
    disk.save(out / _SETTINGS, json.dumps(asdict(settings)).encode())
    for path, why in list(found.skipped.items())[:_NAMED]:
        say(f"skipped {path}: {why}")
    if len(found.skipped) > _NAMED:
        say(f"and {len(found.skipped) - _NAMED} more; all are in {out}/gallery.json")
    return f"{out}: {found}"


def _search(query: Path, folder: Path, top: int) -> list[tuple[float, Any, Path]]:
    from unfussy.models.adaface import Gallery  # noqa: PLC0415 - this family alone
    from unfussy.models.adaface.face_files import (  # noqa: PLC0415
        Unusable,
        read_faces,
    )

    known, (job, paths) = Gallery.load(folder), _origin(folder)
    model, aligner = _models(_read_settings(folder))
    if _weights_in(describe_job(make_target(model.easy_embed, None), [], {})) != (
        _weights_in(job)
    ):
        raise InputValueError(
            f"{folder} was built with other weights than are there now; build it again"
        )
    (face,) = read_faces(iter([query]), aligner, model.size)
    if isinstance(face, Unusable):
        raise InputValueError(f"{query}: {face.reason(query)}") from face.error
    feature = model.easy_embed(
        face[None], flip=True, channels="bgr", value_range=(-1, 1), return_numpy=True
    )
    found = known.search(feature[0], top)
    pictures = [paths[i] for i in found.indices]
    return list(zip(found.scores.tolist(), found.labels.tolist(), pictures))


def _models(settings: Settings) -> tuple[Any, Any]:
    """Return the network and what aligns faces for it, or None."""
    from unfussy.models.adaface import AdaFace  # noqa: PLC0415 - this family alone
    from unfussy.models.adaface.mtcnn import MTCNN  # noqa: PLC0415

    model: Any
    if settings.checkpoint is None:
        model = AdaFace.from_config(settings.architecture)
        say("No checkpoint: random weights. Results mean nothing.", "yellow")
    else:
        model = AdaFace.from_pretrained(settings.checkpoint)
    place, aligner = get_best_device(), None
    if settings.align == "mtcnn":
        aligner = MTCNN.from_pretrained(settings.mtcnn_weights).to(place)
    return model.to(place), aligner


def _read_settings(folder: Path) -> Settings:
    try:
        return Settings(**json.loads((folder / _SETTINGS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise _not_built(folder, error) from error


def _origin(folder: Path) -> tuple[str, list[Path]]:
    """Return what was computed for a gallery, and the pictures of its rows."""
    try:
        saved = json.loads((folder / "gallery.json").read_bytes())
        return saved["job"], [Path(saved["folder"], name) for name in saved["paths"]]
    except (OSError, ValueError, KeyError) as error:
        raise _not_built(folder, error) from error


def _weights_in(job: str) -> str:
    return next(x for x in job.split("; ") if x.startswith("weights: "))


def _not_built(folder: Path, error: Exception) -> InputValueError:
    return InputValueError(
        f"{folder} does not say how it was built ({error!r}); run `unfussy gallery "
        "build` again, which computes nothing twice"
    )


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputValueError(f"--out is a picture, .png or .jpg, got {out}")
    if not out.absolute().parent.is_dir():
        raise InputValueError(f"there is no folder {out.absolute().parent}")
