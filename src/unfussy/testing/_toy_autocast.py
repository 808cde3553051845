"""
Autocast on the toy device: which operators run in low precision, which in float32.

The choice is CUDA's, for the operators that models meet most. Weights that were cast
are not kept for the next call.
"""

# ruff: noqa: SLF001 - torch has no public door to the autocast of other devices
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

from unfussy.testing._toy_tensor import ToyTensor

__all__ = ["register_autocast"]

_C: Final[Any] = torch._C
aten: Final[Any] = torch.ops.aten

_KEY: Final = "AutocastPrivateUse1"
_RUN_LOW: Final = """
    addbmm addmm addmv baddbmm bmm conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d.input conv_transpose3d.input linear matmul mm mv prelu
    scaled_dot_product_attention
"""
_RUN_FLOAT32: Final = """
    acos asin cosh cumprod cumsum erfinv exp expm1 group_norm layer_norm log log10
    log1p log2 log_softmax.int mse_loss norm.Scalar norm.ScalarOpt_dim
    pow.Tensor_Scalar pow.Tensor_Tensor prod reciprocal rsqrt sinh softmax.int
    softplus sum sum.dim_IntList tan
"""


def register_autocast(aten_kernels: Any, fallbacks: Any, /) -> None:
    """
    Teach the toy device autocast.

    Args:
        aten_kernels: The library of the ``aten`` namespace that keeps the kernels.
        fallbacks: The library of all namespaces, ``"_"``.
    """
    fallthrough = torch.library.fallthrough_kernel
    fallbacks.fallback(fallthrough, _KEY)
    for name in _RUN_LOW.split():
        aten_kernels.impl(name, _casting(name, _low), _KEY)
    for name in _RUN_FLOAT32.split():
        aten_kernels.impl(name, _casting(name, _float32), _KEY)


def _low() -> torch.dtype:
    return torch.get_autocast_dtype("toy")


def _float32() -> torch.dtype:
    return torch.float32


def _casting(name: str, dtype: Callable[[], torch.dtype]) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(aten, packet), overload or "default")
    autocast = _C.DispatchKeySet(_C.DispatchKey.AutocastPrivateUse1)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _C._ExcludeDispatchKeyGuard(autocast):
            args, kwargs = _cast((args, kwargs), dtype())
            return operator(*args, **kwargs)

    return kernel


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    match tree:
        case ToyTensor() if tree.is_floating_point() and tree.dtype != torch.float64:
            return tree.to(dtype)
        case list() | tuple():
            return type(tree)(_cast(child, dtype) for child in tree)
        case dict():
            return {key: _cast(child, dtype) for key, child in tree.items()}
        case _:
            return tree
