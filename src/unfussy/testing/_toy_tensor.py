"""
The tensors of the toy device: each hides a CPU tensor and answers for it.

Every operator runs on the hidden tensors. Mixing them with tensors of the host raises
what a real device raises; copies and new memory are reported to the device.
"""

# ruff: noqa: SLF001 - torch makes such classes of private parts
from __future__ import annotations

from typing import Any, Final, Literal, Protocol, Self, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["DEVICE", "Direction", "Recorder", "ToyTensor"]

_C: Final[Any] = torch._C
aten: Final[Any] = torch.ops.aten

DEVICE: Final = "toy:0"
Direction: TypeAlias = Literal["in", "out", "within"]

_ROOM_TO_GROW: Final = 1 << 40
_CASTS_AND_CLONES: Final = frozenset({aten._to_copy.default, aten.clone.default})
_TAKES_HOST_TENSORS: Final = frozenset(
    {
        aten.copy_.default,
        aten.index.Tensor,
        aten.index_put.default,
        aten.index_put_.default,
        aten._index_put_impl_.default,
        aten._pack_padded_sequence.default,
    }
)


class Recorder(Protocol):
    """What a toy tensor tells its device."""

    def allocated(self, payload: torch.Tensor) -> None:
        """Count the memory of *payload*, or raise if there is none left."""

    def copied(
        self, direction: Direction, copy: torch.Tensor, *, non_blocking: bool
    ) -> None:
        """Note that *copy* was made."""


class ToyTensor(torch.Tensor):
    """A tensor on the toy device; its values are in the CPU tensor ``payload``."""

    payload: torch.Tensor
    recorder: Recorder

    __torch_function__: Any = _C._disabled_torch_function_impl

    def __new__(cls, payload: torch.Tensor, recorder: Recorder) -> Self:
        """Wrap *payload* and count its memory."""
        if payload.layout is not torch.strided:
            raise NotImplementedError(
                f"the toy device holds dense tensors only, got {payload.layout}"
            )
        payload = payload.resolve_conj().resolve_neg()
        recorder.allocated(payload)
        make: Any = torch.Tensor._make_wrapper_subclass
        self: Self = make(
            cls,
            payload.shape,
            strides=payload.stride(),
            storage_offset=payload.storage_offset(),
            dtype=payload.dtype,
            device=DEVICE,
            # Operators that fill an empty tensor make it grow first.
            storage_size=payload.untyped_storage().nbytes() or _ROOM_TO_GROW,
        )
        self.payload, self.recorder = payload, recorder
        return self

    def __repr__(self) -> str:  # type: ignore[override]
        return f"toy({self.payload!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        memo[id(self)] = new = _restore(self.detach().clone(), *_traits(self))
        return new

    def __reduce_ex__(self, _: object) -> tuple[Any, ...]:
        return _restore, (self.payload.clone(), *_traits(self))

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """Refuse as other accelerators do, or copy to the host with *force*."""
        if not force:
            raise TypeError(
                f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() "
                "to copy the tensor to host memory first."
            )
        return self.detach().cpu().numpy(force=True)

    def tolist(self) -> Any:
        """Return the values as (nested lists of) numbers, copied to the host."""
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, _: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run *func* on the hidden tensors."""
        kwargs = dict(kwargs or {})
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if func not in _TAKES_HOST_TENSORS:
            _refuse_host_tensors(inputs)
        recorder = next(x.recorder for x in inputs if isinstance(x, ToyTensor))
        device = kwargs.get("device")
        goes_out = device is not None and device.type != "toy"
        if device is not None and not goes_out:
            kwargs["device"] = torch.device("cpu")
        with _C._DisableAutocast():
            result = func(*_payloads(args), **_payloads(kwargs))
        if not goes_out:
            result = _wrap(func, result, inputs, recorder)
        _report(func, args, kwargs, result, recorder)
        return result


def _traits(toy: ToyTensor) -> tuple[bool, bool]:
    return isinstance(toy, nn.Parameter), toy.requires_grad


def _restore(tensor: torch.Tensor, *traits: bool) -> torch.Tensor:
    is_parameter, requires_grad = traits
    moved = tensor.to(DEVICE)
    if is_parameter:
        return nn.Parameter(moved, requires_grad)
    return moved.requires_grad_(requires_grad)


def _payloads(tree: Any) -> Any:
    return tree_map_only(ToyTensor, lambda toy: toy.payload, tree)


def _refuse_host_tensors(inputs: list[torch.Tensor]) -> None:
    for tensor in inputs:
        if not isinstance(tensor, ToyTensor) and tensor.ndim:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two "
                f"devices, {DEVICE} and {tensor.device}!"
            )


def _wrap(
    func: Any, result: Any, inputs: list[torch.Tensor], recorder: Recorder
) -> Any:
    if func is aten._pack_padded_sequence.default:
        data, batch_sizes = result
        return ToyTensor(data, recorder), batch_sizes
    for tensor in inputs:
        if isinstance(tensor, ToyTensor):
            _follow(tensor)
    # What an operator wrote into is handed out as the very same object.
    written = {id(_payloads(tensor)): tensor for tensor in inputs}
    return tree_map_only(
        torch.Tensor,
        lambda x: written[id(x)] if id(x) in written else ToyTensor(x, recorder),
        result,
    )


def _follow(toy: ToyTensor) -> None:
    hidden = toy.payload
    if toy.shape == hidden.shape and toy.stride() == hidden.stride():
        return
    toy.recorder.allocated(hidden)
    # How torch's own wrapper classes follow unsqueeze_ and the like.
    before = _C._meta_in_tls_dispatch_include()
    with no_dispatch():
        _C._set_meta_in_tls_dispatch_include(True)  # noqa: FBT003
        try:
            offset = hidden.storage_offset()
            aten.as_strided_.default(toy, hidden.shape, hidden.stride(), offset)
        finally:
            _C._set_meta_in_tls_dispatch_include(before)


def _report(func: Any, args: Any, kwargs: Any, result: Any, recorder: Recorder) -> None:
    non_blocking = bool(kwargs.get("non_blocking", False))
    if func is aten.copy_.default:
        target, source, *rest = args
        non_blocking = bool(rest[0]) if rest else non_blocking
        direction = _direction(source, target)
        recorder.copied(direction, target, non_blocking=non_blocking)
    elif func in _CASTS_AND_CLONES:
        direction = _direction(args[0], result)
        recorder.copied(direction, result, non_blocking=non_blocking)
    elif func is aten._local_scalar_dense.default:
        recorder.copied("out", args[0], non_blocking=False)


def _direction(source: object, target: object) -> Direction:
    if not isinstance(source, ToyTensor):
        return "in"
    return "within" if isinstance(target, ToyTensor) else "out"
