"""
Networks for gait that are only good for inference, and fast at it on a CPU.

`fast_form` makes one of a model or of its weights. It embeds sequences of any lengths
in memory that does not grow with them, also while their frames come in.
"""

from unfussy.models.gait.fast.forms import Form
from unfussy.models.gait.fast.keeping import Precision, fast_form, find_form
from unfussy.models.gait.fast.streaming import Stream

__all__ = ["Form", "Precision", "Stream", "fast_form", "find_form"]
