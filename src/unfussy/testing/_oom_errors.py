"""
The errors by which backends say that memory ran out, and errors that look alike.

Classes and texts are those of torch 2.13, its backends and NumPy. Code that recovers
from running out of memory must know all of `OOM_ERRORS`, may try `OOM_SUSPECTS` again
with less at once, and must let `OOM_LOOKALIKES` through at the first occurrence.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch

__all__ = ["OOM_ERRORS", "OOM_LOOKALIKES", "OOM_SUSPECTS", "ErrorText"]

# Younger than the oldest torch admitted; a RuntimeError too.
_ACCELERATOR_ERROR: Final[Any] = getattr(torch, "AcceleratorError", RuntimeError)
_ASYNCHRONOUS: Final = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so "
    "the stacktrace below might be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side "
    "assertions.\n"
)
_CUDA: Final = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of "
    "79.15 GiB of which 18.88 MiB is free. Including non-PyTorch memory, this process "
    "has 79.12 GiB memory in use. Of the allocated memory 78.33 GiB is allocated by "
    "PyTorch, and 305.44 MiB is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:"
    "True to avoid fragmentation."
)
_XPU: Final = (
    "XPU out of memory. Tried to allocate 64.00 GiB. GPU 0 has a total capacity of "
    "15.59 GiB. Of the allocated memory 0 bytes is allocated by PyTorch, and 0 bytes "
    "is reserved by PyTorch but unallocated."
)


@dataclass(frozen=True, slots=True)
class ErrorText:
    """
    An error as a backend words it.

    Attributes:
        kind: Makes the error from *args*: its class, as a rule.
        args: What *kind* is called with: the text, as a rule.
        cause: What it is raised from.
        context: What it is raised after, without being its consequence.
    """

    kind: Callable[..., Exception]
    args: tuple[Any, ...] = ()
    cause: ErrorText | None = None
    context: ErrorText | None = None

    def make(self) -> Exception:
        """Return a new error, ready to be raised."""
        error = self.kind(*self.args)
        if self.cause is not None:
            error.__cause__ = self.cause.make()
        if self.context is not None:
            error.__context__ = self.context.make()
        return error


def _runtime(text: str) -> ErrorText:
    return ErrorText(RuntimeError, (text,))


def _numpy_error(n_bytes: int) -> Exception:
    # NumPy's own class is private; asking for the impossible shows it.
    error = MemoryError()
    try:
        np.empty(n_bytes, np.uint8)
    except MemoryError as raised:
        error = raised
    return error.with_traceback(None)


OOM_ERRORS: Final[Mapping[str, ErrorText]] = MappingProxyType(
    {
        "cuda": ErrorText(torch.OutOfMemoryError, (_CUDA,)),
        "cuda_driver": _runtime("CUDA error: out of memory" + _ASYNCHRONOUS),
        "cuda_accelerator": ErrorText(
            _ACCELERATOR_ERROR, ("CUDA error: out of memory" + _ASYNCHRONOUS,)
        ),
        "cublas": _runtime(
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
        ),
        "cudnn": _runtime("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        "cusolver": _runtime(
            "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling "
            "`cusolverDnCreate(handle)`"
        ),
        "hip": _runtime(
            "HIP out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total "
            "capacity of 63.98 GiB of which 0 bytes is free."
        ),
        "mps": _runtime(
            "MPS backend out of memory (MPS allocated: 17.00 GB, other allocations: "
            "1.10 GB, max allowed: 18.13 GB). Tried to allocate 256.00 MB on private "
            "pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for "
            "memory allocations (may cause system failure)."
        ),
        "mps_buffer": _runtime("Invalid buffer size: 20.00 GiB"),
        "xpu": ErrorText(torch.OutOfMemoryError, (_XPU,)),
        "xpu_driver": _runtime(
            "level_zero backend failed with error: 39 "
            "(UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
        ),
        "xpu_host": _runtime(
            "level_zero backend failed with error: 38 "
            "(UR_RESULT_ERROR_OUT_OF_HOST_MEMORY)"
        ),
        "xla": _runtime(
            "RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes."
        ),
        "cpu_linux": _runtime(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
            "allocate memory: you tried to allocate 288230376151711744 bytes. Error "
            "code 12 (Cannot allocate memory)"
        ),
        "cpu_windows": _runtime(
            "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough "
            "memory: you tried to allocate 288230376151711744 bytes."
        ),
        "python": ErrorText(MemoryError),
        "numpy": ErrorText(_numpy_error, (1 << 60,)),
        "wrapped": ErrorText(
            RuntimeError,
            ("the encoder failed",),
            cause=ErrorText(torch.OutOfMemoryError, (_CUDA,)),
        ),
    }
)
"""Errors that say for certain that memory ran out, by name."""

OOM_SUSPECTS: Final[Mapping[str, ErrorText]] = MappingProxyType(
    {
        "cublas_init": _runtime(
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling "
            "`cublasCreate(handle)`"
        ),
        "cudnn_unsupported": _runtime(
            "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you "
            "passed in a non-contiguous input."
        ),
        "cudnn_internal": _runtime("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        "cudnn_execution": _runtime("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        "cudnn_algorithm": _runtime(
            "Unable to find a valid cuDNN algorithm to run convolution"
        ),
        "cudnn_engine": _runtime(
            "GET was unable to find an engine to execute this computation"
        ),
        "onednn_primitive": _runtime("could not create a primitive"),
        "onednn_memory": _runtime("could not create a memory"),
        "index_32_bit": _runtime(
            "Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to "
            "be true, but got false."
        ),
        "nonzero_int_max": _runtime(
            "nonzero is not supported for tensors with more than INT_MAX elements"
        ),
        "launch": _runtime("CUDA error: invalid configuration argument"),
    }
)
"""Errors that smaller inputs often cure, though they do not speak of memory."""

OOM_LOOKALIKES: Final[Mapping[str, ErrorText]] = MappingProxyType(
    {
        "device_assert": ErrorText(
            _ACCELERATOR_ERROR,
            ("CUDA error: device-side assert triggered" + _ASYNCHRONOUS,),
        ),
        "illegal_access": ErrorText(
            _ACCELERATOR_ERROR,
            ("CUDA error: an illegal memory access was encountered" + _ASYNCHRONOUS,),
        ),
        "shapes": _runtime("mat1 and mat2 shapes cannot be multiplied (8x3 and 4x2)"),
        "other_program": _runtime("The tile server ran out of memory. Try later."),
        "quota": _runtime("RESOURCE_EXHAUSTED: Quota exceeded for requests a minute"),
        "kernel": _runtime(
            "out of resource: shared memory, Required: 114688, Hardware limit: 101376. "
            "Reducing block sizes or `num_stages` may help."
        ),
        "shared_file": _runtime(
            "unable to mmap 64 bytes from file </torch_1_2>: Cannot allocate memory "
            "(12)"
        ),
        "value": ErrorText(ValueError, (_CUDA,)),
        "process": ErrorText(OSError, (errno.ENOMEM, "Cannot allocate memory")),
        "aftermath": ErrorText(
            RuntimeError,
            ("the report could not be written",),
            context=ErrorText(torch.OutOfMemoryError, (_CUDA,)),
        ),
    }
)
"""Errors that are no lack of memory here, by name: nothing may be tried again."""
