"""
Names for what callers may pass, written for people and read by the planner.

For type checkers all three are wide: a decorated method takes more than tensors,
and no type operator can turn a ``Tensor`` parameter into that union. At run time
`TensorLike` and `ImageLike` carry a mark, by which `auto_device` knows that a
list of numbers, or a picture, given for such an argument is meant as a tensor.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import torch

__all__ = ["IMAGE", "TENSOR", "DeviceLike", "ImageLike", "TensorLike"]

TENSOR: Final = "unfussy: converted to a tensor"
IMAGE: Final = "unfussy: a picture, converted to a tensor"

TensorLike: TypeAlias = Annotated[Any, TENSOR]
"""
A tensor, a NumPy array or a (nested) list of numbers; the method gets a tensor.

Containers of those are mapped leaf by leaf, so a list of arrays stays a list.
"""

ImageLike: TypeAlias = Annotated[Any, IMAGE]
"""
A tensor, a NumPy array or a Pillow picture; the method gets a tensor.

A picture becomes a `torch.uint8` tensor ``(3, H, W)``, red first, 0 to 255;
tensors and arrays keep their layout and range.
"""

DeviceLike: TypeAlias = torch.device | str | int
"""A device, its name (``"cuda:1"``) or its index on the current accelerator."""
