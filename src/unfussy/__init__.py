"""
Plain model methods, easy to call.

A model author writes pure methods. Four decorators, or `EasyInferenceMixin`, make
them take whatever the caller has, on whatever device the model lives: inputs are
converted and moved once, modes are kept and put back, precision follows a policy,
large inputs are cut into chunks, and results come in the form that was asked for.
"""

from unfussy._batching import (
    ChunkPlan,
    Failed,
    ItemsFailedWarning,
    Outcome,
    Pack,
    Pad,
    plan,
    plan_windows,
)
from unfussy._cpu import CpuTuning, tune_cpu
from unfussy._decorators import (
    auto_device,
    autocast_policy,
    batched,
    inference,
    returns,
)
from unfussy._explain import Explanation, InputStep, explain
from unfussy._hardware import (
    DeviceInfo,
    DeviceRecord,
    get_best_device,
    get_device_info,
)
from unfussy._mixin import EasyInferenceMixin, EasyOptions, easy
from unfussy._options import configure, options
from unfussy._proxy import patch, unfuss
from unfussy._streams import stream
from unfussy._tree import register, tree_leaves, tree_map, tree_paths
from unfussy._types import DeviceLike, ImageLike, TensorLike
from unfussy._writing import Written, run_to
from unfussy.errors import UnfussyError

__all__ = [
    "ChunkPlan",
    "CpuTuning",
    "DeviceInfo",
    "DeviceLike",
    "DeviceRecord",
    "EasyInferenceMixin",
    "EasyOptions",
    "Explanation",
    "Failed",
    "ImageLike",
    "InputStep",
    "ItemsFailedWarning",
    "Outcome",
    "Pack",
    "Pad",
    "TensorLike",
    "UnfussyError",
    "Written",
    "__version__",
    "auto_device",
    "autocast_policy",
    "batched",
    "configure",
    "easy",
    "explain",
    "get_best_device",
    "get_device_info",
    "inference",
    "options",
    "patch",
    "plan",
    "plan_windows",
    "register",
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
