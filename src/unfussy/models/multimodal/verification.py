"""Whether a folder of checkpoints can be generated from, looked at step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias

import torch

from unfussy import DeviceLike, get_device_info
from unfussy.errors import UnfussyError
from unfussy.models.multimodal.checking import checked_device
from unfussy.models.multimodal.generator import MultimodalGenerator
from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.picture_files import save_png
from unfussy.models.multimodal.tokenizer import CaptionTokenizer
from unfussy.models.multimodal.weights import read_weights

__all__ = ["Check", "Verification", "verify"]

Status: TypeAlias = Literal["ok", "warn", "fail"]

_STATUSES: Final[tuple[Status, ...]] = ("ok", "warn", "fail")
_SEED: Final = 42
_FEW: Final = 1000  # words, of which a trained vocabulary has more
_MIB, _GIB = 2**20, 2**30
_ROOM: Final = 2**29  # bytes that one picture takes, about
_PACKAGES: Final = {"torch": None, "numpy": None, "Pillow": "images"}
_TRAINING: Final = "the training writes best.pt and tokenizer.json beside each other"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.

    Attributes:
        name: What.
        status: ``"ok"``, ``"warn"`` or ``"fail"``.
        detail: What was found.
        hint: What to do about it, if there is something.
    """

    name: str
    status: Status
    detail: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.status:4}  {self.name:12} {self.detail}"
        return f"{line}\n{' ' * 19}{self.hint}" if self.hint else line


@dataclass(frozen=True, slots=True)
class Verification:
    """
    What `verify` found; prints as a list.

    Attributes:
        folder: What was verified.
        checks: In the order in which they were made. What a check that failed makes
            impossible is not among them.
    """

    folder: Path
    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.status != "fail" for check in self.checks)

    def __str__(self) -> str:
        counts = Counter(check.status for check in self.checks)
        told = ", ".join(f"{counts[status]} {status}" for status in _STATUSES)
        return "\n".join([*map(str, self.checks), f"{self.folder}: {told}"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        checks = [asdict(check) for check in self.checks]
        return {"folder": str(self.folder), "is_ok": self.is_ok, "checks": checks}


def verify(
    folder: str | PathLike[str] = "checkpoints",
    /,
    *,
    device: DeviceLike | None = None,
    save: str | PathLike[str] | None = None,
) -> Verification:
    """
    Check files, packages and device, and generate the picture of seed 42.

    Nothing that is wrong raises: it is in the result, with what to do about it.

    Args:
        folder: Where ``best.pt`` and ``tokenizer.json`` are.
        device: Where to run; by default the best device.
        save: Where the picture goes, a ``.png``. By default it is not kept.
    """
    found = _Findings(Path(folder).expanduser())
    if found.folder.is_dir():
        found.look_at_files()
    else:
        found.note("folder", "fail", "there is no such folder", _TRAINING)
    found.look_at_packages()
    place = found.look_at_device(device)
    if place is not None:
        found.generate(place, save)
    return Verification(found.folder, tuple(found.checks))


class _Findings:
    """What was found so far, and the parts that could be loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checks: list[Check] = []
        self.model: MultimodalModel | None = None
        self.tokenizer: CaptionTokenizer | None = None

    def look_at_files(self) -> None:
        with self._noting("weights", _TRAINING):
            self._read_weights()
        with self._noting("tokenizer", _TRAINING):
            self._read_tokenizer()
        if self.model is not None and self.tokenizer is not None:
            self._compare(self.model.vocab_size, self.tokenizer)

    def look_at_packages(self) -> None:
        for name, extra in _PACKAGES.items():
            try:
                self.note(name, "ok", version(name))
            except PackageNotFoundError:
                hint = f"pip install 'unfussy[{extra}]'"
                self.note(name, "fail", "not installed", hint)

    def look_at_device(self, device: DeviceLike | None) -> torch.device | None:
        place = None
        with self._noting("device", "leave out device= to take the best there is"):
            info = get_device_info()
            place = checked_device(device or info.best, None)
            self._judge(place, info.reason if place == info.best else "as asked for")
        if place is not None:
            self._look_at_memory(place)
        return place

    def generate(self, place: torch.device, save: str | PathLike[str] | None) -> None:
        if self.model is None or self.tokenizer is None:
            return
        with self._noting("generation", "the error comes from this machine or weights"):
            start = perf_counter()
            image, caption, facts = MultimodalGenerator(
                model=self.model, tokenizer=self.tokenizer, device=place
            ).generate_with_metadata(_SEED)
            seconds = perf_counter() - start
            told = f"seed {_SEED}, {image.width} x {image.height}, {seconds:.1f} s"
            if save is not None:
                file = Path(save).expanduser()
                save_png(file, image, caption, {"sample": facts})
                told += f", saved as {file}"
            self.note("generation", "ok", f"{told}: {caption!r}")

    # --- one thing at a time -------------------------------------------------------

    def _read_weights(self) -> None:
        state, file = read_weights(self.folder)
        size = Path(file).stat().st_size / _MIB
        self.note("file", "ok", f"{file}, {size:.1f} MiB")
        model = MultimodalModel.from_state_dict(state)
        broken = [key for key, x in state.items() if not bool(torch.isfinite(x).all())]
        if broken:
            hint = "the training diverged; take the checkpoint of an earlier epoch"
            told = f"{len(broken)} tensors are not finite, the first is {broken[0]}"
            self.note("weights", "fail", told, hint)
            return
        self.model = model
        count = sum(x.numel() for x in model.parameters())
        side = model.image_size
        told = (
            f"latent_dim {model.latent_dim}, {model.vocab_size} words, {side} x {side}"
        )
        self.note("weights", "ok", f"{told}, {count:,} parameters")

    def _read_tokenizer(self) -> None:
        self.tokenizer = CaptionTokenizer.from_file(self.folder / "tokenizer.json")
        count = len(self.tokenizer)
        hint = "trained vocabularies are larger; is it the file of a short trial?"
        few = count < _FEW
        status: Status = "warn" if few else "ok"
        self.note("tokenizer", status, f"{count} words", hint if few else "")

    def _compare(self, scored: int, tokenizer: CaptionTokenizer) -> None:
        if len(tokenizer) == scored:
            self.note("vocabulary", "ok", f"weights and tokenizer have {scored} words")
            return
        told = f"the weights score {scored} words, the tokenizer has {len(tokenizer)}"
        hint = "captions are right only if both are of one training"
        self.note("vocabulary", "warn", told, hint)

    def _judge(self, place: torch.device, reason: str) -> None:
        told = f"{place} ({reason})"
        if place.type == "cpu":
            hint = "a CPU takes seconds a picture, a GPU a fraction of one"
            self.note("device", "warn", told, hint)
        else:
            self.note("device", "ok", told)

    def _look_at_memory(self, place: torch.device) -> None:
        free = _free_memory(place)
        if free is None:
            return
        weights = [] if self.model is None else [*self.model.state_dict().values()]
        needed = sum(x.nbytes for x in weights) + _ROOM
        told = f"{free / _GIB:.1f} GiB free, about {needed / _GIB:.1f} needed"
        hint = "end other programs, or run on another device"
        fits = free >= needed
        self.note("memory", "ok" if fits else "warn", told, "" if fits else hint)

    def note(self, name: str, status: Status, detail: str, hint: str = "") -> None:
        self.checks.append(Check(name, status, detail, hint))

    @contextmanager
    def _noting(self, name: str, hint: str) -> Iterator[None]:
        """Make an error a check that failed."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it is reported, as all others are
            kind = (
                "" if isinstance(error, UnfussyError) else f"{type(error).__name__}: "
            )
            self.note(name, "fail", f"{kind}{error}", hint)


def _free_memory(place: torch.device) -> int | None:
    for record in get_device_info().devices:
        known = torch.device(record.name)
        if (known.type, known.index or 0) == (place.type, place.index or 0):
            return record.free_memory
    return None
