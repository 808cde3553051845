"""Methods that prepare their input and pass it to a planned function, shown as such."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from unfussy import EasyOptions

__all__ = ["as_planned"]

F = TypeVar("F", bound=Callable[..., Any])


def as_planned(planned: Callable[..., Any], /) -> Callable[[F], F]:
    """Show *planned*'s plan to `explain` and `configure`, and its options to `help`."""
    theirs = inspect.signature(planned).parameters
    options = [theirs[name] for name in EasyOptions.__annotations__]

    def dress(method: F) -> F:
        signature = inspect.signature(method)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        marks = {k: v for k, v in vars(planned).items() if k != "__wrapped__"}
        marks["__signature__"] = signature.replace(parameters=[*own, *options])
        vars(method).update(marks)
        return method

    return dress
