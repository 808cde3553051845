"""
Proposals with poses made into faces, all of a picture at once.

K proposals, F faces. A face's box is not the proposal it was found in: it is where the
reference head is seen with the face's pose.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from unfussy.models.img2pose.boxes import boxes_around
from unfussy.models.img2pose.faces import Face
from unfussy.models.img2pose.nms import nms
from unfussy.models.img2pose.points import KEYPOINTS
from unfussy.models.img2pose.poses import (
    Floats32,
    PictureSize,
    picture_poses,
    project,
)
from unfussy.models.img2pose.raw import LOWEST_SCORE, SHORTEST, RawDetections
from unfussy.models.img2pose.rotations import Floats, Rotation, check_rotation

__all__ = ["postprocess"]

_FAR_OFF: Final = 1e6  # no pose, but what a network gives that has overflowed


def postprocess(
    raw: RawDetections,
    resized_size: PictureSize,
    original_size: PictureSize,
    /,
    *,
    pose_mean: Any,
    pose_stddev: Any,
    reference_points: Any,
    rotation: Rotation = "quaternion",
    score_threshold: float = 0.5,
    nms_threshold: float = 0.5,
    max_faces: int = -1,
) -> list[Face]:
    """
    Return the faces of one picture, the most confident first.

    Args:
        raw: What the network found, on any device.
        resized_size: Height and width of the picture that the network saw.
        original_size: Height and width of the picture that the faces are told in.
        pose_mean: ``(6,)``, the mean pose of the training set.
        pose_stddev: ``(6,)``, its standard deviation.
        reference_points: ``(68, 3)``, the reference head.
        rotation: How what is not quite a rotation becomes one.
        score_threshold: Faces less confident are dropped.
        nms_threshold: Of two boxes that overlap by more, the less confident is dropped.
        max_faces: How many faces at most; zero or less for no limit.

    Raises:
        InputValueError: If there is no such *rotation*.
    """
    check_rotation(rotation)
    points = np.asarray(reference_points, np.float32)
    proposals, scores, dofs = _kept(raw, resized_size, score_threshold)
    local = dofs * np.asarray(pose_stddev, np.float32)
    local += np.asarray(pose_mean, np.float32)
    poses = picture_poses(local, proposals, resized_size, rotation=rotation)
    boxes = _boxes(poses, points, resized_size)
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), nms_threshold)
    index = kept[: max_faces if max_faces > 0 else None].numpy()
    return _faces(
        _told_in(boxes[index], resized_size, original_size),
        scores[index],
        poses[index].astype(np.float32),
        _keypoints(poses[index].astype(np.float32), points, original_size),
    )


def _kept(
    raw: RawDetections, size: PictureSize, threshold: float
) -> tuple[Floats32, Floats32, Floats32]:
    proposals, scores, dofs = (
        x.detach().float().cpu().numpy() for x in (raw.proposals, raw.scores, raw.dofs)
    )
    proposals = np.clip(proposals, 0, np.array((*size[::-1], *size[::-1]), np.float32))
    sides = proposals[:, 2:] - proposals[:, :2]
    # Scores are single precision, and so are thresholds: 0.05 is not above 0.05.
    kept = (scores > np.float32(LOWEST_SCORE)) & (scores >= np.float32(threshold))
    kept &= (sides >= np.float32(SHORTEST)).all(-1)
    kept &= (abs(dofs) < _FAR_OFF).all(-1)  # NaN is not
    return proposals[kept], scores[kept], dofs[kept]


def _boxes(poses: Floats, points: Floats32, size: PictureSize) -> Floats32:
    height, width = size
    seen = project(points, poses, height + width, (width // 2, height // 2))
    return boxes_around(seen, poses[:, 2], size)


def _told_in(boxes: Floats32, resized: PictureSize, original: PictureSize) -> Floats32:
    """Return *boxes* of the resized picture in pixels of the original one."""
    height, width = resized
    # Of a head outside the picture, one side is still beyond the edge.
    inside = np.clip(boxes, 0, np.array((width, height, width, height), np.float32))
    ratio: Floats32 = np.divide(original, resized, dtype=np.float32)
    return inside * ratio[[1, 0, 1, 0]]


def _keypoints(poses: Floats32, points: Floats32, size: PictureSize) -> Floats:
    height, width = size
    # Half pixels for the axis here, whole ones for boxes: so does the original.
    return project(
        points[list(KEYPOINTS)], poses, height + width, (width / 2, height / 2)
    )


def _faces(*columns: Any) -> list[Face]:
    return [Face.of(*row) for row in zip(*(column.tolist() for column in columns))]
