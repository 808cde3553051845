"""
Model families, one package each: plain networks with easy methods.

Each family documents its official source and licence. No weights are shipped.
"""

from typing import Final

__all__ = ["FAMILIES"]

FAMILIES: Final = {
    "adaface": "unfussy.models.adaface:AdaFace",
    "gait": "unfussy.models.gait:GaitRecognizer",
    "img2pose": "unfussy.models.img2pose:Img2Pose",
    "multimodal": "unfussy.models.multimodal:MultimodalModel",
    "vposer": "unfussy.models.vposer:VPoser",
}
"""Where the main class of each family is, by the name the command line takes."""
