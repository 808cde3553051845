"""
Pictures out of the decoder's numbers, as the official generator makes them.

Minus one is black and one is white. What lies between is cut to a whole number, not
rounded: only exactly one is 255.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unfussy._pillow import pillow
from unfussy.errors import InputValueError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["resized", "to_pictures", "to_pixels"]


def to_pixels(images: Tensor, /) -> Tensor:
    """
    Return pictures ``(B, C, H, W)`` in [-1, 1] as ``(B, H, W, C)`` from 0 to 255.

    Examples:
        >>> row = torch.tensor([-2.0, 0.0, 0.999, 1.0])
        >>> to_pixels(row.reshape(1, 1, 1, 4)).flatten()
        tensor([  0, 127, 254, 255], dtype=torch.uint8)
    """
    if images.ndim != 4:  # noqa: PLR2004
        raise InputValueError(
            f"pictures are shaped (B, C, H, W), got {tuple(images.shape)}"
        )
    shade = ((images.float() + 1) / 2).clamp(0, 1) * 255
    return shade.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_pictures(pixels: Tensor, /) -> list[Image]:
    """
    Return ``(B, H, W, C)`` from 0 to 255 as Pillow pictures, RGB or grey.

    Raises:
        InputValueError: If there are neither one nor three channels.
        MissingExtraError: Without Pillow (extra ``images``).
    """
    channels = pixels.shape[-1]
    if channels not in (1, 3):
        raise InputValueError(f"a picture has 1 or 3 channels, got {channels}")
    shown = pixels.squeeze(-1) if channels == 1 else pixels
    return [pillow().fromarray(each) for each in shown.cpu().numpy()]


def resized(images: Tensor, size: tuple[int, int] | None, /) -> Tensor:
    """Return pictures of *size*, height and width, each pixel the mean of an area."""
    if size is None or images.shape[-2:] == size:
        return images
    return nn.functional.interpolate(images, size, mode="area")
