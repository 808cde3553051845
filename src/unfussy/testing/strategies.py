"""
Hypothesis strategies for inputs: arrays of every kind, and trees of whatever leaves.

They need the extra ``testing``, as the rest of `unfussy.testing` does not.
"""

from unfussy.testing._arrays import LAYOUTS, array_dtypes, arrays
from unfussy.testing._trees import trees

__all__ = ["LAYOUTS", "array_dtypes", "arrays", "trees"]
