"""
AdaFace, face recognition: official weights, easy calls.

The official code is https://github.com/mk-minchul/AdaFace, under the MIT licence. No
weights are passed on here; ``AdaFace.from_pretrained`` says what can be loaded.
"""

from unfussy.models._pictures import UnreadableImageError
from unfussy.models.adaface import align
from unfussy.models.adaface.alignment import estimate_alignment, face_template
from unfussy.models.adaface.batches import IdentityBatches
from unfussy.models.adaface.folders import (
    FolderFeatures,
    extract_features_from_folder,
)
from unfussy.models.adaface.gallery import Gallery, Matches
from unfussy.models.adaface.graph import IdentityGraph
from unfussy.models.adaface.helpers import dotdict, get_num_class
from unfussy.models.adaface.inputs import to_input
from unfussy.models.adaface.matching import QAConv
from unfussy.models.adaface.model import AdaFace, load_pretrained_model
from unfussy.models.adaface.mtcnn import MTCNN, Faces, NoFaceError
from unfussy.models.adaface.network import ARCHITECTURES, Architecture
from unfussy.models.adaface.occlusion import OcclusionAdaFace
from unfussy.models.adaface.ops import fuse_features_with_norm, l2_norm
from unfussy.models.adaface.samplers import GraphSampler, RandomIdentitySampler
from unfussy.models.adaface.warping import align_faces, warp

__all__ = [
    "ARCHITECTURES",
    "MTCNN",
    "AdaFace",
    "Architecture",
    "Faces",
    "FolderFeatures",
    "Gallery",
    "GraphSampler",
    "IdentityBatches",
    "IdentityGraph",
    "Matches",
    "NoFaceError",
    "OcclusionAdaFace",
    "QAConv",
    "RandomIdentitySampler",
    "UnreadableImageError",
    "align",
    "align_faces",
    "dotdict",
    "estimate_alignment",
    "extract_features_from_folder",
    "face_template",
    "fuse_features_with_norm",
    "get_num_class",
    "l2_norm",
    "load_pretrained_model",
    "to_input",
    "warp",
]
