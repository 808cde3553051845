"""
The planned call behind the detector: pictures of any sizes, in chunks of one canvas.

What a picture is beside in a chunk never changes its faces; the size of its canvas
would. So only pictures of one canvas share a chunk, which the engine sees to, and a
picture keeps the canvas that it has alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeAlias, Unpack

import torch
from torch import Tensor

from unfussy import EasyOptions, auto_device, autocast_policy, batched, easy
from unfussy.errors import UnfussyError
from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.facts import Facts
from unfussy.models.img2pose.inputs import Photo, Reading
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.postprocessing import postprocess
from unfussy.models.img2pose.raw import RawDetections
from unfussy.models.img2pose.rotations import Rotation
from unfussy.models.img2pose.transform import (
    STRIDE,
    Size,
    canvas_of,
    on_canvas,
    prepare,
    resized_size,
)

__all__ = [
    "PIXELS_AT_ONCE",
    "Detector",
    "Padding",
    "canvas_in",
    "detect_photos",
    "shared_canvas",
]

PIXELS_AT_ONCE: Final = 2.5e6
"""The most pixels of canvas in a chunk: four pictures of 640 by 864."""


Padding: TypeAlias = Literal["canvas", "shared"]
"""Whether a picture has the canvas that it needs, or one with room for all."""


class Detector(Protocol):
    """What detects: a network, and what is done before and behind it."""

    score_threshold: float
    max_faces: int
    min_size: int
    max_size: int
    nms_threshold: float
    padding: Padding
    rotation: Rotation
    facts: Facts

    @property
    def inference_module(self) -> Img2PoseNetwork: ...  # noqa: D102
    @property
    def inference_device(self) -> torch.device: ...  # noqa: D102
    @property
    def inference_dtype(self) -> torch.dtype: ...  # noqa: D102


@easy(mode="inference")
@batched(
    "auto",
    over="images",
    ragged="list",
    cost="chunk_cost",
    group="chunk_group",
    budget=PIXELS_AT_ONCE,
    join="items",
)
@autocast_policy(precision="fp32")
@auto_device(skip="images")
def detect_photos(
    detector: Detector,
    images: list[Any],
    *,
    score_threshold: float | None = None,
    max_faces: int | None = None,
    reading: Reading | None = None,
    canvas: Size | None = None,
    **_: Unpack[EasyOptions],
) -> Any:
    """Find the faces in a list of pictures."""
    reading, device = reading or Reading(), detector.inference_device
    threshold = detector.score_threshold if score_threshold is None else score_threshold
    most = detector.max_faces if max_faces is None else max_faces
    pictures = [Photo.of(x, reading).read().to(device) for x in images]
    originals = [(x.shape[-2], x.shape[-1]) for x in pictures]
    sizes = [size_in(detector, original) for original in originals]
    found = _looked_at(detector, pictures, sizes, canvas, threshold)
    return [
        _faces_in(detector, raw, size, original, threshold, most)
        for raw, size, original in zip(found, sizes, originals)
    ]


def _faces_in(  # noqa: PLR0917 - all of one picture
    detector: Detector,
    raw: RawDetections,
    size: Size,
    original: Size,
    threshold: float,
    most: int,
) -> list[Face]:
    return postprocess(
        raw,
        size,
        original,
        pose_mean=detector.facts.pose_mean,
        pose_stddev=detector.facts.pose_stddev,
        reference_points=detector.facts.reference_points,
        rotation=detector.rotation,
        score_threshold=threshold,
        nms_threshold=detector.nms_threshold,
        max_faces=most,
    )


def _looked_at(
    detector: Detector,
    pictures: list[Tensor],
    sizes: list[Size],
    canvas: Size | None,
    threshold: float,
) -> list[RawDetections]:
    """Return what the network sees in each picture."""
    canvases = [canvas or canvas_of(*size) for size in sizes]
    found: dict[int, RawDetections] = {}
    # One, unless a file has changed since its size was looked at.
    for each in dict.fromkeys(canvases):
        places = [i for i, other in enumerate(canvases) if other == each]
        ready = [prepare(pictures[i], sizes[i]) for i in places]
        batch = on_canvas(ready, each).to(detector.inference_dtype)
        raw = detector.inference_module.detect(
            batch,
            [sizes[i] for i in places],
            threshold=threshold,
        )
        found.update(zip(places, raw))
    return [found[i] for i in range(len(pictures))]


# --- sizes -------------------------------------------------------------------------


def size_in(detector: Detector, size: Size, /) -> Size:
    """Return the height and width to which *detector* resizes a picture."""
    return resized_size(*size, detector.min_size, detector.max_size)


def canvas_in(detector: Detector, image: Any, reading: Reading | None = None) -> Size:
    """
    Return the canvas that *detector* puts a picture on by itself.

    Raises:
        UnfussyError: If it cannot be read.
    """
    photo = Photo.of(image, reading or Reading())
    return canvas_of(*size_in(detector, photo.size))


def shared_canvas(detector: Detector, photos: list[Photo]) -> Size:
    """Return the least canvas that has room for all of *photos*."""
    canvases = list(_known(detector, photos)) or [(STRIDE, STRIDE)]
    height, width = (max(sides) for sides in zip(*canvases))
    return height, width


def _known(detector: Detector, photos: list[Photo]) -> Iterator[Size]:
    for photo in photos:
        with suppress(UnfussyError, FileNotFoundError):  # told when its turn comes
            yield canvas_in(detector, photo)
