"""
Profiles of planned calls: where their time goes, stage by stage, and how to compare.

`profile` records what happens inside a block, `get_profiler` the whole process. Both
write reports for programs (JSON, CSV) and for people (a page with pictures).
"""

from unfussy.profiling.comparison import (
    Comparison,
    MethodComparison,
    Verdict,
    compare,
)
from unfussy.profiling.profiler import Profiler, get_profiler
from unfussy.profiling.records import CallRecord, MemorySample, Profile
from unfussy.profiling.report import Report
from unfussy.profiling.session import Session, profile
from unfussy.profiling.summary import MethodSummary

__all__ = [
    "CallRecord",
    "Comparison",
    "MemorySample",
    "MethodComparison",
    "MethodSummary",
    "Profile",
    "Profiler",
    "Report",
    "Session",
    "Verdict",
    "compare",
    "get_profiler",
    "profile",
]
