"""
What a candidate is: one change that may make a method faster, and its undoing.

A candidate changes a `Trial`. While it is timed that is a copy, which shares its
tensors with the user's module; when a choice is applied it is the module itself.
Those of unfussy are the tuple ``BUILT_IN`` of classes in `candidates`, in the order in
which they are tried.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import reduce
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

import torch
from torch import nn

from unfussy._compile import compile_plan
from unfussy._modes import Modes
from unfussy._plan import Plan, overrides_of

__all__ = ["LEVELS", "Candidate", "Level", "Trial", "Undo", "Wrapper"]

Level: TypeAlias = Literal["conservative", "balanced", "aggressive"]
LEVELS: Final[tuple[Level, ...]] = ("conservative", "balanced", "aggressive")
Undo: TypeAlias = Callable[[], object]
"""Puts back, bit for bit, what applying a candidate has changed."""
Wrapper: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(eq=False)
class Trial:
    """
    A method that candidates change, with an example of its arguments.

    Attributes:
        module: The module that the method computes with; it may be changed in place,
            but its tensors may be shared with another module: they are replaced,
            never written to.
        args: The example's positional arguments, without the module.
        kwargs: Its arguments by name.
        device: Where the module lives.
        dtype: The module's precision, or None.
        plan: What the author's decorators say.
        settings: Options in force on top of that, as `configure` takes them.
        wrappers: What is put around the author's function, innermost first: under
            what moves inputs, cuts batches and switches modes.
        function: The author's function, which takes the module first.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: torch.device
    dtype: torch.dtype | None
    plan: Plan = field(default_factory=Plan)
    settings: dict[str, Any] = field(default_factory=dict)
    wrappers: list[Wrapper] = field(default_factory=list)
    function: Callable[..., Any] = nn.Module.__call__

    def run(self) -> Any:
        """Call the method with the example as the trial stands, without gradients."""
        plan = self.plan.fill(Plan(modes=Modes())).override(overrides_of(self.settings))
        wrapped = reduce(lambda inner, wrap: wrap(inner), self.wrappers, self.function)
        return compile_plan(wrapped, plan)(self.module, *self.args, **self.kwargs)


class Candidate(ABC):
    """
    One change that may make a method faster.

    Subclass it, and make it known with `register_candidate`. It is kept only where it
    is measured to be faster and its results stay within the level's tolerance, so a
    candidate need not be right for every model; it has to say where it cannot work,
    and to undo itself exactly. One that has parameters is a frozen dataclass, whose
    fields are numbers, strings, booleans or None, each with a default.

    Attributes:
        name: What reports call it, in lower case with underscores.
        summary: What it does, in one line.
        level: The lowest level that tries it.
        low_precision: Whether it computes in less than the module's own precision. Such
            a candidate is tried at the aggressive level, and below it, down to its
            `level`, only where the method's own plan asks for low precision.
        process_wide: Whether it changes settings of the whole process. Such a change
            is in force only while it is timed, until a choice is applied.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    level: ClassVar[Level] = "conservative"
    low_precision: ClassVar[bool] = False
    process_wide: ClassVar[bool] = False

    @abstractmethod
    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried on *trial*; None if it can."""

    @abstractmethod
    def apply(self, trial: Trial, /) -> Undo:
        """Change *trial*, or the process, and return what undoes that."""

    @classmethod
    def variants(cls, trial: Trial, /) -> Sequence[Self]:  # noqa: ARG003
        """
        Return the candidates of this kind to try on *trial*, the best guess first.

        At most one of them is kept: one that is faster takes the place of another.
        """
        return (cls(),)

    def parameters(self) -> dict[str, Any]:
        """Return what the class is called with to make this candidate again."""
        kind: Any = type(self)
        names = [each.name for each in fields(kind)] if is_dataclass(kind) else []
        return {name: getattr(self, name) for name in names}
