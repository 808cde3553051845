"""MTCNN, a small detector of faces and their landmarks."""

from unfussy.models.adaface.mtcnn.cropping import NoFaceError
from unfussy.models.adaface.mtcnn.faces import Faces, Which
from unfussy.models.adaface.mtcnn.model import MTCNN
from unfussy.models.adaface.mtcnn.settings import Settings

__all__ = ["MTCNN", "Faces", "NoFaceError", "Settings", "Which"]
