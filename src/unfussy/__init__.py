"""
Plain model methods, easy to call.

A model author writes pure methods. Four decorators, or `EasyInferenceMixin`, make
them take whatever the caller has, on whatever device the model lives: inputs are
converted and moved once, modes are kept and put back, precision follows a policy,
large inputs are cut into chunks, and results come in the form that was asked for.
"""

from unfussy._batched import batched
from unfussy._batching import (
    ChunkPlan,
    Failed,
    ItemsFailedWarning,
    Memory,
    Outcome,
    Pack,
    Pad,
    plan,
    plan_windows,
)
from unfussy._cores import CpuInfo
from unfussy._cpu import CpuTuning, tune_cpu
from unfussy._decorators import (
    auto_device,
    autocast_policy,
    inference,
    returns,
)
from unfussy._explain import Explanation, InputStep, explain
from unfussy._guard import MemoryGuard, MemoryThresholdWarning, memory_guard
from unfussy._hardware import (
    DeviceInfo,
    DeviceRecord,
    get_best_device,
    get_device_info,
)
from unfussy._low_copies import cast_once_memory, forget_cast_weights
from unfussy._memory_now import memory_now
from unfussy._memory_series import MemorySeries
from unfussy._mixin import EasyInferenceMixin, EasyOptions, easy
from unfussy._nonfinite import NonFiniteWarning
from unfussy._optimizing import (
    Candidate,
    CandidateResult,
    Estimate,
    OptimizationReport,
    Trial,
    load_choice,
    optimize,
    register_candidate,
)
from unfussy._options import configure, options
from unfussy._proxy import patch, unfuss
from unfussy._streams import stream
from unfussy._tree import register, tree_leaves, tree_map, tree_paths
from unfussy._types import DeviceLike, ImageLike, TensorLike
from unfussy._writing import Written, run_to
from unfussy.errors import UnfussyError

__all__ = [
    "Candidate",
    "CandidateResult",
    "ChunkPlan",
    "CpuInfo",
    "CpuTuning",
    "DeviceInfo",
    "DeviceLike",
    "DeviceRecord",
    "EasyInferenceMixin",
    "EasyOptions",
    "Estimate",
    "Explanation",
    "Failed",
    "ImageLike",
    "InputStep",
    "ItemsFailedWarning",
    "Memory",
    "MemoryGuard",
    "MemorySeries",
    "MemoryThresholdWarning",
    "NonFiniteWarning",
    "OptimizationReport",
    "Outcome",
    "Pack",
    "Pad",
    "TensorLike",
    "Trial",
    "UnfussyError",
    "Written",
    "__version__",
    "auto_device",
    "autocast_policy",
    "batched",
    "cast_once_memory",
    "configure",
    "easy",
    "explain",
    "forget_cast_weights",
    "get_best_device",
    "get_device_info",
    "inference",
    "load_choice",
    "memory_guard",
    "memory_now",
    "optimize",
    "options",
    "patch",
    "plan",
    "plan_windows",
    "register",
    "register_candidate",
    "returns",
    "run_to",
    "stream",
    "tree_leaves",
    "tree_map",
    "tree_paths",
    "tune_cpu",
    "unfuss",
]

__version__ = "0.1.0"
