"""
Which calls autocast runs in low precision, found out by trying them.

Autocast has a list of operations for every kind of device. Of each function that may
stand for one of them a small sample is called twice, with float32 weights and with
low ones: where nothing at all differs, autocast casts these arguments, whatever their
shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

__all__ = ["LOWERED", "Lowered", "Replace", "is_lowered"]

_Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
Swap: TypeAlias = Callable[[nn.Parameter], torch.Tensor]
Replace: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any], Swap], _Arguments]
"""Gives a call's arguments with its weights, and nothing else, swapped."""
_Make: TypeAlias = Callable[..., nn.Parameter]


@dataclass(frozen=True, slots=True)
class Lowered:
    """
    A function of which autocast may cast the weights.

    Attributes:
        replace: Swaps the weights among its arguments.
        sample: Makes arguments to try it with.
        kinds: The kinds of devices where it may be tried; None for all.
    """

    replace: Replace
    sample: Callable[[_Make], tuple[Any, ...]]
    kinds: tuple[str, ...] | None = None


def is_lowered(func: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """
    Tell whether autocast to *dtype*, which is on, casts the weights given to *func*.

    Args:
        func: One of `LOWERED`.
        device: Where the weights are.
        dtype: What autocast casts to.
    """
    lowered = LOWERED[func]
    if lowered.kinds is not None and device.type not in lowered.kinds:
        return False
    try:
        return _tries(func, lowered, device, dtype)
    except (RuntimeError, NotImplementedError):  # no such kernel, or mixed precisions
        return False


def _tries(
    func: Any, lowered: Lowered, device: torch.device, dtype: torch.dtype
) -> bool:
    args = lowered.sample(_maker(device))
    weights = _weights(lowered, args)
    plain = func(*args)
    every = set(range(len(weights)))
    choices = [every, *({i} for i in every)]
    return all(
        _same(func(*_lowered_at(chosen, lowered, args, dtype)), plain)
        for chosen in choices
    )


def _weights(lowered: Lowered, args: tuple[Any, ...]) -> list[nn.Parameter]:
    found: list[nn.Parameter] = []

    def note(weight: nn.Parameter) -> torch.Tensor:
        found.append(weight)
        return weight

    lowered.replace(args, {}, note)
    return found


def _lowered_at(
    chosen: set[int], lowered: Lowered, args: tuple[Any, ...], dtype: torch.dtype
) -> tuple[Any, ...]:
    places = count()

    def swap(weight: nn.Parameter) -> torch.Tensor:
        return weight.to(dtype) if next(places) in chosen else weight

    return lowered.replace(args, {}, swap)[0]


def _maker(device: torch.device) -> _Make:
    turn = count(1)

    def make(*shape: int) -> nn.Parameter:
        n = torch.Size(shape).numel()
        values = torch.arange(n, dtype=torch.float32, device=device)
        values = torch.sin(values.mul_(1.7).add_(next(turn)))
        return nn.Parameter(values.reshape(shape), requires_grad=False)

    return make


def _same(one: Any, other: Any) -> bool:
    return all(
        a.dtype is b.dtype and torch.equal(a, b)
        for a, b in zip(_tensors(one), _tensors(other), strict=True)
    )


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, tuple):
        for part in result:
            yield from _tensors(part)


# --- where the weights are ---------------------------------------------------------


def _replace_all(
    args: tuple[Any, ...], kwargs: dict[str, Any], swap: Swap
) -> _Arguments:
    kind = nn.Parameter
    args = tuple([swap(x) if type(x) is kind else x for x in args])
    if kwargs:
        kwargs = {key: swap(x) if type(x) is kind else x for key, x in kwargs.items()}
    return args, kwargs


def _replace_in_cell(
    args: tuple[Any, ...], kwargs: dict[str, Any], swap: Swap
) -> _Arguments:
    weights, _ = _replace_all(args[2:], {}, swap)  # the input and the state stay
    return (*args[:2], *weights), kwargs


def _replace_in_layers(
    args: tuple[Any, ...], kwargs: dict[str, Any], swap: Swap
) -> _Arguments:
    # The weights stand before the first flag; packed sequences have one more argument.
    flag = next((i for i, x in enumerate(args) if isinstance(x, bool)), 0)
    weights = args[flag - 1] if flag else None
    if not isinstance(weights, (list, tuple)):
        return args, kwargs
    swapped, _ = _replace_all(tuple(weights), {}, swap)
    return (*args[: flag - 1], list(swapped), *args[flag:]), kwargs


_AT: Final = (5, 6, 11, 12)  # in_proj_weight, in_proj_bias, out_proj_weight, ..._bias
_NAMED: Final = frozenset(
    {
        *("in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias"),
        *("q_proj_weight", "k_proj_weight", "v_proj_weight"),
    }
)


def _replace_in_attention(
    args: tuple[Any, ...], kwargs: dict[str, Any], swap: Swap
) -> _Arguments:
    kind = nn.Parameter
    args = tuple(
        [swap(x) if i in _AT and type(x) is kind else x for i, x in enumerate(args)]
    )
    named = {
        key: swap(x) if key in _NAMED and type(x) is kind else x
        for key, x in kwargs.items()
    }
    return args, named


# --- the functions -----------------------------------------------------------------


def _all(*shapes: tuple[int, ...]) -> Lowered:
    return Lowered(_replace_all, lambda make: tuple(make(*shape) for shape in shapes))


def _cell(n_gates: int, *, two_states: bool = False) -> Lowered:
    def sample(make: _Make) -> tuple[Any, ...]:
        x, h, n = make(2, 3), make(2, 4), 4 * n_gates
        state = (h, make(2, 4)) if two_states else h
        return x, state, make(n, 3), make(n, 4), make(n), make(n)

    return Lowered(_replace_in_cell, sample, ("cpu",))


def _layers(n_gates: int, *, two_states: bool = False) -> Lowered:
    def sample(make: _Make) -> tuple[Any, ...]:
        x, h, n = make(5, 2, 3), make(1, 2, 4), 4 * n_gates
        state = (h, make(1, 2, 4)) if two_states else h
        weights = [make(n, 3), make(n, 4), make(n), make(n)]
        return x, state, weights, True, 1, 0.0, False, False, False

    # Not on CUDA, where all weights of a layer lie in one piece of memory.
    return Lowered(_replace_in_layers, sample, ("cpu",))


def _attention(make: _Make) -> tuple[Any, ...]:
    x, n_heads = make(3, 2, 4), 2
    projection = make(12, 4), make(12), None, None, False, 0.0
    return x, x, x, 4, n_heads, *projection, make(4, 4), make(4)


_MATRICES: Final = _all((3, 4), (4, 2))
_STACKS: Final = _all((2, 3, 4), (2, 4, 2))
_ADDED: Final = _all((3, 2), (3, 4), (4, 2))
_IN_CONV: Final = ((1, 2, 5), (1, 2, 5, 5), (1, 2, 5, 5, 5))

LOWERED: Final[dict[Any, Lowered]] = {
    F.linear: _all((3, 4), (2, 4), (2,)),
    torch.conv1d: _all(_IN_CONV[0], (3, 2, 3), (3,)),
    torch.conv2d: _all(_IN_CONV[1], (3, 2, 3, 3), (3,)),
    torch.conv3d: _all(_IN_CONV[2], (3, 2, 3, 3, 3), (3,)),
    torch.conv_transpose1d: _all(_IN_CONV[0], (2, 3, 3), (3,)),
    torch.conv_transpose2d: _all(_IN_CONV[1], (2, 3, 3, 3), (3,)),
    torch.conv_transpose3d: _all(_IN_CONV[2], (2, 3, 3, 3, 3), (3,)),
    torch.conv_tbc: _all((5, 1, 2), (3, 2, 3), (3,)),
    torch.matmul: _MATRICES,
    torch.Tensor.matmul: _MATRICES,
    torch.mm: _MATRICES,
    torch.Tensor.mm: _MATRICES,
    torch.bmm: _STACKS,
    torch.Tensor.bmm: _STACKS,
    torch.addmm: _ADDED,
    torch.Tensor.addmm: _ADDED,
    torch.baddbmm: _all((2, 3, 2), (2, 3, 4), (2, 4, 2)),
    torch.prelu: _all((3, 2), (2,)),
    F.scaled_dot_product_attention: _all((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)),
    F.multi_head_attention_forward: Lowered(_replace_in_attention, _attention),
    torch.lstm: _layers(4, two_states=True),
    torch.gru: _layers(3),
    torch.rnn_tanh: _layers(1),
    torch.rnn_relu: _layers(1),
    torch.lstm_cell: _cell(4, two_states=True),
    torch.gru_cell: _cell(3),
    torch.rnn_tanh_cell: _cell(1),
    torch.rnn_relu_cell: _cell(1),
}
"""Calls of these may be given low weights, where trying them shows no difference."""
