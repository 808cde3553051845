"""Copies without constructors: what one object holds, given to a new one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any, TypeAlias

__all__ = ["Carry", "attributes_of", "carrier", "is_plain", "make_replace"]

Carry: TypeAlias = Callable[[Any, Any], Any]

_UNSET = object()


def carrier(kind: type, without: Collection[str] = ()) -> Carry:
    """
    Return a function that gives one object of type *kind* the attributes of another.

    It takes the old object and the new one, and returns the new one. Attributes named
    in *without* stay behind. So do cached properties: they follow from the others and
    may no longer be true.
    """
    slots, stays = _slots(kind), {*without, *_cached_properties(kind)}
    has_dict = bool(kind.__dictoffset__)
    if not slots and not has_dict:
        return lambda old, new: new  # noqa: ARG005

    def carry(old: Any, new: Any) -> Any:
        for slot in slots:
            if (value := _read(slot, old)) is not _UNSET:
                slot.__set__(new, value)
        if has_dict:
            _carry_dict(old, new, stays)
        return new

    return carry


def _carry_dict(old: Any, new: Any, stays: set[str]) -> None:
    own = old.__dict__
    if own is old:
        new.__dict__ = new  # a dictionary whose items are its attributes
        return
    new.__dict__.update(own)
    for name in stays.intersection(own):
        del new.__dict__[name]


def make_replace(kind: type, without: Collection[str] = ()) -> Carry:
    """
    Return a function that copies an object, with other values of some attributes.

    Args:
        kind: The type of the object.
        without: Names of attributes that the copy does not get.
    """
    carry, make = carrier(kind, without), _built_in_new(kind)

    def replace(node: Any, new: dict[str, Any]) -> Any:
        copied = carry(node, make(kind))
        for name, child in new.items():
            object.__setattr__(copied, name, child)
        return copied

    return replace


def is_plain(kind: type) -> bool:
    """Tell whether objects of type *kind* hold attributes and nothing else."""
    return _built_in_new(kind) is object.__new__


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes that *node* itself holds, those in slots included."""
    slots = {slot.__name__: _read(slot, node) for slot in _slots(type(node))}
    filled = {name: value for name, value in slots.items() if value is not _UNSET}
    return {**filled, **getattr(node, "__dict__", {})}


def _slots(kind: type) -> list[MemberDescriptorType]:
    return [
        member
        for base in kind.__mro__
        if "__slots__" in vars(base)
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType) and not _is_cache(base, name)
    ]


def _is_cache(base: Any, slot: str) -> bool:
    # In the slots of a class of attrs are its fields, and its cached properties.
    if "__attrs_attrs__" not in vars(base) or slot.startswith("_attrs_"):
        return False
    return slot not in {field.name for field in base.__attrs_attrs__}


def _read(slot: MemberDescriptorType, node: Any) -> Any:
    try:
        return slot.__get__(node)
    except AttributeError:
        return _UNSET


def _cached_properties(kind: type) -> set[str]:
    return {
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, cached_property)
    }


def _built_in_new(kind: type) -> Any:
    # Not `kind.__new__`, which may want arguments.
    found = (vars(base).get("__new__") for base in kind.__mro__)
    return next(new for new in found if isinstance(new, BuiltinFunctionType))
