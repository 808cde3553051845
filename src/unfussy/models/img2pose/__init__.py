"""
Img2Pose, faces and their six degrees of freedom: official weights, easy calls.

The official code and weights are under CC BY-NC 4.0, for non-commercial use. Neither is
passed on here.
"""

from unfussy.models._pictures import UnreadableImageError
from unfussy.models.img2pose.aligning import align_faces, align_faces_batch
from unfussy.models.img2pose.architectures import Architecture
from unfussy.models.img2pose.detector import Img2Pose
from unfussy.models.img2pose.drawing import visualize
from unfussy.models.img2pose.faces import Box, Euler, Face, Keypoints, Point, Pose
from unfussy.models.img2pose.facts import Facts
from unfussy.models.img2pose.inputs import Reading
from unfussy.models.img2pose.network import Img2PoseNetwork
from unfussy.models.img2pose.postprocessing import postprocess
from unfussy.models.img2pose.raw import RawDetections
from unfussy.models.img2pose.transform import (
    canvas_of,
    on_canvas,
    prepare,
    resized_size,
)

__all__ = [
    "Architecture",
    "Box",
    "Euler",
    "Face",
    "Facts",
    "Img2Pose",
    "Img2PoseNetwork",
    "Keypoints",
    "Point",
    "Pose",
    "RawDetections",
    "Reading",
    "UnreadableImageError",
    "align_faces",
    "align_faces_batch",
    "canvas_of",
    "on_canvas",
    "postprocess",
    "prepare",
    "resized_size",
    "visualize",
]
