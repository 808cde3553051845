"""
Which errors say that memory ran out, and what to do before trying again.

Backends report it in a dozen ways, and some errors look alike and are not. Only
run-time and memory errors are looked at, and what caused them; a device that failed
an assertion is dead and must not be tried again.
"""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import Final, Literal, TypeAlias

import torch

__all__ = ["OomKind", "drop_frames", "is_out_of_memory", "oom_kind", "release_memory"]

OomKind: TypeAlias = Literal["definite", "suspect"]

# The words of allocators, not any sentence about memory.
_DEFINITE: Final = re.compile(
    r"\b(CUDA|HIP|XPU|MPS|NPU|MLU|MUSA)( backend)? out of memory"
    r"|\b(CUDA|HIP|SYCL|MPS|NPU|MUSA)( driver| runtime)? error: out of memory"
    r"|Triton Error \[\w+\]: out of memory"
    r"|CPUAllocator: (can't allocate|not enough) memory"  # Linux, Windows
    r"|_ALLOC(ATION)?_FAILED"  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE, cuFFT, cuRAND
    r"|OUT_OF_(DEVICE|HOST)_MEMORY"  # Level Zero
    r"|RESOURCE_EXHAUSTED: .*([Mm]emory|[Aa]llocat|reserve)"  # XLA; a quota is none
    r"|Invalid buffer size"  # MPS
)
# What a smaller chunk cures as a rule, though memory may not be what lacked.
_SUSPECT: Final = re.compile(
    r"CUDNN_STATUS_(NOT_SUPPORTED|INTERNAL_ERROR|EXECUTION_FAILED)"
    r"|CUBLAS_STATUS_NOT_INITIALIZED"
    r"|unable to find an engine|Unable to find a valid cuDNN algorithm"
    r"|could not create a (primitive|memory)"  # oneDNN
    r"|32-bit index math|canUse32BitIndexMath|more than INT_MAX"
    r"|invalid configuration argument"
)
_FATAL: Final = "device-side assert triggered"


def oom_kind(error: BaseException | None, /) -> OomKind | None:
    """
    Tell how surely *error*, or what it was raised from, says that memory ran out.

    Returns:
        ``"definite"``; ``"suspect"`` for errors that less at once cures as a rule,
        and which are worth an attempt; None for all others.

    Examples:
        >>> oom_kind(MemoryError())
        'definite'
        >>> oom_kind(RuntimeError("could not create a primitive"))
        'suspect'
        >>> oom_kind(ValueError("out of memory")) is None
        True
    """
    errors = list(_with_causes(error))
    if any(_is_fatal(each) for each in errors):
        return None
    if any(_is_definite(each) for each in errors):
        return "definite"
    return "suspect" if any(_says(_SUSPECT, each) for each in errors) else None


def is_out_of_memory(error: BaseException | None, /) -> bool:
    """Tell whether *error*, or what it was raised from, says that memory ran out."""
    return oom_kind(error) is not None


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and _FATAL in str(error)


def _is_definite(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _says(
        _DEFINITE, error
    )


def _says(words: re.Pattern[str], error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(words.search(str(error)))


# --- before the next attempt -------------------------------------------------------


def drop_frames(error: BaseException, /) -> None:
    """
    Empty the finished frames of *error*, and of the errors behind it.

    Someone may keep the error, and with it the tensors of the failed attempt: they
    are let go, the error stays readable. What the caller was handling already, before
    the attempt, is left alone.
    """
    traceback.clear_frames(error.__traceback__)
    todo, seen = [error.__cause__, error.__context__], {id(error)}
    for each in todo:
        if each is not None and id(each) not in seen and _is_over(each.__traceback__):
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            todo += [each.__cause__, each.__context__]


def _is_over(trace: TracebackType | None) -> bool:
    """Tell whether what caught an error has returned since, and empty its frame."""
    if trace is None:
        return True
    try:
        trace.tb_frame.clear()
    except RuntimeError:  # it runs: it is one of our callers
        return False
    return True


class _Collector:
    """Collects young garbage always, and all of it in a small share of the time."""

    # Looking at every object of a process with torch takes 70 ms, at the young ones
    # 0.2 ms. What an attempt makes is young, unless it ran for long: then, there is
    # time for all.
    _SHARE: Final = 0.05

    def __init__(self) -> None:
        self._next = 0.0

    def collect(self, *, thoroughly: bool) -> None:
        started = monotonic()
        if not thoroughly and started < self._next:
            gc.collect(1)
            return
        gc.collect()
        ended = monotonic()
        self._next = ended + (ended - started) / self._SHARE


_COLLECTOR: Final = _Collector()


def release_memory(*, thoroughly: bool = False) -> None:
    """
    Free what a failed attempt left behind; call it outside the except block.

    Garbage in cycles is collected and the device's cache is emptied. In a cascade of
    refusals only young garbage is looked for, most of the time: that of an attempt.

    Args:
        thoroughly: Look for all garbage, as before giving up.
    """
    _COLLECTOR.collect(thoroughly=thoroughly)
    if torch.accelerator.is_available():
        try:
            _empty_cache()
        except (AttributeError, RuntimeError):  # a backend without a cache to empty
            return


def _empty_cache() -> None:
    if hasattr(torch.accelerator, "empty_cache"):
        torch.accelerator.empty_cache()
    else:  # as before torch 2.9
        torch.get_device_module().empty_cache()
