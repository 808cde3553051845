"""
Features of the images of a data set, by any network.

Images are read ahead and go through the network in batches; memory stays flat.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unfussy import auto_device, batched, configure, inference, stream
from unfussy._pillow import pillow
from unfussy.models.adaface.inputs import to_input

__all__ = ["features_by"]


def features_by(
    model: nn.Module,
    data_source: Any,
    img_path: str | PathLike[str] | None,
    transformer: Callable[[Any], Any] | None,
    *,
    batch_size: int,
) -> Callable[[list[int]], Tensor]:
    """
    Return a function of numbers of images that returns their features by *model*.

    Args:
        model: Called with ``(n, ...)``; of several results the first counts.
        data_source: Its items begin with an image, or with the path of one.
        img_path: The folder that paths are below.
        transformer: Makes of a picture or image what the model takes; without one,
            files are aligned faces, read as `to_input` reads them.
        batch_size: How many images go through the model at once.
    """

    def read(number: int) -> Any:
        image = data_source[number][0]
        is_file = isinstance(image, (str, Path))
        path = Path(img_path or "", image) if is_file else Path()
        if transformer is None:
            return to_input(path)[0] if is_file else image
        return transformer(_opened(path) if is_file else image)

    def features(numbers: list[int]) -> Tensor:
        method = partial(configure(_features, batch_size=batch_size), model)
        return torch.stack(list(stream(method, map(read, numbers))))

    return features


@batched(keep="cpu")
@inference
@auto_device
def _features(model: nn.Module, images: Tensor) -> Tensor:
    found = model(images)
    features: Tensor = found[0] if isinstance(found, (tuple, list)) else found
    return features.float()


def _opened(path: Path) -> Any:
    with pillow().open(path) as picture:
        return pillow("ImageOps").exif_transpose(picture).convert("RGB")
