"""
The author's function compiled by ``torch.compile``, its weights as constants or not.

What is compiled is the function under the plan, so that inputs are moved and batches
are cut as ever. Calls with gradients, or in training mode, run it as it is written.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any, ClassVar, Final, TypeAlias

import torch
from torch import Tensor, nn

from unfussy._optimizing.candidate import Candidate, Level, Trial, Undo
from unfussy._optimizing.candidates.weights import is_usual, mark_of
from unfussy._tree import tree_leaves, tree_map
from unfussy.errors import PlanError

__all__ = ["Compile", "CompileMaxAutotune", "Compiled", "is_compiled"]

_Function: TypeAlias = Callable[..., Any]
_MOST_SHAPES: Final = 256
_LOCK: Final = RLock()  # one switch of the compiler is the process's


def is_compiled(trial: Trial, /) -> bool:
    """Tell whether a candidate has compiled the method of *trial*."""
    return any(isinstance(wrapper, Compiled) for wrapper in trial.wrappers)


@dataclass(frozen=True)
class Compile(Candidate):
    """
    The method compiled.

    Attributes:
        freezing: Whether weights are constants of what is compiled. They may change:
            the next call then compiles anew.
    """

    name: ClassVar[str] = "compile"
    summary: ClassVar[str] = "compile the method with torch.compile"
    level: ClassVar[Level] = "balanced"
    freezing: bool = False

    @classmethod
    def variants(cls, trial: Trial, /) -> tuple[Compile, ...]:
        """Return it with weights as constants and without; the former on CPUs only."""
        frozen = (cls(freezing=True),) if trial.device.type == "cpu" else ()
        return (*frozen, cls())

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if self.freezing and not all(map(is_usual, _tensors(trial.module))):
            return "changes of its weights cannot be seen"
        return _obstacle(trial)

    def apply(self, trial: Trial, /) -> Undo:
        """Compile the method, at its first call."""
        return _wrap(trial, Compiled(freezing=self.freezing))


class CompileMaxAutotune(Candidate):
    """The method compiled, with kernels chosen by trying many."""

    name: ClassVar[str] = "compile_max_autotune"
    summary: ClassVar[str] = "compile the method, with kernels chosen by trying many"
    level: ClassVar[Level] = "aggressive"

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.device.type != "cuda":
            return "it is for CUDA devices"
        return _obstacle(trial)

    def apply(self, trial: Trial, /) -> Undo:
        """Compile the method, at its first call."""
        return _wrap(trial, Compiled(mode="max-autotune-no-cudagraphs"))


def _obstacle(trial: Trial) -> str | None:
    if is_compiled(trial):
        return "the method is compiled already"
    return None


def _wrap(trial: Trial, wrapper: Compiled) -> Undo:
    trial.wrappers.append(wrapper)
    return lambda: trial.wrappers.remove(wrapper)


@dataclass(frozen=True, eq=False)
class Compiled:
    """
    What is put around a function so that it is compiled.

    Attributes:
        freezing: Whether weights are constants.
        mode: As `torch.compile` takes it.
    """

    freezing: bool = False
    mode: str | None = None

    def __call__(self, function: _Function) -> _Function:
        """Return *function*, which compiles itself when it is called."""
        program = _Program(function, self)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if torch.is_grad_enabled() or torch.compiler.is_compiling():
                return function(*args, **kwargs)
            if not args or not isinstance(args[0], nn.Module) or args[0].training:
                return function(*args, **kwargs)
            return program.run(args, kwargs)

        return call


class _Program:
    """
    A function compiled, for one module, as long as its weights are what they were.

    Args:
        function: The function, which takes the module first.
        how: How it is compiled.
    """

    def __init__(self, function: _Function, how: Compiled) -> None:
        self._function, self._how = function, how
        self._frozen: _Frozen | None = None
        self._compiled: _Function | None = None
        self._shapes: set[Any] = set()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, compiled."""
        module = args[0]
        frozen = self._frozen
        if self._how.freezing and (frozen is None or not frozen.holds_for(module)):
            self._compiled, self._frozen = None, _Frozen(module)
            self._shapes.clear()
        shapes = _shapes(args[1:], kwargs)
        if self._compiled is not None and shapes in self._shapes:
            return self._compiled(*args, **kwargs)
        return self._first(shapes, args, kwargs)

    def _first(self, shapes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with _LOCK, self._freezing():
            if self._compiled is None:
                self._compiled = _compiled(self._function, self._how)
            inputs, named = tree_map(_marked, [list(args[1:]), kwargs])
            result = self._compiled(args[0], *inputs, **named)
        if self._frozen is not None and not self._frozen.holds_for(args[0]):
            raise PlanError(
                "a call changes tensors of the module, which compiling with "
                "freezing=True makes constant; compile it without"
            )
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        self._shapes.add(shapes)
        return result

    def _freezing(self) -> AbstractContextManager[Any]:
        if not self._how.freezing:
            return nullcontext()
        from torch._inductor import config  # noqa: PLC0415 - takes a second

        patch: AbstractContextManager[Any] = config.patch(freezing=True)
        return patch


def _compiled(function: _Function, how: Compiled) -> _Function:
    """Return *function* compiled apart from whoever else compiles the same code."""
    known = inspect.signature(torch.compile).parameters
    apart: dict[str, Any] = {"isolate_recompiles": True}
    options = {k: v for k, v in apart.items() if k in known}
    return torch.compile(_copied(function), mode=how.mode, **options)


def _copied(function: _Function) -> _Function:
    def copied(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # The compiler keeps its programs with the code object.
    copied.__code__ = copied.__code__.replace()
    return functools.update_wrapper(copied, function)


class _Frozen:
    """The tensors of a module, and whether they still are what they were."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._slots = [
            (slots, name, tensor, mark_of(tensor))
            for part in module.modules()
            for slots in (part._parameters, part._buffers)  # noqa: SLF001
            for name, tensor in slots.items()
        ]

    def holds_for(self, module: nn.Module) -> bool:
        """Tell whether *module* is the same, with the same tensors, unchanged."""
        if module is not self._module:
            return False
        for slots, name, tensor, mark in self._slots:
            if slots.get(name) is not tensor or mark_of(tensor) != mark:
                return False
        return True


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _shapes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves([list(args), kwargs])
    return tuple(
        (x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves
    )


def _marked(leaf: Any) -> Any:
    """Return *leaf*, if it is a tensor one whose first axis the compiler lets vary."""
    if type(leaf) is not Tensor or leaf.dim() == 0 or leaf.shape[0] < 2:  # noqa: PLR2004
        return leaf
    alias = leaf.detach()  # the mark is an attribute, and the tensor the user's
    torch._dynamo.maybe_mark_dynamic(alias, 0)  # noqa: SLF001
    return alias
