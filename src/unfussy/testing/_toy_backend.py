"""
The registration of the toy device with torch.

It happens once a process, when the first toy device is opened, and for good.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
from torch.utils import backend_registration

from unfussy.errors import DeviceError
from unfussy.testing._toy_autocast import register_autocast
from unfussy.testing._toy_tensor import Recorder, ToyTensor

__all__ = ["Backend", "register"]

_KEY: Final = "PrivateUse1"


class Backend:
    """
    The toy device as torch sees it: `torch.toy`, and the operators that make tensors.

    Attributes:
        recorder: Who is told of new tensors; None while no toy device is open.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def is_available(self) -> bool:
        """There is always one toy device."""
        return True

    def is_initialized(self) -> bool:
        """Nothing needs initialising."""
        return True

    def device_count(self) -> int:
        """There is one toy device."""
        return 1

    def current_device(self) -> int:
        """It has the index 0."""
        return 0

    def synchronize(self, device: object = None) -> None:
        """Nothing is asynchronous."""

    def empty_cache(self) -> None:
        """Nothing is cached."""

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers come from the CPU's generator."""

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Tell `torch.autocast` what it may cast to."""
        return [torch.float16, torch.bfloat16]

    def wrap(self, payload: torch.Tensor, device: torch.device | None) -> ToyTensor:
        """Make a tensor of the open toy device."""
        if self.recorder is None:
            raise DeviceError("no toy device is open: write `with toy_device() as toy`")
        if device is not None and device.index:
            raise DeviceError(f"there is one toy device, toy:0, got {device}")
        return ToyTensor(payload, self.recorder)

    def empty(
        self,
        size: list[int],
        *,
        dtype: torch.dtype | None = None,
        layout: torch.layout | None = None,
        device: torch.device | None = None,
        pin_memory: bool | None = None,  # noqa: ARG002
        memory_format: torch.memory_format | None = None,
    ) -> ToyTensor:
        """Run ``torch.empty(..., device="toy")``."""
        payload = torch.empty(
            size,
            dtype=dtype,
            layout=layout or torch.strided,
            memory_format=memory_format or torch.contiguous_format,
            device="cpu",
        )
        return self.wrap(payload, device)

    def empty_strided(
        self,
        size: list[int],
        stride: list[int],
        *,
        dtype: torch.dtype | None = None,
        layout: torch.layout | None = None,  # noqa: ARG002
        device: torch.device | None = None,
        pin_memory: bool | None = None,  # noqa: ARG002
    ) -> ToyTensor:
        """Run ``torch.empty_strided(..., device="toy")``."""
        payload = torch.empty_strided(size, stride, dtype=dtype, device="cpu")
        return self.wrap(payload, device)


def _copy_from(source: Any, target: Any, non_blocking: Any = False) -> Any:  # noqa: FBT002
    # torch.tensor(..., device="toy") comes here: it turns off what copy_ relies on.
    return ToyTensor.__torch_dispatch__(
        torch.ops.aten.copy_.default, (), (target, source, non_blocking)
    )


@cache
def register() -> Backend:
    """
    Make ``"toy"`` a device of this process; it cannot be undone.

    Raises:
        DeviceError: If another backend has taken torch's one free place, or torch is
            too old to have one for Python.
    """
    setup = getattr(
        backend_registration, "_setup_privateuseone_for_python_backend", None
    )
    if setup is None:
        raise DeviceError(
            f"toy_device() needs a newer torch than {torch.__version__}: one with "
            "backends written in Python"
        )
    name = torch._C._get_privateuse1_backend_name()  # noqa: SLF001
    if name != "privateuseone" or hasattr(torch, name):
        raise DeviceError(
            f"torch has place for one extra device, and {name!r} is registered in it; "
            "use toy_device() in a process without that backend"
        )
    backend = Backend()
    setup("toy", backend_module=backend)
    kernels, fallbacks = _library("aten"), _library("_")
    kernels.impl("empty.memory_format", backend.empty, _KEY)
    kernels.impl("empty_strided", backend.empty_strided, _KEY)
    kernels.impl("_copy_from", _copy_from, _KEY)
    register_autocast(kernels, fallbacks)
    return backend


@cache
def _library(namespace: str) -> Any:
    # Kernels live as long as their library, hence the cache.
    library: Any = torch.library.Library
    return library(namespace, "IMPL")
