"""
Faces as people have them, made into what the network takes.

The network wants blue before green before red, from -1 to 1. An image whose order or
range nobody knows is refused: a wrong guess gives embeddings that look fine and are
worse. B batch, H height, W width.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfussy._arrays import from_array, is_picture
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models._autocast import is_autocast
from unfussy.models._pictures import read_file, read_picture
from unfussy.models._ranges import BYTES, Channels, ValueRange, check_said, range_of
from unfussy.models.adaface.pixels import (
    COLOURS,
    pixels_of_array,
    pixels_of_tensor,
    scaled,
)

__all__ = ["check_inputs", "is_one_picture", "to_input", "to_inputs"]


def to_input(
    image: Any,
    /,
    *,
    channels: Channels | None = None,
    value_range: ValueRange | None = None,
    size: int = 112,
) -> Tensor:
    """
    Return one aligned face as the network takes it.

    Args:
        image: A file's path; a Pillow picture; an array ``(H, W, 3)``, ``(H, W)`` or,
            its transparency dropped, ``(H, W, 4)``; or a tensor ``(3, H, W)``. Files
            and pictures are turned as their EXIF data say, and their colours known.
        channels: The order of colours in arrays and tensors. Arrays are ``"rgb"``
            unless it is said (those of OpenCV are ``"bgr"``); of tensors it must be.
        value_range: The numbers of black and white in arrays and tensors. Of
            `numpy.uint8` and `torch.uint8` they are 0 and 255; of all others they must
            be said.
        size: The side of a face, in pixels.

    Returns:
        ``(1, 3, size, size)``, float32, blue first, -1 to 1.

    Raises:
        InputTypeError: If *image* is of a kind that cannot be read.
        InputValueError: If its size, its values or the order of its channels is not
            what it has to be, or is not known.

    Examples:
        >>> import numpy
        >>> red = numpy.zeros((112, 112, 3), numpy.uint8)
        >>> red[..., 0] = 255
        >>> to_input(red)[0, :, 0, 0]
        tensor([-1., -1.,  1.])
        >>> to_input(red[:, :64])
        Traceback (most recent call last):
        unfussy.errors.InputValueError: faces are 112 x 112 pixels, got 64 x 112; ...
    """
    check_said(channels, value_range)
    pixels = _read(image, channels, value_range, size)
    if pixels.ndim != COLOURS:
        raise InputValueError(
            f"to_input() takes one face, got {len(pixels)}; easy_embed() takes several"
        )
    return pixels.unsqueeze(0).contiguous()


def to_inputs(
    images: Any,
    /,
    *,
    channels: Channels | None,
    value_range: ValueRange | None,
    size: int,
) -> Tensor:
    """Return one or more faces as `to_input` would, ``(B, 3, size, size)``."""
    check_said(channels, value_range)
    if not isinstance(images, list):
        pixels = _read(images, channels, value_range, size)
        return pixels.reshape(-1, *pixels.shape[-3:])
    if not images:
        return torch.empty(0, COLOURS, size, size)
    faces = [
        to_input(x, channels=channels, value_range=value_range, size=size)
        for x in images
    ]
    return torch.cat([face.to(faces[0].device) for face in faces])


def is_one_picture(images: Any, /) -> bool:
    """Tell whether *images* is one file or picture, not a batch."""
    return isinstance(images, (str, PathLike)) or is_picture(images)


# --- reading -----------------------------------------------------------------------


def _read(
    image: Any, channels: Channels | None, value_range: ValueRange | None, size: int
) -> Tensor:
    """Return faces ``(3, H, W)`` or ``(B, 3, H, W)`` as the network takes them."""
    if isinstance(image, (str, PathLike)):
        pixels = read_file(image)
        _check_size(pixels, size, f"{fspath(image)}: ")
        return scaled(pixels, "rgb", BYTES)
    if is_picture(image):
        pixels, channels, value_range = read_picture(image), "rgb", BYTES
    elif isinstance(image, np.ndarray):
        pixels, channels = pixels_of_array(from_array(image)), channels or "rgb"
    elif isinstance(image, Tensor):
        pixels, channels = pixels_of_tensor(image), _said(channels)
    else:
        raise InputTypeError(_unknown(image))
    _check_size(pixels, size)
    return scaled(pixels, channels, range_of(pixels, value_range))


def _check_size(pixels: Tensor, size: int, where: str = "") -> None:
    height, width = pixels.shape[-3:-1]
    if (height, width) != (size, size):
        raise InputValueError(
            f"{where}faces are {size} x {size} pixels, got {width} x {height}; align "
            "faces first: resizing is not enough"
        )


def _said(channels: Channels | None) -> Channels:
    if channels is None:
        raise InputValueError(
            "a tensor does not tell the order of its colours: write channels='rgb' or "
            "channels='bgr'; what to_input() made goes to the model itself, or to "
            "easy_forward()"
        )
    return channels


def _unknown(image: Any) -> str:
    if image is None:
        return "None is no face: perhaps the detector has found none"
    kind = type(image).__name__
    return (
        "a face is a path, a Pillow picture, an array or a tensor, and several are a "
        f"list, an array or a tensor, got {kind}; unfussy.stream() takes any iterable"
    )


# --- inputs of the network ---------------------------------------------------------


def check_inputs(x: Any, /, size: int, dtype: torch.dtype) -> None:
    """
    Check what a network for faces of *size*, of precision *dtype*, was given.

    Raises:
        InputTypeError: If *x* is no tensor of that precision.
        InputValueError: If it is not shaped ``(B, 3, size, size)``.
    """
    if not isinstance(x, Tensor):
        raise InputTypeError(
            f"the network takes a tensor, got {type(x).__name__}; to_input() makes one "
            "of an image, and easy_embed() takes images"
        )
    # Autocast lets precisions mix.
    if x.dtype != dtype and not is_autocast(x.device.type):
        raise InputTypeError(
            f"the network takes inputs in its own {dtype}, got {x.dtype}; to_input() "
            "makes them of images"
        )
    if x.ndim != 4 or tuple(x.shape[1:]) != (COLOURS, size, size):  # noqa: PLR2004
        raise InputValueError(
            f"the network takes inputs shaped (B, 3, {size}, {size}), got "
            f"{tuple(x.shape)}; to_input() makes them of aligned faces"
        )
