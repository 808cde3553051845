"""
Modes and precision of a call in the public form that torch.compile follows.

Training flags are switched for a while, in the open: locks and leases are not traced.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from unfussy._lease import has_own_train
from unfussy._modes import Modes
from unfussy._precision import Precision, Target, needs_switch

__all__ = ["autocast", "evaluated", "gradients", "switches"]


def switches(modes: Modes | None, module: nn.Module | None) -> bool:
    """Tell whether *module* has to be put into eval mode."""
    return modes is not None and modes.eval and module is not None and module.training


def evaluated(body: Callable[[], Any], module: Any) -> Any:
    """Call *body* with all of *module* in eval mode, and put every flag back."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in flags:
            _train(part, flag=False)
        return body()
    finally:
        for part, flag in flags:
            _train(part, flag=flag)
        for part, flag in flags:  # a `train` of its own may have reached it since
            part.training = flag


def _train(part: nn.Module, *, flag: bool) -> None:
    if part.training != flag and has_own_train(part):
        part.train(flag)
    if part.training != flag:
        part.training = flag


def gradients(modes: Modes | None) -> AbstractContextManager[Any]:
    """Return the context that switches gradients off, if *modes* do."""
    if modes is None:
        return nullcontext()
    if modes.mode == "inference" and modes.result == "keep":
        return torch.inference_mode()
    return torch.no_grad()  # the numbers of inference mode, in normal tensors


def autocast(
    precision: Precision, target: Target, kind: str
) -> AbstractContextManager[Any]:
    """Return the context that makes autocast *target*, where it is not so already."""
    automatic = precision.precision == "auto"
    if target is None or not needs_switch(target, kind, automatic=automatic):
        return nullcontext()
    if target is False:
        return torch.autocast(kind, enabled=False)
    return torch.autocast(kind, dtype=target)
