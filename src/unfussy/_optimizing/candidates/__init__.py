"""The candidates of unfussy itself, each a small class in a file of its kind."""

from __future__ import annotations

from typing import Final

from unfussy._optimizing.candidate import Candidate
from unfussy._optimizing.candidates.batches import BatchSize
from unfussy._optimizing.candidates.compiling import Compile, CompileMaxAutotune
from unfussy._optimizing.candidates.layouts import ChannelsLast
from unfussy._optimizing.candidates.norms import FoldNorms
from unfussy._optimizing.candidates.precisions import (
    Autocast,
    CastOnce,
    LowPrecisionWeights,
)
from unfussy._optimizing.candidates.process import (
    TF32,
    Allocator,
    CudnnBenchmark,
    Threads,
)

__all__ = ["BUILT_IN"]

BUILT_IN: Final[tuple[type[Candidate], ...]] = (
    Autocast,
    Allocator,
    ChannelsLast,
    FoldNorms,
    LowPrecisionWeights,
    CastOnce,
    TF32,
    CudnnBenchmark,
    BatchSize,
    Threads,
    Compile,
    CompileMaxAutotune,
)
"""In the order to try: what changes most first, what takes long to try last."""
