"""torchvision's compiled operators, where they load and agree with ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Operator", "fastest"]

Operator: TypeAlias = Callable[..., Tensor]
Name: TypeAlias = Literal["nms", "roi_align"]


@cache
def fastest(
    name: Name, device: str, own: Operator, trial: Callable[[], tuple[Any, ...]], /
) -> Operator:
    """
    Return torchvision's operator *name*, or *own* if there is none that agrees with it.

    torchvision is no requirement: many of its builds do not load beside the torch that
    is there. It is tried once for each *device*.

    Args:
        name: What it is called.
        device: The type of device that it is to run on.
        own: What it has to agree with, and how it is called.
        trial: Makes the arguments with which they are compared.
    """
    args = [x.to(device) if isinstance(x, Tensor) else x for x in trial()]
    try:
        theirs = _LOADERS[name]()
        found, wanted = theirs(*args), own(*args)
        agrees = found.shape == wanted.shape and torch.allclose(found, wanted)
    except Exception:  # noqa: BLE001 - a build that does not fit fails in any way
        return own
    return theirs if agrees else own


def _load_nms() -> Operator:
    nms = import_module("torchvision.ops").nms

    def sorted_nms(boxes: Tensor, threshold: float, limit: int | None) -> Tensor:
        # No two ranks are equal, so ties, which it decides anyhow, never come up.
        ranks = torch.arange(len(boxes), 0, -1, device=boxes.device)
        kept: Tensor = nms(boxes, ranks.to(boxes.dtype), threshold)
        return kept[:limit]

    return sorted_nms


def _load_roi_align() -> Operator:
    roi_align = import_module("torchvision.ops").roi_align

    def align(x: Tensor, regions: Tensor, owners: Tensor, scale: float) -> Tensor:
        owned = torch.cat((owners[:, None].to(regions.dtype), regions), 1)
        pooled: Tensor = roi_align(x, owned, 7, scale, 2)
        return pooled

    return align


_LOADERS: Final[dict[Name, Callable[[], Operator]]] = {
    "nms": _load_nms,
    "roi_align": _load_roi_align,
}
