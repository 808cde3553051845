"""Settings of this process that make torch faster, and what they are set to."""

from __future__ import annotations

from typing import Any

import torch

from unfussy._asking import known
from unfussy._cpu import allocator

__all__ = ["process_settings"]


def process_settings(*, cuda: bool) -> dict[str, object]:
    """
    Return what speeds this process up, by name; None is a setting that is not known.

    Args:
        cuda: Whether to tell about CUDA as well.
    """
    return {
        "matmul_precision": known(torch.get_float32_matmul_precision),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "onednn": known(_onednn),
        "allocator": known(allocator),
        **(_cuda_settings() if cuda else {}),
    }


def _onednn() -> bool:
    mkldnn: Any = torch.backends.mkldnn
    return bool(mkldnn.is_available() and getattr(mkldnn, "enabled", True))


def _cuda_settings() -> dict[str, object]:
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    return {
        "tf32_matmul": _tf32(matmul, matmul),
        "tf32_convolution": _tf32(cudnn, getattr(cudnn, "conv", None)),
        "cudnn_benchmark": known(lambda: bool(cudnn.benchmark)),
        "cuda_allocator": known(torch.cuda.get_allocator_backend),
    }


def _tf32(flag: Any, operator: Any) -> bool | None:
    """Return whether an operator uses TF32, as it was set the old or the new way."""
    old = known(lambda: bool(flag.allow_tf32))
    # Torch refuses the old question once the new way was used.
    return known(lambda: operator.fp32_precision == "tf32") if old is None else old
