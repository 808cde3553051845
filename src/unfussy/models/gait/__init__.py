"""
Gait recognition: the official models of silhouettes, body parts and skeletons.

The official weights may be used for academic purposes only and are not passed on here;
``from_pretrained`` says what can be loaded.
"""

from unfussy.models.gait.batch_config import BatchConfig
from unfussy.models.gait.deepgait import DeepGaitV2
from unfussy.models.gait.distances import distance
from unfussy.models.gait.finishing import Finish
from unfussy.models.gait.gaitbase import GaitBase
from unfussy.models.gait.model import GaitModel
from unfussy.models.gait.packed import Run, runs_of
from unfussy.models.gait.pipeline import GaitPipeline, create_optimized_pipeline
from unfussy.models.gait.preprocessing import normalize_silhouettes
from unfussy.models.gait.ranking import Ranking, Scores, evaluate, rank
from unfussy.models.gait.recognizer import GaitRecognizer
from unfussy.models.gait.skeletongait import SkeletonGaitPP
from unfussy.models.gait.walks import Preparation
from unfussy.models.gait.weights import kind_of
from unfussy.models.gait.xgait import XGait

__all__ = [
    "BatchConfig",
    "DeepGaitV2",
    "Finish",
    "GaitBase",
    "GaitModel",
    "GaitPipeline",
    "GaitRecognizer",
    "Preparation",
    "Ranking",
    "Run",
    "Scores",
    "SkeletonGaitPP",
    "XGait",
    "create_optimized_pipeline",
    "distance",
    "evaluate",
    "kind_of",
    "normalize_silhouettes",
    "rank",
    "runs_of",
]
