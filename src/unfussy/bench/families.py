"""
What each family of models is measured with: models, inputs, and the plain loop.

Another family is made known with `register_family`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from unfussy.bench.alone import embed_face, embed_walk, encode_pose
from unfussy.bench.drawing import draw_faces, draw_poses, draw_walks
from unfussy.errors import InputValueError

__all__ = ["BenchmarkFamily", "find_family", "load_class", "register_family"]


@dataclass(frozen=True, slots=True)
class BenchmarkFamily:
    """
    A family of models that can be measured by its name.

    Attributes:
        name: What it is called.
        models: Where its classes are, ``package.module:Class``, by name; the first is
            measured if none is asked for. Each has ``from_config``.
        items: What its inputs are called.
        count: How many are measured if no number is given.
        method: The method that takes all of them at once.
        draw: Given a model, a number of items and a seed, returns that many: a list,
            or an array whose first dimension they are.
        standard: Given a model and one item, returns what the method returns for a
            batch of that item, in plain PyTorch. To measure memory in a process of its
            own, it has to be a function of a module.
    """

    name: str
    models: Mapping[str, str]
    items: str
    count: int
    method: str
    draw: Callable[[Any, int, int], Any]
    standard: Callable[[Any, Any], Any]


def register_family(family: BenchmarkFamily, /) -> None:
    """
    Make a family known, under its own name and those of its models.

    Raises:
        InputValueError: If one of these names is another family's, or there is no
            model.
    """
    if not family.models:
        raise InputValueError(f"the family {family.name!r} has no model")
    for name in (family.name, *family.models):
        known = _NAMES.get(name)
        if known is not None and known[0].name != family.name:
            raise InputValueError(f"{name!r} is known already, of {known[0].name!r}")
    _NAMES[family.name] = family, next(iter(family.models))
    _NAMES.update((name, (family, name)) for name in family.models)


def find_family(name: str, model: str | None = None) -> tuple[BenchmarkFamily, str]:
    """
    Return a family, and the name of one of its models.

    Args:
        name: The family's name, or that of one of its models.
        model: The model's name, if *name* is the family's.

    Raises:
        InputValueError: If there is no such family or model.
    """
    if name not in _NAMES:
        known = ", ".join(_NAMES)
        raise InputValueError(
            f"there is no family or model {name!r}; there are {known}"
        )
    family, found = _NAMES[name]
    if model is None:
        return family, found
    if model not in family.models:
        known = ", ".join(family.models)
        raise InputValueError(f"{family.name} has no model {model!r}; it has {known}")
    return family, model


def load_class(path: str) -> type[nn.Module]:
    """Return the class at ``package.module:Class``."""
    from importlib import import_module  # noqa: PLC0415 - when needed

    module, _, name = path.partition(":")
    kind: type[nn.Module] = getattr(import_module(module), name)
    return kind


_NAMES: Final[dict[str, tuple[BenchmarkFamily, str]]] = {}
_GAITS: Final = ("DeepGaitV2", "GaitBase", "SkeletonGaitPP", "XGait")

register_family(
    BenchmarkFamily(
        name="gait",
        models={name: f"unfussy.models.gait:{name}" for name in _GAITS},
        items="sequences",
        count=50,
        method="easy_embed",
        draw=draw_walks,
        standard=embed_walk,
    )
)
register_family(
    BenchmarkFamily(
        name="vposer",
        models={
            "VPoser": "unfussy.models.vposer:VPoser",
            "VPoserV1": "unfussy.models.vposer:VPoserV1",
        },
        items="poses",
        count=1000,
        method="easy_encode",
        draw=draw_poses,
        standard=encode_pose,
    )
)
register_family(
    BenchmarkFamily(
        name="adaface",
        models={"AdaFace": "unfussy.models.adaface:AdaFace"},
        items="faces",
        count=32,
        method="easy_embed",
        draw=draw_faces,
        standard=embed_face,
    )
)
