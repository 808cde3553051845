"""Candidates applied to the user's own module, and undone in reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn

from unfussy._lease import EvalLease
from unfussy._optimizing.candidate import Candidate, Undo
from unfussy._optimizing.target import Target
from unfussy._optimizing.trials import make_trial, tensors_of
from unfussy.errors import PlanError

__all__ = ["Application"]

# What is applied to a module, the latest last: undone in any other order, nothing
# would be as it was.
_APPLIED: Final[WeakKeyDictionary[nn.Module, list[object]]] = WeakKeyDictionary()
_NOTHING: Final = object()


class Application:
    """
    A choice of candidates for the user's own module.

    Args:
        target: The method.
        args: The example's arguments; empty if there is none.
        candidates: What to apply, in order.

    Attributes:
        is_applied: Whether it is applied now.
    """

    def __init__(
        self, target: Target, args: tuple[Any, ...], candidates: Sequence[Candidate]
    ) -> None:
        self._target, self._args, self._candidates = target, args, candidates
        self._undos: list[Undo] = []
        self._token = object()  # not itself, which would keep the module alive
        self._fast: Callable[..., Any] = target.given
        self.is_applied = False

    def apply(self) -> Callable[..., Any]:
        """
        Apply the candidates, and return the faster method.

        Raises:
            PlanError: If a candidate cannot be applied to the module as it is now.
            Exception: What a candidate raises; the module is then as it was.
        """
        if self.is_applied:
            return self._fast
        module, undos = self._target.module, self._undos
        with EvalLease(module), torch.no_grad(), _whole(module, undos):
            trial = make_trial(self._target, module, self._args)
            for candidate in self._candidates:
                self._check(candidate, trial)
                undos.append(candidate.apply(trial))
            made = self._target.made(trial.settings, trial.wrappers)
            self._fast = self._install(made)
        self.is_applied = True
        _APPLIED.setdefault(module, []).append(self._token)
        return self._fast

    def undo(self) -> None:
        """
        Put everything back as it was before `apply`; do nothing if it is not applied.

        Raises:
            PlanError: If something else was applied to the module later.
            Exception: What a candidate's undo raises, once all of them have run.
        """
        if not self.is_applied:
            return
        module = self._target.module
        if _APPLIED[module][-1] is not self._token:
            kind = type(module).__name__
            raise PlanError(
                f"undo() of what is not the last that was applied to {kind}; undo what "
                "was applied later, first"
            )
        _APPLIED[module].pop()
        self.is_applied, self._fast = False, self._target.given
        _undo_all(self._undos)

    def _check(self, candidate: Candidate, trial: Any) -> None:
        obstacle = candidate.obstacle(trial) if self._args else None
        if obstacle is not None:
            raise PlanError(
                f"{candidate.name} cannot be applied to {self._target.label}: "
                f"{obstacle}; it has changed since, call optimize() again"
            )

    def _install(self, made: Callable[..., Any]) -> Callable[..., Any]:
        target = self._target
        if made is target.today:
            return target.given  # type: ignore[no-any-return]
        if target.takes_module:
            return made
        if target.door == "none":
            return MethodType(made, target.module)
        if target.door == "proxy":
            store = target.given._self_compiled  # noqa: SLF001 - where it looks
            self._undos.append(_put(store, type(target.module), made))
            return target.given  # type: ignore[no-any-return]
        bound = MethodType(made, target.module)
        self._undos.append(_put(target.module.__dict__, target.name, bound))
        return target.given if target.calls else bound


def _put(store: dict[Any, Any], key: Any, value: Any) -> Undo:
    before = store.get(key, _NOTHING)
    store[key] = value

    def undo() -> None:
        if store.get(key, _NOTHING) is not value:
            raise PlanError(
                f"{key} was replaced after apply() and is left as it is; everything "
                "else is undone"
            )
        if before is _NOTHING:
            del store[key]
        else:
            store[key] = before

    return undo


def _undo_all(undos: list[Undo]) -> None:
    """Undo the last first, all of them, and raise the first error then."""
    errors: list[BaseException] = []
    while undos:
        try:
            undos.pop()()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
    if errors:
        raise errors[0]


# --- all or nothing ----------------------------------------------------------------


@contextmanager
def _whole(module: nn.Module, undos: list[Undo]) -> Iterator[None]:
    """Leave *module* as it was if the block raises, whatever was done to it by then."""
    snapshot = _Snapshot.of(module)
    try:
        yield
    except BaseException as error:
        try:
            _undo_all(undos)
        except BaseException as other:  # noqa: BLE001 - the first one is told
            error.add_note(f"and while this was undone: {other!r}")
        snapshot.restore()
        raise


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """
    What a module is made of: attributes, the dictionaries in them, and tensors.

    Attributes:
        parts: Each module's attributes, and copies of those that are dictionaries.
        tensors: Each tensor, what its data was, and whether it needed gradients.
    """

    parts: list[tuple[nn.Module, dict[str, Any], dict[str, dict[Any, Any]]]]
    tensors: list[tuple[torch.Tensor, torch.Tensor, bool]]

    @classmethod
    def of(cls, module: nn.Module) -> _Snapshot:
        """Take note of *module* as it is."""
        parts = []
        for part in module.modules():
            inner = {k: dict(v) for k, v in vars(part).items() if isinstance(v, dict)}
            parts.append((part, dict(vars(part)), inner))
        tensors = [(x, x.data, x.requires_grad) for x in tensors_of(module)]
        return cls(parts, tensors)

    def restore(self) -> None:
        """Make the module what it was."""
        for part, attributes, inner in self.parts:
            vars(part).clear()
            vars(part).update(attributes)
            for name, items in inner.items():
                attributes[name].clear()
                attributes[name].update(items)
        for tensor, data, needed in self.tensors:
            tensor.data = data
            tensor.requires_grad_(needed)
