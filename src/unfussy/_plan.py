"""
What a call of a decorated method does, decided once: a frozen record of entries.

Each decorator fills one entry. The order in which they are written is therefore
irrelevant, and two different settings of one entry are a contradiction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any, Final, TypeAlias

from unfussy._batching import Batch
from unfussy._modes import Modes
from unfussy._moving import Move
from unfussy._outputs import Output
from unfussy._precision import Precision, canonical_precision
from unfussy.errors import PlanError

__all__ = ["BLOCKS", "OVERRIDES", "Overrides", "Plan", "overrides_of"]

Overrides: TypeAlias = tuple[tuple[str, Any], ...]
"""Options by name, sorted, so that equal options are equal keys."""

OVERRIDES: ContextVar[Overrides | None] = ContextVar("unfussy_options", default=None)


class _Blocks:
    """
    Whether any thread is inside a block of `options`.

    Compiled code cannot look at context variables, but it is compiled anew where this
    changes.
    """

    __slots__ = ("_lock", "_open", "are_open")

    def __init__(self) -> None:
        self._lock, self._open, self.are_open = Lock(), 0, False

    def count(self, change: int) -> None:
        """Take note of a block that was entered (1) or left (-1)."""
        with self._lock:
            self._open += change
            self.are_open = self._open > 0


BLOCKS: Final = _Blocks()


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The entries that decorators have filled; None where none has.

    Attributes:
        move: Of ``@auto_device``.
        modes: Of ``@inference``.
        precision: Of ``@autocast_policy``.
        batch: Of ``@batched``.
        output: Of ``@returns``.
    """

    move: Move | None = None
    modes: Modes | None = None
    precision: Precision | None = None
    batch: Batch | None = None
    output: Output | None = None

    def merge(self, other: Plan, method: str) -> Plan:
        """
        Return a plan with the entries of both.

        Raises:
            PlanError: If both fill one entry differently.
        """
        merged = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine is not None and theirs is not None and mine != theirs:
                raise PlanError(
                    f"{method} has two different settings of one decorator: "
                    f"{mine} and {theirs}; keep one"
                )
            merged[field.name] = theirs if mine is None else mine
        return Plan(**merged)

    def fill(self, defaults: Plan) -> Plan:
        """Return this plan with its empty entries taken from *defaults*."""
        empty = [f.name for f in fields(self) if getattr(self, f.name) is None]
        return replace(self, **{name: getattr(defaults, name) for name in empty})

    def override(self, overrides: Overrides) -> Plan:
        """Return this plan with options applied, adding the entries they need."""
        entries: dict[str, Any] = {}
        for option, value in overrides:
            entry, attribute = _OPTIONS[option]
            filled: Any = entries.get(entry) or getattr(self, entry)
            current: Any = filled or _EMPTY[entry]
            entries[entry] = replace(current, **{attribute: value})
        return replace(self, **entries)


_EMPTY: Final = {
    "move": Move(),
    "modes": Modes(),
    "precision": Precision(),
    "batch": Batch(),
    "output": Output(),
}

# Option: the entry it belongs to, and its name there.
_OPTIONS: Final = {
    "batch_size": ("batch", "size"),
    "budget": ("batch", "budget"),
    "copy": ("move", "copy"),
    "eval": ("modes", "eval"),
    "cost": ("batch", "cost"),
    "float64": ("move", "float64"),
    "group": ("batch", "group"),
    "join": ("batch", "join"),
    "keep": ("batch", "keep"),
    "mode": ("modes", "mode"),
    "non_blocking": ("move", "non_blocking"),
    "on_error": ("batch", "on_error"),
    "on_nonfinite": ("precision", "on_nonfinite"),
    "on_oom": ("batch", "on_oom"),
    "out": ("output", "kind"),
    "out_device": ("output", "device"),
    "outputs": ("precision", "outputs"),
    "over": ("batch", "over"),
    "precision": ("precision", "precision"),
    "progress": ("batch", "progress"),
    "result": ("modes", "result"),
    "weights": ("precision", "weights"),
}


def overrides_of(
    options: Mapping[str, Any], base: Overrides | None = None
) -> Overrides:
    """
    Return *options*, checked, on top of *base*.

    Raises:
        PlanError: If an option does not exist or has no such value.
    """
    checked = dict(base or ())
    for option, value in options.items():
        if option not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise PlanError(f"there is no option {option!r}; there are {known}")
        checked[option] = check_setting(option, value)
    return tuple(sorted(checked.items()))


_CHOICES: Final[dict[str, tuple[object, ...]]] = {
    "copy": (True, False),
    "eval": (True, False),
    "float64": ("follow", "keep", "float32"),
    "join": ("auto", "items"),
    "keep": ("device", "cpu"),
    "mode": ("no_grad", "inference"),
    "non_blocking": ("auto", True, False),
    "on_error": ("raise", "skip", "return"),
    "on_nonfinite": ("ignore", "warn", "retry"),
    "on_oom": ("split", "raise"),
    "out": ("tensor", "numpy", "mirror"),
    "out_device": ("keep", "cpu", "input"),
    "outputs": ("float32", "keep"),
    "ragged": ("equal", "pad", "pack", "list"),
    "result": ("normal", "keep"),
    "weights": ("per_call", "cast_once"),
}


def check_setting(option: str, value: Any, *, name: str | None = None) -> Any:
    """
    Return *value* in its canonical form.

    Raises:
        PlanError: If the option does not take it.
    """
    name = name or option
    if option == "precision":
        return canonical_precision(value)
    if option == "over":
        return names_of(value, name)
    if option in _CHECKS:
        return _CHECKS[option](value, name)
    choices = _CHOICES.get(option)
    if choices is None or any(value is each or value == each for each in choices):
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise PlanError(f"{name} is one of {listed}, got {value!r}")


def _check_size(value: Any, name: str) -> Any:
    if isinstance(value, str) and value in {"auto", "all"}:
        return value
    return _check_whole(value, name, "'auto', 'all' or ")


def _check_whole(value: Any, name: str, or_else: str = "") -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise PlanError(f"{name} is {or_else}a whole number from 1, got {value!r}")


def _check_function(value: Any, name: str) -> Any:
    if value is None or isinstance(value, str) or callable(value):
        return value
    raise PlanError(
        f"{name} is a function of one item, or the name of a method, got {value!r}"
    )


def _check_budget(value: Any, name: str) -> Any:
    if value is None or (isinstance(value, (int, float)) and value > 0):
        return value
    raise PlanError(f"{name} is a number above 0, or None, got {value!r}")


_CHECKS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "batch_size": _check_size,
    "budget": _check_budget,
    "cost": _check_function,
    "group": _check_function,
    "min_size": _check_whole,
}


def names_of(value: Any, name: str) -> tuple[str, ...] | None:
    """
    Return one name or several as a tuple.

    Raises:
        PlanError: If they are no names.
    """
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(each, str) for each in names):
        raise PlanError(f"{name} names parameters, got {value!r}")
    return names
