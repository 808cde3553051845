"""
The same call as people write it without unfussy, by hand or with other libraries.

Each is a function of a model that has ``embed`` and of its input, and gives what the
easy call gives: a tensor in float32, without gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from typing import Any

import torch
from torch import nn

from tests.benchmarks.harness import Missing

__all__ = ["accelerate_ways", "eval_and_back", "helper", "lightning_ways", "stacked"]

Embed = Callable[[Any, Any], torch.Tensor]


# --- in plain PyTorch --------------------------------------------------------------


def helper(model: nn.Module, x: Any, *, precision: str = "auto") -> torch.Tensor:
    """Do everything at every call, as a helper function beside the model does."""
    device = next(model.parameters()).device
    tensor = x if torch.is_tensor(x) else torch.as_tensor(x)
    if tensor.dtype == torch.float64:
        tensor = tensor.to(torch.float32)
    tensor = tensor.to(device, non_blocking=True)
    low = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    model.eval()
    with torch.inference_mode():
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            result = model.embed(tensor)
        return result.float()


def eval_and_back(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Switch to eval mode and back; what was in eval mode before is so no more."""
    was = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model.embed(x)
    finally:
        model.train(was)


def stacked(embed: Embed, *, restores: bool) -> Embed:
    """Return *embed* under four decorators that know nothing of each other."""
    to_eval = _evaluated if restores else _untouched
    return _chunked(_cast(to_eval(_without_grad(_moved(embed)))))


def _untouched(fn: Embed) -> Embed:
    return fn


def _moved(fn: Embed) -> Embed:
    @functools.wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        device = next(self.parameters()).device
        args = tuple(_to(x, device) for x in args)
        kwargs = {name: _to(x, device) for name, x in kwargs.items()}
        return fn(self, *args, **kwargs)

    return call


def _to(x: Any, device: torch.device) -> Any:
    return x.to(device, non_blocking=True) if torch.is_tensor(x) else x


def _without_grad(fn: Embed) -> Embed:
    @functools.wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode():
            return fn(self, *args, **kwargs)

    return call


def _evaluated(fn: Embed) -> Embed:
    @functools.wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        was = self.training
        self.eval()
        try:
            return fn(self, *args, **kwargs)
        finally:
            self.train(was)

    return call


def _cast(fn: Embed) -> Embed:
    @functools.wraps(fn)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        device = next(self.parameters()).device
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            return fn(self, *args, **kwargs)

    return call


def _chunked(fn: Embed, size: int = 32) -> Embed:
    @functools.wraps(fn)
    def call(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        if len(x) <= size:
            return fn(self, x, *args, **kwargs)
        return torch.cat([fn(self, part, *args, **kwargs) for part in x.split(size)])

    return call


# --- with other libraries ----------------------------------------------------------

Way = tuple[str, Callable[[], object]]


def accelerate_ways(model: nn.Module, x: torch.Tensor) -> Iterator[Way | Missing]:
    """Yield the calls of Accelerate's users."""
    try:
        accelerate = import_module("accelerate")
    except ImportError as error:
        yield Missing("Accelerate", str(error))
        return
    send = accelerate.utils.send_to_device
    accelerator = accelerate.Accelerator(cpu=True)
    prepared, device = accelerator.prepare(model), accelerator.device

    def sent() -> torch.Tensor:
        with torch.no_grad():
            return model.embed(send(x, device))

    def prepared_and_sent() -> torch.Tensor:
        with torch.no_grad(), accelerator.autocast():
            return prepared.embed(send(x, device))

    yield "Accelerate: send_to_device, no_grad", sent
    yield "Accelerate: prepared, send_to_device, autocast, no_grad", prepared_and_sent


def lightning_ways(model: nn.Module, x: torch.Tensor) -> Iterator[Way | Missing]:
    """Yield the calls of the users of Lightning Fabric, in float32 and bfloat16."""
    try:
        lightning = import_module("lightning")
        apply_func = import_module("lightning.fabric.utilities.apply_func")
    except ImportError as error:
        yield Missing("Lightning Fabric", str(error))
        return
    move, make = apply_func.move_data_to_device, lightning.Fabric
    full = make(accelerator="cpu", devices=1, precision="32-true")
    mixed = make(accelerator="cpu", devices=1, precision="bf16-mixed")
    way = "move_data_to_device, autocast"
    yield f"Fabric 32-true: {way}", _in_autocast(full, move, model, x)
    yield "Fabric 32-true: set up, to_device", _set_up(full, model, x)
    # Set up, it would run methods other than forward in float32.
    yield f"Fabric bf16-mixed: {way}", _in_autocast(mixed, move, model, x)


def _in_autocast(
    fabric: Any, move: Callable[..., Any], model: nn.Module, x: torch.Tensor
) -> Callable[[], torch.Tensor]:
    device = torch.device("cpu")

    def run() -> torch.Tensor:
        with torch.inference_mode():
            with fabric.autocast():
                result = model.embed(move(x, device))
            return result.float()

    return run


def _set_up(
    fabric: Any, model: nn.Module, x: torch.Tensor
) -> Callable[[], torch.Tensor]:
    wrapped = fabric.setup(deepcopy(model))
    wrapped.mark_forward_method("embed")

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return wrapped.embed(fabric.to_device(x))

    return run
