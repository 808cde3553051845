"""Raw masks, label maps and key points of walkers, made into what gait models take."""

from unfussy.models.gait.preprocessing.folders import SequenceFolder, read_sequences
from unfussy.models.gait.preprocessing.kept import DroppedFrame, KeptFrames
from unfussy.models.gait.preprocessing.keypoints import from_openpose, impute_keypoints
from unfussy.models.gait.preprocessing.model_inputs import cut_sides, to_model_input
from unfussy.models.gait.preprocessing.pictures import UnreadableFramesError
from unfussy.models.gait.preprocessing.quality import assess_quality, drop_poor_frames
from unfussy.models.gait.preprocessing.quality_report import (
    QualityLimits,
    QualityReport,
)
from unfussy.models.gait.preprocessing.reading import iter_frames, read_frames
from unfussy.models.gait.preprocessing.sequences import KeptSequence, normalize_sequence
from unfussy.models.gait.preprocessing.silhouettes import (
    normalize_parsing,
    normalize_silhouettes,
)
from unfussy.models.gait.preprocessing.skeletons import skeleton_maps

__all__ = [
    "DroppedFrame",
    "KeptFrames",
    "KeptSequence",
    "QualityLimits",
    "QualityReport",
    "SequenceFolder",
    "UnreadableFramesError",
    "assess_quality",
    "cut_sides",
    "drop_poor_frames",
    "from_openpose",
    "impute_keypoints",
    "iter_frames",
    "normalize_parsing",
    "normalize_sequence",
    "normalize_silhouettes",
    "read_frames",
    "read_sequences",
    "skeleton_maps",
    "to_model_input",
]
