"""
Pictures and windows at other sizes, by a bilinear filter that averages.

B pictures or windows, as 8-bit levels. The results are Pillow's, bit by bit where that
is asked for, and else but for a level or two in about one pixel of a thousand.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name all of PyTorch uses
from torch import Tensor

from unfussy.models.adaface.mtcnn.boxes import sides
from unfussy.models.adaface.mtcnn.exact_resizing import resized_exactly

__all__ = ["cut_windows", "normalized", "resized"]


def resized(
    pictures: Tensor, height: int, width: int, /, *, exact: bool = False
) -> Tensor:
    """Return *pictures* ``(B, 3, H, W)``, `torch.uint8`, at another size."""
    if exact:
        return resized_exactly(pictures, height, width)
    if pictures.device.type == "cpu":
        return _interpolated(pictures, height, width)
    return _in_two_passes(pictures, height, width)


def normalized(
    pictures: Tensor, dtype: torch.dtype, /, *, exact: bool = False
) -> Tensor:
    """Return levels 0 to 255 as numbers from about -1 to 1."""
    # Colours last: pooling and small windows take a third of the time on a CPU, but
    # convolutions add up in another order.
    layout = torch.contiguous_format if exact else torch.channels_last
    return ((pictures.to(dtype) - 127.5) / 128).contiguous(memory_format=layout)


def cut_windows(
    pictures: Tensor,
    boxes: Tensor,
    owners: Tensor,
    /,
    *,
    side: int,
    exact: bool = False,
) -> Tensor:
    """
    Cut boxes out of pictures and bring them to one size; outside there is black.

    Args:
        pictures: ``(B, 3, H, W)``, `torch.uint8`.
        boxes: ``(N, 4)``, whole numbers.
        owners: ``(N,)``, which picture each box is in.
        side: S.
        exact: As in `resized`.

    Returns:
        ``(N, 3, S, S)``, `torch.uint8`.
    """
    framed = F.pad(pictures, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
    windows = pictures.new_empty(len(boxes), 3, side, side)
    sizes, group = torch.unique(sides(boxes).long(), dim=0, return_inverse=True)
    for i, (width, height) in enumerate(sizes.tolist()):
        index = (group == i).nonzero()[:, 0]
        cut = _cut(framed, boxes[index], owners[index], height, width)
        windows[index.to(windows.device)] = resized(cut, side, side, exact=exact)
    return windows


def _cut(
    framed: Tensor, boxes: Tensor, owners: Tensor, height: int, width: int
) -> Tensor:
    """Return boxes of one size as ``(N, 3, height, width)``."""
    corner = boxes[:, :2].long() + 1
    columns = corner[:, :1] + torch.arange(width)
    rows = corner[:, 1:] + torch.arange(height)
    # What is outside becomes the frame, which is black.
    columns = columns.clamp(0, framed.shape[2] - 1).to(framed.device)
    rows = rows.clamp(0, framed.shape[1] - 1).to(framed.device)
    owners = owners.to(framed.device)
    cut = framed[owners[:, None, None], rows[:, :, None], columns[:, None]]
    return cut.permute(0, 3, 1, 2)


def _interpolated(pictures: Tensor, height: int, width: int) -> Tensor:
    size = (height, width)
    return F.interpolate(pictures, size=size, mode="bilinear", antialias=True)


def _in_two_passes(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize where PyTorch knows no bytes; rounding between passes, as with bytes."""
    wide = _interpolated(pictures.float(), pictures.shape[-2], width)
    return _rounded(_interpolated(_rounded(wide), height, width)).byte()


def _rounded(levels: Tensor) -> Tensor:
    return (levels + 0.5).floor()
