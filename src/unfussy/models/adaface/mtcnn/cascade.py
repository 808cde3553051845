"""
The cascade: windows proposed by the first network, and sifted by the other two.

B pictures of one size, F faces in one of them. Networks run where the pictures are,
all else on the CPU. After Zhang et al., "Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks", 2016.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from unfussy import batched
from unfussy.models.adaface.mtcnn.boxes import clip, moved_by, sides, squared
from unfussy.models.adaface.mtcnn.faces import Faces
from unfussy.models.adaface.mtcnn.networks import ONet, PNet, RNet
from unfussy.models.adaface.mtcnn.resizing import cut_windows, normalized, resized
from unfussy.models.adaface.mtcnn.settings import Settings
from unfussy.models.adaface.mtcnn.windows import Windows

__all__ = ["find_faces", "pyramid"]

_CELL: Final = 12
_STRIDE: Final = 2
_OVERLAP_IN_ONE_SCALE: Final = 0.5
_WINDOWS_AT_ONCE: Final = 256


def find_faces(
    nets: tuple[PNet, RNet, ONet], pictures: Tensor, settings: Settings, /
) -> list[Faces]:
    """
    Return the faces in each of some pictures.

    Args:
        nets: The three networks, in eval mode.
        pictures: ``(B, 3, H, W)``, `torch.uint8`, red first.
        settings: Of the cascade.
    """
    pnet, rnet, onet = nets
    _, sure, very_sure = settings.thresholds
    _, after_second, after_third = settings.overlaps
    windows = _propose(pnet, pictures, settings)
    windows = _sift(rnet, pictures, windows, settings, side=24, threshold=sure)
    windows = windows.kept(after_second)
    windows = _sift(onet, pictures, windows, settings, side=48, threshold=very_sure)
    found = _placed(windows).kept(after_third, "smaller")
    return [_faces(found, i, pictures, settings) for i in range(len(pictures))]


def pyramid(height: int, width: int, settings: Settings, /) -> list[float]:
    """Return how much smaller a picture is made for each look at it."""
    scale = _CELL / settings.min_face_size
    side, scales = min(height, width) * scale, list[float]()
    while side > _CELL:
        scales.append(scale * settings.factor ** len(scales))
        side *= settings.factor
    return scales


def _propose(net: nn.Module, pictures: Tensor, settings: Settings) -> Windows:
    """Return where the first network sees faces of any size."""
    height, width = pictures.shape[-2:]
    scales = pyramid(height, width, settings)
    found = [_look(net, pictures, scale, settings) for scale in scales]
    return Windows.joined([Windows.none(), *found]).kept(settings.overlaps[0])


def _sift(
    net: nn.Module,
    pictures: Tensor,
    windows: Windows,
    settings: Settings,
    *,
    side: int,
    threshold: float,
) -> Windows:
    """Return the windows in which a network sees a face, and what it says."""
    boxes = squared(moved_by(windows.boxes, windows.outputs[:, :4]))
    real = sides(boxes).amin(1) >= 1  # corners may have crossed
    boxes, owners = boxes[real], windows.owners[real]
    cut = cut_windows(pictures, boxes, owners, side=side, exact=settings.official)
    if settings.official:
        boxes = clip(boxes, *pictures.shape[-2:])
    logits, *outputs = _judge(net, cut, exact=settings.official)
    scores = logits.softmax(1)[:, 1]
    sure = scores.gt(threshold).nonzero()[:, 0]
    seen = torch.cat([output[sure] for output in outputs], 1)
    sure = sure.cpu()
    return Windows(boxes[sure], _doubles(scores)[sure], owners[sure], _doubles(seen))


@batched(_WINDOWS_AT_ONCE, progress=False)
def _judge(net: nn.Module, windows: Tensor, *, exact: bool) -> Any:
    return net(normalized(windows, _dtype(net), exact=exact))


def _look(
    net: nn.Module, pictures: Tensor, scale: float, settings: Settings
) -> Windows:
    """Return where the first network sees faces of one size."""
    height, width = (math.ceil(side * scale) for side in pictures.shape[-2:])
    small = resized(pictures, height, width, exact=settings.official)
    logits, offsets = net(normalized(small, _dtype(net), exact=settings.official))
    scores = logits.softmax(-1 if settings.official else 1)[:, 1]  # (B, h, w)
    owners, rows, columns = scores.gt(settings.thresholds[0]).nonzero(as_tuple=True)
    seen = offsets[owners, :, rows, columns]
    corner = _doubles(torch.stack((columns, rows), 1)) * _STRIDE + 1
    boxes = torch.cat((corner, corner + _CELL), 1).div(scale).round()
    scores = _doubles(scores[owners, rows, columns])
    return Windows(boxes, scores, owners.cpu(), _doubles(seen)).kept(
        _OVERLAP_IN_ONE_SCALE
    )


def _placed(windows: Windows) -> Windows:
    """Return what the last network saw, in pixels: boxes, and landmarks as outputs."""
    boxes, (offsets, points) = windows.boxes, torch.split(windows.outputs, [4, 10], 1)
    points = points.reshape(-1, 2, 5).mT  # (N, 5, 2)
    landmarks = boxes[:, None, :2] + sides(boxes)[:, None] * points
    moved = moved_by(boxes, offsets)
    return Windows(moved, windows.scores, windows.owners, landmarks)


def _faces(found: Windows, i: int, pictures: Tensor, settings: Settings) -> Faces:
    """Return the faces in picture number *i*."""
    mine = found.at(found.owners == i)
    if not settings.official:
        mine = replace(mine, boxes=clip(mine.boxes, *pictures.shape[-2:]))
    columns = (mine.boxes, mine.scores, mine.outputs)
    return Faces(*(column.float().to(pictures.device) for column in columns))


def _dtype(net: nn.Module) -> torch.dtype:
    return next(net.parameters()).dtype


def _doubles(tensor: Tensor) -> Tensor:
    return tensor.cpu().double()
