"""
Large inputs in chunks: cut, run, joined in the caller's order.

Knows tensors, trees and memory, and nothing of decorators.
"""

from unfussy._batching.collate import cut, find_batch, join
from unfussy._batching.executor import Batch, run_in_chunks
from unfussy._batching.oom import is_out_of_memory, release_memory

__all__ = [
    "Batch",
    "cut",
    "find_batch",
    "is_out_of_memory",
    "join",
    "release_memory",
    "run_in_chunks",
]
