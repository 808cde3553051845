"""
Large inputs in chunks: planned, collated, run, joined in the caller's order.

Knows tensors, trees, costs and memory, and nothing of decorators.
"""

from unfussy._batching.batch import (
    Batch,
    CostOf,
    GroupOf,
    OnError,
    Pack,
    Pad,
    Ragged,
    Size,
)
from unfussy._batching.chunks import ChunkPlan
from unfussy._batching.collate import Indices, take
from unfussy._batching.cost import CostFit, default_ratio
from unfussy._batching.draws import Draws
from unfussy._batching.executor import Done, Execution, Measures
from unfussy._batching.failures import (
    Failed,
    ItemsFailedWarning,
    Outcome,
    describe_failures,
)
from unfussy._batching.feeder import feed
from unfussy._batching.finding import find_batch
from unfussy._batching.governor import Governor
from unfussy._batching.joining import emptied, items_of, join
from unfussy._batching.layout import Layout, lay_out
from unfussy._batching.limits import Limits
from unfussy._batching.memory import Memory, PeakMeter, memory_of
from unfussy._batching.oom import (
    drop_frames,
    is_out_of_memory,
    oom_kind,
    release_memory,
)
from unfussy._batching.planner import plan
from unfussy._batching.stacking import Collation, Form, collate
from unfussy._batching.transfer import Downloader, Uploader
from unfussy._batching.unpadding import Unpadder
from unfussy._batching.windows import plan_windows
from unfussy._batching.work import Work

__all__ = [
    "Batch",
    "ChunkPlan",
    "Collation",
    "CostFit",
    "CostOf",
    "Done",
    "Downloader",
    "Draws",
    "Execution",
    "Failed",
    "Form",
    "Governor",
    "GroupOf",
    "Indices",
    "ItemsFailedWarning",
    "Layout",
    "Limits",
    "Measures",
    "Memory",
    "OnError",
    "Outcome",
    "Pack",
    "Pad",
    "PeakMeter",
    "Ragged",
    "Size",
    "Unpadder",
    "Uploader",
    "Work",
    "collate",
    "default_ratio",
    "describe_failures",
    "drop_frames",
    "emptied",
    "feed",
    "find_batch",
    "is_out_of_memory",
    "items_of",
    "join",
    "lay_out",
    "memory_of",
    "oom_kind",
    "plan",
    "plan_windows",
    "release_memory",
    "take",
]
