"""
Which file of weights is meant by a path, a folder or a Hub repository's name.

In a folder the rule is: files in its ``snapshots`` folder if it has one, else its
own; of several, the one of the highest epoch, as their names tell it.
"""

from __future__ import annotations

import re
import warnings
from os import PathLike
from pathlib import Path
from typing import Final

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import weights_extra

__all__ = ["SUFFIXES", "CheckpointNotFoundError", "find_weights"]

SUFFIXES: Final = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_SHOWN: Final = 4
_EPOCH: Final = re.compile(r"(?:epoch=?|_E)(\d+)")
_REPOSITORY: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no file of weights where one was looked for."""


def find_weights(
    path: str | PathLike[str],
    /,
    checkpoint: str | int | None = None,
    *,
    advice: str = "",
) -> Path:
    """
    Return the file of weights that *path* means.

    Args:
        path: A file, a folder, or ``"owner/name"`` on the Hugging Face Hub where no
            such folder is here.
        checkpoint: Of several files in a folder, the one to take, by its name or by
            its epoch.
        advice: What else to tell who has no such file.

    Raises:
        CheckpointNotFoundError: If there is nothing there.
        CheckpointError: If it cannot be told which of several files is meant.
    """
    place = Path(path).expanduser()
    if not place.exists():
        place = _fetched(str(path), advice)
    files = _weights_in(place) if place.is_dir() else [place]
    if not files:
        wanted = ", ".join("*" + suffix for suffix in SUFFIXES)
        raise CheckpointNotFoundError(
            f"no weights in {place} or in its folder snapshots; looked for {wanted} "
            f"and found {_inside(place)}. {advice}"
        )
    if checkpoint is not None:
        return _named(files, checkpoint)
    return files[0] if len(files) == 1 else _latest(files)


def _fetched(name: str, advice: str) -> Path:
    if not _REPOSITORY.fullmatch(name) or name.endswith(SUFFIXES):
        raise CheckpointNotFoundError(f"there is no file or folder {name}. {advice}")
    try:
        return Path(weights_extra("_hub").fetch(name, [f"*{end}" for end in SUFFIXES]))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointNotFoundError(
            f"there is no folder {name}, and no such repository could be fetched "
            f"from the Hugging Face Hub ({reason}). {advice}"
        ) from error


def _weights_in(folder: Path) -> list[Path]:
    snapshots = folder / "snapshots"
    chosen = snapshots if snapshots.is_dir() else folder
    return sorted(file for file in chosen.iterdir() if file.suffix in SUFFIXES)


def _inside(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"


def _named(files: list[Path], checkpoint: str | int) -> Path:
    for file in files:
        if checkpoint in (file.name, file.stem, _epoch_of(file)):
            return file
    raise CheckpointNotFoundError(f"no checkpoint {checkpoint!r} among {_names(files)}")


def _latest(files: list[Path]) -> Path:
    # Not the newest by date, which copying and unpacking change.
    latest = max(files, key=_epoch_of)
    if [_epoch_of(file) for file in files].count(_epoch_of(latest)) > 1:
        raise CheckpointError(
            f"{latest.parent} holds several files of weights, and their names do not "
            f"tell which is the last: write checkpoint= and one of {_names(files)}"
        )
    warnings.warn(
        f"{latest.parent} holds {len(files)} checkpoints; taking {latest.name}, the "
        f"one of the highest epoch. To choose, write checkpoint= and one of "
        f"{_names(files)}",
        stacklevel=5,
    )
    return latest


def _epoch_of(file: Path) -> int:
    found = _EPOCH.search(file.name)
    return int(found[1]) if found else -1


def _names(files: list[Path]) -> str:
    return ", ".join(repr(file.name) for file in files)
