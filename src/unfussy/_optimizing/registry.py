"""Which candidates there are: the built-in ones, and those of users."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Final, TypeAlias, TypeVar

from unfussy._optimizing.candidate import LEVELS, Candidate
from unfussy.errors import PlanError

__all__ = ["Choices", "Kind", "candidate_named", "chosen", "register_candidate"]

C = TypeVar("C", bound=type[Candidate])
Kind: TypeAlias = type[Candidate] | Candidate
"""A class, of which all variants are tried, or one candidate that is tried itself."""
Choices: TypeAlias = Iterable[Kind | str]

_REGISTERED: Final[dict[str, type[Candidate]]] = {}


def register_candidate(kind: C, /) -> C:
    """
    Make a kind of candidate known to `optimize`, which tries it after its own.

    A kind of the same name, one of unfussy's own too, is replaced.

    Args:
        kind: A subclass of `Candidate`, which can be called without arguments.

    Returns:
        The class, so that this is a decorator.

    Raises:
        PlanError: If it is no such class, or lacks a name, a summary or a level.
    """
    if not isinstance(kind, type) or not issubclass(kind, Candidate):
        raise PlanError(f"register_candidate() takes a class of Candidate, got {kind}")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise PlanError(f"{kind.__name__} has to define {missing}")
    for attribute in ("name", "summary"):
        if not isinstance(getattr(kind, attribute, None), str):
            raise PlanError(f"{kind.__name__} needs a {attribute}, which is a string")
    if kind.level not in LEVELS:
        raise PlanError(f"{kind.__name__}.level is one of {LEVELS}, got {kind.level!r}")
    _REGISTERED[kind.name] = kind
    return kind


def _known() -> dict[str, type[Candidate]]:
    from unfussy._optimizing.candidates import BUILT_IN  # noqa: PLC0415 - when needed

    return {kind.name: kind for kind in BUILT_IN} | _REGISTERED


def chosen(candidates: Choices | None) -> tuple[Kind, ...]:
    """
    Return *candidates* with names replaced by what they name; all known ones for None.

    Raises:
        PlanError: If there is no candidate of a name.
    """
    if candidates is None:
        return tuple(_known().values())
    if isinstance(candidates, (str, type, Candidate)):
        candidates = (candidates,)
    return tuple(map(_kind, candidates))


def _kind(given: Any) -> Kind:
    if isinstance(given, str):
        return _named(given)
    is_kind = isinstance(given, type) and issubclass(given, Candidate)
    if is_kind or isinstance(given, Candidate):
        return given  # type: ignore[no-any-return]
    raise PlanError(f"candidates are names, classes or candidates, got {given!r}")


def _named(name: str) -> type[Candidate]:
    known = _known()
    if name not in known:
        listed = ", ".join(known)
        raise PlanError(f"there is no candidate {name!r}; there are {listed}")
    return known[name]


def candidate_named(name: str, parameters: dict[str, Any]) -> Candidate:
    """
    Return the candidate of a name with its parameters.

    Raises:
        PlanError: If there is none of that name, or it has no such parameters.
    """
    try:
        return _named(name)(**parameters)
    except TypeError as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{name} does not take {parameters}: {error}") from error
