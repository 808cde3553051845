"""Trees of every kind of container, for property tests; needs Hypothesis."""

from __future__ import annotations

from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, Self, TypeAlias

from hypothesis import strategies as st

__all__ = ["Containers", "trees"]

Trees: TypeAlias = st.SearchStrategy[Any]
Containers: TypeAlias = Callable[[Trees], Trees]
"""Makes a strategy for containers from one for their children."""


def trees(
    leaves: st.SearchStrategy[Any],
    *,
    more: tuple[Containers, ...] = (),
    max_leaves: int = 12,
) -> st.SearchStrategy[Any]:
    """
    Generate leaves, and containers of every kind that hold trees.

    Args:
        leaves: What the trees hold.
        more: Containers besides the built-in ones, such as
            ``lambda children: children.map(Box)``.
        max_leaves: About how many leaves a tree has at most.

    Examples:
        >>> from hypothesis import given
        >>> from hypothesis import strategies as st
        >>> from unfussy import tree_leaves, tree_map
        >>> @given(trees(st.integers()))
        ... def test_mapping_keeps_the_number_of_leaves(tree):
        ...     mapped = tree_map(str, tree)
        ...
        ...     assert len(list(tree_leaves(mapped))) == len(list(tree_leaves(tree)))
        >>> test_mapping_keeps_the_number_of_leaves()
    """

    def grown(children: Trees) -> Trees:
        return st.one_of(*containers(children), *(make(children) for make in more))

    return st.recursive(leaves, grown, max_leaves=max_leaves)


def containers(children: Trees) -> Iterator[Trees]:
    """Yield a strategy for every kind of container, which holds *children*."""
    yield from _sequences(children)
    yield from _mappings(children)
    yield from _records(children)


_KEYS = st.text(max_size=3) | st.integers() | st.tuples(st.booleans(), st.integers())
_NAMES = st.sampled_from(["a", "b", "x_1", "weight"])


def _made(make: Callable[..., Any], *parts: Trees) -> Trees:
    # Not `builds`, which asks annotations for arguments that are not given.
    return st.tuples(*parts).map(lambda given: make(*given))


def _sequences(children: Trees) -> Iterator[Trees]:
    items = st.lists(children, max_size=3)
    yield items
    yield items.map(tuple)
    yield _made(Pair, children, children)
    yield _made(Defaulted, children)
    yield _made(deque, items, st.sampled_from([None, 3]))
    yield items.map(UserList)
    yield _made(Labelled, items, st.text(max_size=3))
    yield _made(Span, children, children)


def _mappings(children: Trees) -> Iterator[Trees]:
    items = st.dictionaries(_KEYS, children, max_size=3)
    yield items
    yield items.map(_reordered)
    yield items.map(lambda d: defaultdict(list, d))
    yield items.map(UserDict)
    yield items.map(MappingProxyType)
    yield _made(ChainMap, items, items)
    yield _made(Scaled, st.integers(), items)
    yield items.map(Lookup)


def _reordered(items: dict[Any, Any]) -> OrderedDict[Any, Any]:
    """Return an ordered dictionary whose order is not that of insertion."""
    ordered = OrderedDict(items)
    for key in list(items)[:1]:
        ordered.move_to_end(key)
    return ordered


def _records(children: Trees) -> Iterator[Trees]:
    for kind in (Record, Frozen, Slotted, FrozenSlotted):
        yield _made(kind, children, children)
    yield _made(Record.with_extra, children, children, children)
    yield _made(Partial, children)
    yield st.dictionaries(_NAMES, children, max_size=2).map(
        lambda named: SimpleNamespace(**named)
    )


# --- containers of our own ---------------------------------------------------------


class Pair(NamedTuple):
    """A named tuple."""

    first: Any
    second: Any


class Defaulted(NamedTuple):
    """A named tuple of which one field has a default."""

    first: Any
    second: Any = None


class Labelled(list[Any]):
    """A list with an attribute."""

    def __init__(self, items: list[Any], label: str) -> None:
        super().__init__(items)
        self.label = label


class Span(tuple[Any, ...]):
    """A tuple that is made from other arguments than an iterable."""

    __slots__ = ()

    def __new__(cls, start: Any, stop: Any) -> Self:
        """Take the two ends."""
        return super().__new__(cls, (start, stop))


class Scaled(dict[Any, Any]):
    """A dictionary with an attribute and with another constructor."""

    def __init__(
        self, scale: int, items: Mapping[Any, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(items)
        self.scale = scale


class Lookup(Mapping[Any, Any]):
    """A mapping that is no dictionary."""

    def __init__(self, items: Mapping[Any, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(eq=False)
class Record:
    """A dataclass with a field that its constructor does not take."""

    first: Any
    second: Any
    extra: Any = field(init=False, repr=False)

    @classmethod
    def with_extra(cls, first: Any, second: Any, extra: Any) -> Record:
        """Return a record whose last field is set."""
        record = cls(first, second)
        record.extra = extra
        return record


@dataclass(frozen=True, eq=False)
class Frozen:
    """A dataclass that cannot be written to."""

    first: Any
    second: Any


@dataclass(slots=True, eq=False)
class Slotted:
    """A dataclass with slots."""

    first: Any
    second: Any


@dataclass(frozen=True, slots=True, eq=False)
class FrozenSlotted:
    """A dataclass with slots that cannot be written to."""

    first: Any
    second: Any


@dataclass(slots=True, eq=False, init=False, repr=False)
class Partial:
    """A dataclass with slots of which one field was never set."""

    first: Any
    never_set: Any = field(init=False)

    def __init__(self, first: Any) -> None:
        self.first = first

    def __repr__(self) -> str:
        return f"Partial({self.first!r})"
