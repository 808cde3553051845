"""
VPoser, a prior of human body poses: official weights, easy methods.

The official weights may be used for non-commercial purposes only and are not passed
on here; see ``from_pretrained`` for where to get them.
"""

from unfussy.models.vposer.model import VPoser
from unfussy.models.vposer.ops import axis_angle_to_matrix, matrix_to_axis_angle
from unfussy.models.vposer.prior import OfficialConfig
from unfussy.models.vposer.v1 import VPoserV1

__all__ = [
    "OfficialConfig",
    "VPoser",
    "VPoserV1",
    "axis_angle_to_matrix",
    "matrix_to_axis_angle",
]
