"""
Layers that compute with weights prepared beside their own.

A `Prepared` stands as ``forward`` in a layer's own dictionary. The layer's tensors stay
what and where they are, and what was made from them is made anew when they change.
Training, tracing and whatever is unusual go the layer's own way.
"""

# ruff: noqa: SLF001 - the dictionaries of a module cost a tenth of its attributes
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from unfussy._optimizing.candidate import Undo
from unfussy._optimizing.candidates.deferred import Absorbed, Deferred
from unfussy._optimizing.candidates.weights import (
    TRANSPOSED,
    Made,
    Weights,
    folded,
    is_usual,
)

__all__ = ["DIMENSIONS", "Prepared", "is_plain", "prepared", "put_forwards"]

# How many dimensions the input of each has, the batch included.
DIMENSIONS: Final[dict[type[nn.Module], int]] = {
    nn.Linear: 2,
    nn.Conv1d: 3,
    nn.Conv2d: 4,
    nn.Conv3d: 5,
    nn.ConvTranspose1d: 3,
    nn.ConvTranspose2d: 4,
    nn.ConvTranspose3d: 5,
}
_FORMATS: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
_functorch: Any = getattr(torch._C, "_functorch", None)
_transforms: Callable[[], object] = getattr(
    _functorch, "peek_interpreter_stack", lambda: None
)


def is_plain(module: nn.Module, /) -> bool:
    """Tell whether calling *module* runs the forward of its class, and nothing else."""
    own = module.__dict__.get("forward")
    if own is not None and not isinstance(own, (Prepared, Absorbed)):
        return False
    tensors = (*module._parameters.values(), *module._buffers.values())
    hooked = any(module.__dict__.get(hooks) for hooks in _HOOKS)
    return not hooked and all(map(is_usual, tensors))


def prepared(layer: nn.Module, /) -> Prepared:
    """Return the forward that *layer* has, or one that prepares nothing."""
    own = layer.__dict__.get("forward")
    return own if isinstance(own, Prepared) else Prepared(layer)


def put_forwards(forwards: Iterable[tuple[nn.Module, object]], /) -> Undo:
    """Give modules forwards of their own, and return what undoes that."""
    before = []
    for module, forward in forwards:
        own = module.__dict__
        before.append((own, own.get("forward")))
        own["forward"] = forward

    def undo() -> None:
        for own, forward in reversed(before):
            if forward is None:
                own.pop("forward", None)
            else:
                own["forward"] = forward

    return undo


class Prepared:
    """
    The forward of a layer whose weights were prepared beside it.

    Args:
        layer: A layer of `DIMENSIONS`.
        norm: The batch norm that its results go to and that it computes as well.
        channels_last: Whether its weights lie in memory with their channels last.
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        norm: nn.Module | None = None,
        channels_last: bool = False,
    ) -> None:
        self.layer, self.norm, self.channels_last = layer, norm, channels_last
        self._made: Made | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the layer's result, or one that waits for the norm."""
        layer, norm = self.layer, self.norm
        is_usual_call = not kwargs and len(args) == 1 and self._takes(args[0])
        if not is_usual_call or not self._has_settled():
            return type(layer).forward(layer, *args, **kwargs)
        if norm is None:
            return self.compute(args[0])
        if layer._forward_hooks:
            return type(layer).forward(layer, *args)
        return Deferred.of(self, args[0])

    def compute(self, x: Tensor, /) -> Tensor:
        """Return the result for *x* with what is prepared, the norm's included."""
        weight, bias = self._weights(x.device.type)
        layer: Any = self.layer
        if type(layer) is nn.Linear:
            return F.linear(x, weight, bias)
        call = TRANSPOSED.get(type(layer))
        if call is None:
            return layer._conv_forward(x, weight, bias)  # type: ignore[no-any-return]
        shape = (layer.stride, layer.padding, layer.output_padding)
        return call(x, weight, bias, *shape, layer.groups, layer.dilation)

    def _takes(self, x: object) -> bool:
        if torch.is_grad_enabled():
            self._made = None  # training may write where nobody counts
            return False
        return (
            not torch.compiler.is_compiling()
            and type(x) is Tensor
            and x.dim() == DIMENSIONS[type(self.layer)]
            and not _is_tracing()
            and _transforms() is None
            and all(map(is_usual, self._sources()))
        )

    def _sources(self) -> Iterator[Tensor | None]:
        layer, norm = self.layer, self.norm
        yield layer._parameters["weight"]
        yield layer._parameters["bias"]
        if norm is not None:
            yield norm._parameters["weight"]
            yield norm._parameters["bias"]
            yield norm._buffers["running_mean"]
            yield norm._buffers["running_var"]
            # Kernels write to statistics uncounted; this counts that they did.
            yield norm._buffers.get("num_batches_tracked")

    def _has_settled(self) -> bool:
        """Tell whether the tensors are what they were in the last call."""
        made = self._made
        if made is not None and made.is_current(self._sources(), self._eps):
            return True
        # Making them pays from the second call on, and there may be none.
        self._made = Made.of(self._sources(), self._eps)
        return False

    @property
    def _eps(self) -> Any:
        return None if self.norm is None else self.norm.eps

    def _weights(self, kind: str) -> Weights:
        made = self._made or Made.of(self._sources(), self._eps)
        if made.weights is None:
            made.weights = self._make()
        if torch.is_autocast_enabled(kind) and made.weights[0].dtype is torch.float32:
            return made.cast(made.weights, torch.get_autocast_dtype(kind))
        return made.weights

    def _make(self) -> Weights:
        layer: Any = self.layer
        weight = layer.weight.detach()
        bias = None if layer.bias is None else layer.bias.detach()
        if self.norm is not None:
            weight, bias = folded(layer, self.norm, weight, bias)
        if self.channels_last:
            weight = weight.contiguous(memory_format=_FORMATS[weight.dim()])
        return weight, bias

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}
