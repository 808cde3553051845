"""
Faster, and proven: the candidates, the tuner that tries them, and its report.

Nothing is kept that is not measured to be faster on the user's own model, input and
machine, with results that are the same.
"""

from unfussy._optimizing.candidate import Candidate, Trial
from unfussy._optimizing.estimates import Estimate
from unfussy._optimizing.registry import register_candidate
from unfussy._optimizing.report import CandidateResult, OptimizationReport
from unfussy._optimizing.saved import load_choice
from unfussy._optimizing.tuner import optimize

__all__ = [
    "Candidate",
    "CandidateResult",
    "Estimate",
    "OptimizationReport",
    "Trial",
    "load_choice",
    "optimize",
    "register_candidate",
]
