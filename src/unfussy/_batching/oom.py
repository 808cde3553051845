"""
Which errors say that memory ran out, and what to do before trying again.

Backends report it in a dozen ways, and some errors look alike and are not. Only
run-time and memory errors are looked at, and what caused them; a device that failed
an assertion is dead and must not be tried again.
"""

from __future__ import annotations

import gc
import re
from typing import Final

import torch

__all__ = ["is_out_of_memory", "release_memory"]

_SAYINGS: Final = (
    "can't allocate memory",  # the CPU allocator on Linux
    "not enough memory",  # ... and on Windows
    "_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER
    "OUT_OF_DEVICE_MEMORY",
    "OUT_OF_HOST_MEMORY",
    "RESOURCE_EXHAUSTED",
    # What a smaller chunk cures as well, though memory may not be what lacked:
    "Invalid buffer size",  # MPS
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUDNN_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
    "Unable to find a valid cuDNN algorithm",
    "could not create a primitive",  # oneDNN
    "could not create a memory",
    "32-bit index math",
    "canUse32BitIndexMath",
    "more than INT_MAX",
    "invalid configuration argument",
)
# Of CUDA and its driver, HIP, MPS, XPU; but not any sentence with these words.
_OUT_OF_MEMORY: Final = re.compile(
    r"(CUDA|HIP|XPU|MPS backend|SYCL|error:?|error \w+:?) out of memory", re.IGNORECASE
)
_FATAL: Final = "device-side assert triggered"


def is_out_of_memory(error: BaseException | None, /) -> bool:
    """Tell whether *error*, or what it was raised from, says that memory ran out."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if _says_so(error):
            return True
        error = error.__cause__
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    if not isinstance(error, RuntimeError) or _FATAL in text:
        return False
    return bool(_OUT_OF_MEMORY.search(text)) or any(each in text for each in _SAYINGS)


def release_memory() -> None:
    """Free what a failed attempt left behind; call it outside the except block."""
    gc.collect()
    if torch.accelerator.is_available():
        try:
            torch.accelerator.empty_cache()
        except (AttributeError, RuntimeError):  # a backend without a cache to empty
            return
