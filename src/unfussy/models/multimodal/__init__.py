"""
Pictures with captions from one latent: official weights, a seed in, both out.

The official code, https://github.com/Jarus77/dashverse-multimodal, has no licence, and
nothing of it is used or passed on here; neither are weights.
"""

from unfussy.models.multimodal.dataset import EngravingDataset, collate
from unfussy.models.multimodal.folders import generate_to
from unfussy.models.multimodal.generator import MultimodalGenerator, Sample
from unfussy.models.multimodal.model import MultimodalModel
from unfussy.models.multimodal.pictures import to_pictures, to_pixels
from unfussy.models.multimodal.sampling import CaptionRules, sample_caption
from unfussy.models.multimodal.tokenizer import CaptionTokenizer
from unfussy.models.multimodal.verification import Verification, verify

__all__ = [
    "CaptionRules",
    "CaptionTokenizer",
    "EngravingDataset",
    "MultimodalGenerator",
    "MultimodalModel",
    "Sample",
    "Verification",
    "collate",
    "generate_to",
    "sample_caption",
    "to_pictures",
    "to_pixels",
    "verify",
]
