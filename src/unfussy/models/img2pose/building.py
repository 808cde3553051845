"""
A detector's network together with what it has to know beside the weights.

Both lie in one folder: weights, statistics of poses, and reference points.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final
from warnings import warn

import numpy as np
from torch import Tensor

from unfussy.errors import CheckpointError
from unfussy.models._checkpoints import read_state_dict
from unfussy.models._saving import save_weights
from unfussy.models.img2pose.facts import Facts
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.points import points_beside
from unfussy.models.img2pose.statistics import statistics_beside, write_statistics
from unfussy.models.img2pose.weights import (
    build_filled,
    build_seeded,
    opened,
)

__all__ = ["Parts", "build", "filled", "read", "save", "seeded"]

_CACHE: Final = "IMG2POSE_CACHE"  # where the official package unpacks the release


@dataclass(frozen=True)
class Parts:
    """
    What a detector is made of.

    Attributes:
        network: The network, in eval mode.
        facts: What goes with its weights.
    """

    network: Img2PoseNetwork
    facts: Facts = field(default_factory=Facts)


def build(
    path: str | PathLike[str] | None,
    depth: int | None,
    seed: int,
    settings: Mapping[str, Any],
    *,
    knows_poses: bool = False,
) -> Parts:
    """
    Return what the weights at *path* make; or, without any, what *seed* makes.

    Args:
        path: As for `read`; None looks where the official package keeps them.
        depth: What the weights have to be of, if that is known.
        seed: Of random weights.
        settings: Of the network.
        knows_poses: Whether the statistics of poses come from elsewhere.

    Raises:
        CheckpointError: If there are no such weights, or they are of another depth.
    """
    place = _cached() if path is None else path
    if place is not None:
        parts = read(place, settings, knows_poses=knows_poses)
        found = parts.network.architecture.depth
        if depth not in (None, found):
            raise CheckpointError(f"{place} is of depth {found}, not of {depth}")
        return parts
    warn(
        f"no weights: the network has random ones from seed {seed} and finds no faces; "
        "write model_path=, or from_config() where that is meant",
        stacklevel=3,
    )
    return seeded(18 if depth is None else depth, seed, settings)


def seeded(depth: Any, seed: int, settings: Mapping[str, Any]) -> Parts:
    """Return parts whose weights are drawn for *seed*."""
    return Parts(build_seeded(depth, seed, **settings))


def filled(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Parts:
    """Return parts with a copy of the weights *state*, and the published facts."""
    return Parts(build_filled(state, **settings))


def read(
    path: str | PathLike[str],
    settings: Mapping[str, Any],
    *,
    knows_poses: bool = False,
) -> Parts:
    """
    Return what the weights at *path* make, with what is beside them.

    Without statistics of poses there, those of the released weights are taken, with a
    warning unless they come from elsewhere.

    Raises:
        CheckpointError: If there are no such weights, or other ones.
    """
    with opened(path) as file:
        network = build_filled(read_state_dict(file), str(file), **settings)
        statistics = statistics_beside(file)
        mean, stddev = statistics or (None, None)
        facts = Facts().replaced(
            pose_mean=mean,
            pose_stddev=stddev,
            reference_points=points_beside(file),
            alignment_points=points_beside(file, 5),
        )
    if statistics is None and not knows_poses:
        warn(
            f"there are no statistics of poses (*pose_mean*.npy, *pose_stddev*.npy) "
            f"beside {path}; taking those published for the released weights. Of other "
            "weights say pose_mean= and pose_stddev=",
            stacklevel=4,
        )
    return Parts(network, facts)


def save(parts: Parts, path: str | PathLike[str], /) -> Path:
    """Write weights as safetensors, and the facts beside them; return the weights."""
    file, facts = save_weights(parts.network, path, "Img2Pose"), parts.facts
    write_statistics(file, facts.pose_mean, facts.pose_stddev)
    for points in (facts.reference_points, facts.alignment_points):
        np.save(file.parent / f"reference_3d_{len(points)}_points_trans.npy", points)
    return file


def _cached() -> Path | None:
    folder = Path(os.environ.get(_CACHE, "~/.cache/img2pose")).expanduser()
    return next(iter(sorted(folder.rglob("img2pose*.pth"))), None)
