"""
Trials: copies of a module, which share its parameters, with candidates applied.

What is tried never touches the user's module. Its tensors are shared where nobody
writes to them, and its structure is copied, so that a candidate may replace anything.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from unfussy._devices import place_of
from unfussy._lease import has_own_train
from unfussy._optimizing.candidate import Candidate, Trial
from unfussy._optimizing.target import Target

__all__ = ["Build", "build", "make_trial", "share", "written_tensors"]


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """
    A trial with candidates applied, and what calls it.

    Attributes:
        trial: The trial.
        call: The method, bound to the trial's module.
        candidates: What was applied.
    """

    trial: Trial
    call: Callable[..., Any]
    candidates: tuple[Candidate, ...] = ()

    @property
    def settings(self) -> tuple[Candidate, ...]:
        """The candidates that change the process."""
        return tuple(each for each in self.candidates if each.process_wide)

    @contextmanager
    def in_force(self, candidates: Iterable[Candidate]) -> Iterator[None]:
        """Apply *candidates*, which are some of `settings`, inside a block."""
        with ExitStack() as stack:
            for candidate in candidates:
                stack.callback(candidate.apply(self.trial))
            yield


def build(
    target: Target,
    args: tuple[Any, ...],
    candidates: Iterable[Candidate] = (),
    *,
    own: Collection[int] = (),
) -> Build:
    """
    Return a trial of *target* with *candidates* applied to it.

    Args:
        target: The method.
        args: The example's arguments.
        candidates: What to apply, in order.
        own: The tensors that the copy must not share, by identity.

    Raises:
        Exception: Whatever a candidate raises, and what cannot be copied.
    """
    applied = tuple(candidates)
    trial = make_trial(target, share(target.module, own), args)
    with ExitStack() as settings:
        for candidate in applied:
            undo = candidate.apply(trial)
            if candidate.process_wide:
                settings.callback(undo)
        return Build(trial, _bound(target, trial), applied)


def make_trial(target: Target, module: nn.Module, args: tuple[Any, ...]) -> Trial:
    """Return a trial of *module*, to which nothing has been done."""
    place = place_of(module, module)
    device = place.device or torch.device("cpu")
    raw = target.raw
    return Trial(module, args, {}, device, place.dtype, target.plan, function=raw)


def _bound(target: Target, trial: Trial) -> Callable[..., Any]:
    function, module = target.made(trial.settings, trial.wrappers), trial.module
    if not target.calls:
        return MethodType(function, module)
    if function is not target.today:
        module.__dict__["forward"] = MethodType(function, module)
    return module


# --- copies ------------------------------------------------------------------------


def share(module: nn.Module, own: Collection[int] = ()) -> nn.Module:
    """
    Return a copy of *module* in eval mode, which shares its tensors but for *own*.

    Raises:
        Exception: What `copy.deepcopy` raises of what the module holds.
        TypeError: If a submodule's forward is a function that holds the original.
    """
    for name, part in module.named_modules():
        forward = part.__dict__.get("forward")
        if isinstance(forward, FunctionType) and forward.__closure__:
            where = f"of {name}" if name else "of the module"
            raise TypeError(f"the forward {where} was replaced by a function")
    memo: dict[int, Any] = {}
    # Whose `train` does more than set flags may write to tensors.
    if not module.training or not any(map(has_own_train, module.modules())):
        memo = {id(x): x for x in tensors_of(module) if id(x) not in own}
    copied = copy.deepcopy(module, memo)
    return copied.eval() if copied.training else copied


def tensors_of(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the parameters and buffers of *module*."""
    yield from module.parameters()
    yield from module.buffers()


def written_tensors(
    target: Target, args: tuple[Any, ...]
) -> tuple[frozenset[int], Any, Build]:
    """
    Call a copy once, and find out which buffers of the module calls write to.

    Returns:
        Their identities, the result, and what was called.
    """
    buffers = list(target.module.buffers())
    tried = build(target, args, own={id(buffer) for buffer in buffers})
    copies = list(tried.trial.module.buffers())
    before = [(x, _version(x)) for x in copies]
    result = tried.call(*args)
    after = list(tried.trial.module.buffers())
    if len(after) != len(buffers) or len(copies) != len(buffers):
        return frozenset(map(id, buffers)), result, tried
    pairs = zip(buffers, before, after)
    changed = [
        buffer
        for buffer, (was, version), now in pairs
        if now is not was or version is None or _version(now) != version
    ]
    return frozenset(map(id, changed)), result, tried


def _version(x: torch.Tensor) -> int | None:
    # Tensors made in inference mode do not count what is written to them.
    return None if x.is_inference() else x._version  # noqa: SLF001
