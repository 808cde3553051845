"""One call under way: its arguments, and what was found out about it."""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from unfussy._devices import place_of
from unfussy._outputs import Form
from unfussy._precision import Target
from unfussy._recording import SWITCH, current

__all__ = ["Call"]

_NOWHERE: Final = place_of(None)


class Call:
    """
    One call under way.

    Attributes:
        args: Its positional arguments, the module first if there is one.
        kwargs: Its arguments by name.
        start: Where the inputs begin: behind the module, or at once.
        module: What it is a call of, or None.
        place: Where that lives.
        target: What autocast does in it.
        form: The form of the caller's first input, if that is of interest.
        infers: Whether it runs in inference mode by our doing.
        refusal: What the error said if all inputs at once ran out of memory already.
        frame: Where its stages are noted, if it is recorded.
    """

    __slots__ = (
        "args",
        "form",
        "frame",
        "infers",
        "kwargs",
        "module",
        "place",
        "refusal",
        "start",
        "target",
    )

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs
        self.start = 0
        self.module: nn.Module | None = None
        self.place = _NOWHERE
        self.target: Target = None
        self.form: Form | None = None
        self.infers = False
        self.refusal: str | None = None
        self.frame = current() if SWITCH.on else None

    @property
    def subject(self) -> Any:
        """What the method is called on; None if that is nothing."""
        return self.args[0] if self.start else None
