"""
The weights of Img2Pose: seeded, from a state dict, from official files.

How deep and wide the network is, is read off keys and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from unfussy.errors import CheckpointError
from unfussy.models._locating import SUFFIXES, find_weights
from unfussy.models._matching import build_empty, load_strictly, own_part
from unfussy.models.img2pose.architectures import Architecture, architecture_of
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.resnet import FrozenNorm

__all__ = [
    "ADVICE",
    "architecture_in",
    "build_filled",
    "build_seeded",
    "opened",
]

ADVICE: Final = (
    "The official weights are linked from https://github.com/vitoralbiero/img2pose: "
    "download the archive and pass its path, or that of its folder or of "
    "img2pose_v1.pth"
)
_PREFIXES: Final = ("module.", "fpn_model.", "model.", "network.", "_orig_mod.")
_OLD_PYRAMID: Final = re.compile(r"(backbone\.fpn\.\w+_blocks\.\d+)\.(weight|bias)")
_LAST_LAYERS: Final = (
    "rpn.head.bbox_pred",
    "roi_heads.class_predictor.cls_score",
    "roi_heads.box_predictor.dof_pred.3",
)
_CALM: Final = 0.1
_COUNTER: Final = "num_batches_tracked"
_COUNTED: Final = "roi_heads."  # where a norm is not frozen
_STEM: Final = "backbone.body.conv1.weight"
_PYRAMID: Final = "backbone.fpn.inner_blocks.0.0.weight"
_HIDDEN: Final = "roi_heads.class_head.fc7.weight"
_UNIT: Final = re.compile(r"backbone\.body\.layer([1-4]\.\d+)\.conv1\.weight")


def build_seeded(
    depth: int | Architecture = 18, seed: int = 0, **settings: Any
) -> Img2PoseNetwork:
    """
    Return a network in eval mode, on the CPU, with weights drawn for *seed*.

    They have Kaiming's distribution, the last layers a narrower one: so boxes, scores
    and poses are moderate numbers. No global random state is touched.

    Args:
        depth: 18, 50, 101 or an `Architecture`.
        seed: Of the weights.
        **settings: As for `Img2PoseNetwork`.

    Raises:
        InputValueError: If there is no such depth.
    """
    architecture = architecture_of(depth)
    network = build_empty(lambda: Img2PoseNetwork(architecture, **settings))
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        _draw(layer, generator)
    for name in _LAST_LAYERS:
        network.get_parameter(f"{name}.weight").detach().mul_(_CALM)
    return network.eval()


def build_filled(
    state: Mapping[str, Tensor],
    /,
    source: str = "the state dict",
    **settings: Any,
) -> Img2PoseNetwork:
    """
    Return a network in eval mode, on the CPU, filled with a copy of *state*.

    Its depth and precision are those of the weights.

    Args:
        state: The weights, in any official spelling: with or without ``module.``, with
            the pyramid's old names, with counters that frozen norms do not have.
        source: What an error calls *state*.
        **settings: As for `Img2PoseNetwork`.

    Raises:
        CheckpointError: If these are not the weights of Img2Pose.
        InputTypeError: If *state* is no mapping.
    """
    own = _own_part(state)
    architecture = architecture_in(own, source)
    network = build_empty(lambda: Img2PoseNetwork(architecture, **settings))
    network = network.to(own[_STEM].dtype)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()  # num_batches_tracked may not be in the file
    title = f"Img2Pose of depth {architecture.depth}"
    load_strictly(network, own, title=title, source=source)
    return network.eval()


def architecture_in(
    state: Mapping[str, Tensor], /, source: str = "the state dict"
) -> Architecture:
    """
    Return the architecture that *state* is of.

    Raises:
        CheckpointError: If it is of none.
    """
    own = _own_part(state)
    units = _units_in(own)
    lacking = [key for key in (_STEM, _PYRAMID, _HIDDEN) if not _has_columns(own, key)]
    if lacking or not all(units):
        listed = ", ".join(map(repr, list(own)[:4])) or "nothing"
        wanted = lacking[0] if lacking else "backbone.body.layer4.0.conv1.weight"
        raise CheckpointError(
            f"{source} does not hold weights of Img2Pose: it lacks {wanted!r} and has "
            f"{listed}"
        )
    return Architecture(
        units,
        bottleneck="backbone.body.layer1.0.conv3.weight" in own,
        stem=own[_STEM].shape[0],
        channels=own[_PYRAMID].shape[0],
        hidden=own[_HIDDEN].shape[0],
    )


# --- files -------------------------------------------------------------------------


@contextmanager
def opened(path: str | PathLike[str], /) -> Iterator[Path]:
    """
    Give the file of weights that *path* means, with what belongs to it beside it.

    Args:
        path: A file; a folder, also that of the release, with ``models`` in it; the
            archive of the release, which is unpacked for as long as this is open; or
            the name of a repository on the Hugging Face Hub.

    Raises:
        CheckpointNotFoundError: If there is nothing there.
        CheckpointError: If it cannot be told which of several files is meant.
    """
    place = Path(path).expanduser()
    if place.suffix == ".zip" and place.is_file():
        with TemporaryDirectory() as folder:
            _unpack(place, Path(folder))
            yield find_weights(folder, advice=ADVICE)
    else:
        inner = place / "models"
        here = inner if inner.is_dir() and not _has_weights(place) else path
        yield find_weights(here, advice=ADVICE)


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in SUFFIXES for file in folder.iterdir())


def _unpack(archive: Path, folder: Path) -> None:
    """Write weights and arrays of *archive* straight into *folder*."""
    with ZipFile(archive) as packed:
        for item in packed.infolist():
            name = Path(item.filename).name
            if Path(name).suffix in (*SUFFIXES, ".npy"):
                (folder / name).write_bytes(packed.read(item))


# --- what was read -----------------------------------------------------------------


def _own_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = own_part(state, _PREFIXES)
    return {
        _OLD_PYRAMID.sub(r"\1.0.\2", key): tensor
        for key, tensor in own.items()
        if key.startswith(_COUNTED) or not key.endswith(_COUNTER)
    }


def _units_in(own: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    found = {match[1] for match in map(_UNIT.match, own) if match}
    first, second, third, last = (
        sum(unit.startswith(stage) for unit in found) for stage in "1234"
    )
    return first, second, third, last


def _has_columns(own: Mapping[str, Tensor], key: str) -> bool:
    return key in own and own[key].ndim > 1


# --- random weights ----------------------------------------------------------------


def _draw(layer: nn.Module, generator: torch.Generator) -> None:
    if isinstance(layer, FrozenNorm):
        # Variances halve, so that those of sums stay of one size.
        for tensor, value in zip(layer.buffers(), (0.7, 0.0, 0.0, 1.0)):
            nn.init.constant_(tensor, value)
    elif isinstance(layer, nn.BatchNorm1d):
        layer.reset_parameters()
    elif isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
