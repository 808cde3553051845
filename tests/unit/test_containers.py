"""Every kind of container: what of it moves, what stays, and what is left alone."""

import copy
import enum
import functools
import sys
from collections import (
    ChainMap,
    Counter,
    OrderedDict,
    UserDict,
    UserList,
    defaultdict,
    deque,
    namedtuple,
)
from collections.abc import Mapping, MutableMapping
from dataclasses import InitVar, dataclass, field
from time import gmtime
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence
from torch.utils import _pytree

from tests.givers import InPlace, OnMeta
from unfussy import _visit, tree_leaves, tree_map, tree_paths
from unfussy.errors import TreeError

X = torch.ones(2, 3)
NEW = torch.zeros(2, 3)


# --- the containers ----------------------------------------------------------------

Point = namedtuple("Point", "x y")  # noqa: PYI024


class Defaulted(NamedTuple):
    x: Any
    scale: float = 2.0


class PointWithMethod(Point):
    """A subclass of a named tuple, which has attributes."""

    def total(self):
        return self.x + self.y


class Span(tuple):
    """Made from two arguments."""

    __slots__ = ()

    def __new__(cls, start, stop):
        return super().__new__(cls, (start, stop))


class Masked(tuple):
    """Shows something else than it holds."""

    __slots__ = ()

    def __iter__(self):
        return iter(["hidden"] * len(self))


class MaskedPoint(Point):
    __slots__ = ()

    def __iter__(self):
        return iter(["hidden"] * len(self))


class Labelled(list):
    def __init__(self, label, items):
        super().__init__(items)
        self.label = label


class MaskedList(list):
    def __iter__(self):
        return iter(["hidden"] * len(self))


class Noted(dict):
    """Has an attribute beside its items."""


class Scaled(dict):
    """Takes something else than items."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale


class Slotted(dict):
    __slots__ = ("empty", "note")


class Attributes(dict):
    """Shows its items as attributes."""

    def __init__(self, **items):
        super().__init__(items)
        self.__dict__ = self


class Guarded(dict):
    """Shows something else than it holds, and refuses to be written to."""

    def items(self):
        return [(key, "hidden") for key in self]

    def __setitem__(self, key, value):
        raise TypeError("read only")


@dataclass
class Output(OrderedDict):
    """A dictionary whose items are also its fields, as Transformers' results are."""

    logits: Any
    hidden: Any = None

    def __post_init__(self):
        self.update({k: v for k, v in vars(self).items() if v is not None})


class Ring(deque):
    """Takes something else than items."""

    def __init__(self, size):
        super().__init__(maxlen=size)


@dataclass
class Record:
    x: Any
    name: str = "a record"


@dataclass
class Child(Record):
    y: Any = None


@dataclass(frozen=True)
class Frozen:
    x: Any
    name: str = "frozen"


@dataclass(slots=True)
class WithSlots:
    x: Any
    name: str = "slots"


@dataclass(frozen=True, slots=True)
class FrozenWithSlots:
    x: Any
    name: str = "both"


@dataclass(kw_only=True)
class Keywords:
    x: Any
    name: str = "keywords"


@dataclass
class NotInInit:
    scale: float
    x: Any = field(init=False)

    def __post_init__(self):
        self.x = X * self.scale


@dataclass
class WithInitVar:
    x: Any
    factor: InitVar[float]

    def __post_init__(self, factor):
        self.x = self.x * factor


@dataclass
class Unset:
    x: Any
    later: Any = field(init=False)


@dataclass(init=False)
class OtherArguments:
    x: Any

    def __init__(self, *, rows):
        self.x = rows


@dataclass
class Cached:
    x: Any

    @functools.cached_property
    def double(self):
        return self.x * 2


@attrs.define
class Defined:
    x: Any
    name: str = "attrs"


@attrs.frozen
class FrozenDefined:
    x: Any
    name: str = "attrs"


@attrs.define(slots=False)
class DefinedWithoutSlots:
    x: Any
    name: str = "attrs"


@attrs.define
class CachedDefined:
    x: Any

    @functools.cached_property
    def double(self):
        return self.x * 2


class Namespace(SimpleNamespace):
    """A subclass with a constructor of its own."""

    def __init__(self, x):
        super().__init__(x=x)


class Lookup(Mapping):
    """Keeps its items in a dictionary, and takes a name besides."""

    def __init__(self, items, name="lookup"):
        self._items, self.name = dict(items), name

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


class Store(Lookup, MutableMapping):
    """Can be written to."""

    def __setitem__(self, key, value):
        self._items[key] = value

    def __delitem__(self, key):
        del self._items[key]


class SlottedStore(Store):
    __slots__ = ("cache",)


class Lowercase(Lookup):
    """Keeps its items under other keys, so that only its constructor knows how."""

    def __init__(self, items, name="lower"):
        super().__init__({f"_{key}": value for key, value in items.items()}, name)

    def __getitem__(self, key):
        return super().__getitem__(f"_{key}")

    def __iter__(self):
        return (key.removeprefix("_") for key in self._items)


class Bag:
    """Registered with PyTorch."""

    def __init__(self, *items):
        self.items = items


class Named:
    """Registered with PyTorch, with names for its children."""

    def __init__(self, x):
        self.x = x


_pytree.register_pytree_node(
    Bag, lambda bag: (list(bag.items), None), lambda items, _: Bag(*items)
)
_pytree.register_pytree_node(
    Named,
    lambda named: ([named.x], None),
    lambda children, _: Named(*children),
    flatten_with_keys_fn=lambda named: ([(_pytree.GetAttrKey("x"), named.x)], None),
)


def noted(kind, *args, **items):
    container = kind(*args)
    container.update(items)
    container.note = "kept"
    return container


def in_place_of_one(ordered):
    ordered.move_to_end("x")
    return ordered


def tally(x):
    counter = Counter("abb")
    counter["x"] = x
    return counter


def ring(x):
    container = Ring(2)
    container.extend(["dropped", 0, x])
    return container


def linked(x):
    mapping = ChainMap({"a": 1}, {"x": x, "a": 2})
    mapping.note = "kept"
    return mapping


# How a container is made of a tensor, how the tensor is found, and what else is kept.
CONTAINERS = {
    "list": (lambda x: ["a", x], lambda c: c[1], lambda c: c[0] == "a"),
    "tuple": (lambda x: (1, x), lambda c: c[1], lambda c: c[0] == 1),
    "dict": (
        lambda x: {"a": 1, "x": x},
        lambda c: c["x"],
        lambda c: [*c] == ["a", "x"],
    ),
    "nested": (
        lambda x: {"a": [1, (2, {"x": x})]},
        lambda c: c["a"][1][1]["x"],
        lambda c: c["a"][1][0] == 2,
    ),
    "namedtuple": (lambda x: Point(1, x), lambda c: c.y, lambda c: c.x == 1),
    "NamedTuple with a default": (Defaulted, lambda c: c.x, lambda c: c.scale == 2.0),
    "subclass of a named tuple": (
        lambda x: vars(p := PointWithMethod(x, 1)).update(note="kept") or p,
        lambda c: c.x,
        lambda c: c.note == "kept",
    ),
    "torch.return_types": (
        lambda x: torch.return_types.max((x, 1)),
        lambda c: c.values,
        lambda c: c.indices == 1,
    ),
    "tuple subclass": (lambda x: Span(0, x), lambda c: c[1], lambda c: c[0] == 0),
    "tuple that hides": (lambda x: Masked([0, x]), lambda c: c[1], len),
    "namedtuple that hides": (lambda x: MaskedPoint(0, x), lambda c: c.y, len),
    "list subclass": (
        lambda x: Labelled("kept", [x]),
        lambda c: c[0],
        lambda c: c.label == "kept",
    ),
    "list that hides": (lambda x: MaskedList([0, x]), lambda c: c[1], len),
    "OrderedDict": (
        lambda x: in_place_of_one(OrderedDict(x=x, a=1)),
        lambda c: c["x"],
        lambda c: [*c] == ["a", "x"],
    ),
    "defaultdict": (
        lambda x: defaultdict(list, x=x),
        lambda c: c["x"],
        lambda c: c["new"] == [],
    ),
    "Counter": (
        tally,
        lambda c: c["x"],
        lambda c: (c["a"], c["b"], c["z"]) == (1, 2, 0),
    ),
    "UserDict": (
        lambda x: noted(UserDict, x=x),
        lambda c: c["x"],
        lambda c: c.note == "kept",
    ),
    "UserList": (lambda x: UserList([x, 1]), lambda c: c[0], lambda c: c[1] == 1),
    "dict with attributes": (
        lambda x: noted(Noted, x=x),
        lambda c: c["x"],
        lambda c: c.note == "kept",
    ),
    "dict with another constructor": (
        lambda x: noted(Scaled, 3, x=x),
        lambda c: c["x"],
        lambda c: c.scale == 3,
    ),
    "dict with slots": (
        lambda x: noted(Slotted, x=x),
        lambda c: c["x"],
        lambda c: c.note == "kept" and not hasattr(c, "empty"),
    ),
    "dict of its attributes": (
        lambda x: Attributes(x=x),
        lambda c: c.x,
        lambda c: c.__dict__ is c,
    ),
    "dict that hides": (
        lambda x: Guarded(x=x),
        lambda c: c["x"],
        lambda c: [*c] == ["x"],
    ),
    "dict with fields": (
        Output,
        lambda c: c["logits"] if c["logits"] is c.logits else None,
        lambda c: c.hidden is None,
    ),
    "deque": (
        lambda x: deque([1, x], maxlen=2),
        lambda c: c[1],
        lambda c: c.maxlen == 2,
    ),
    "deque with another constructor": (ring, lambda c: c[1], lambda c: c.maxlen == 2),
    "dataclass": (Record, lambda c: c.x, lambda c: c.name == "a record"),
    "dataclass that inherits": (
        lambda x: Child(1, y=x),
        lambda c: c.y,
        lambda c: c.x == 1,
    ),
    "frozen dataclass": (Frozen, lambda c: c.x, lambda c: c.name == "frozen"),
    "dataclass with slots": (WithSlots, lambda c: c.x, lambda c: c.name == "slots"),
    "frozen, with slots": (FrozenWithSlots, lambda c: c.x, lambda c: c.name == "both"),
    "keyword-only fields": (
        lambda x: Keywords(x=x),
        lambda c: c.x,
        lambda c: c.name == "keywords",
    ),
    "dataclass with another constructor": (
        lambda x: OtherArguments(rows=x),
        lambda c: c.x,
        bool,
    ),
    "field that was never set": (
        Unset,
        lambda c: c.x,
        lambda c: not hasattr(c, "later"),
    ),
    "attrs": (Defined, lambda c: c.x, lambda c: c.name == "attrs"),
    "frozen attrs": (FrozenDefined, lambda c: c.x, lambda c: c.name == "attrs"),
    "attrs without slots": (
        DefinedWithoutSlots,
        lambda c: c.x,
        lambda c: c.name == "attrs",
    ),
    "SimpleNamespace": (
        lambda x: SimpleNamespace(x=x, a=1),
        lambda c: c.x,
        lambda c: c.a == 1,
    ),
    "subclass of SimpleNamespace": (Namespace, lambda c: c.x, bool),
    "mapping proxy": (
        lambda x: MappingProxyType({"a": 1, "x": x}),
        lambda c: c["x"],
        lambda c: [*c] == ["a", "x"],
    ),
    "ChainMap": (
        linked,
        lambda c: c.maps[1]["x"],
        lambda c: c.note == "kept" and c.maps[1]["a"] == 2,
    ),
    "mapping": (
        lambda x: Lookup({"x": x}, "kept"),
        lambda c: c["x"],
        lambda c: c.name == "kept",
    ),
    "mutable mapping": (
        lambda x: Store({"x": x}, "kept"),
        lambda c: c["x"],
        lambda c: c.name == "kept",
    ),
    "mutable mapping with slots": (
        lambda x: SlottedStore({"x": x}, "kept"),
        lambda c: c["x"],
        lambda c: c.name == "kept",
    ),
    "mapping with other keys inside": (
        lambda x: Lowercase({"x": x}, "kept"),
        lambda c: c["x"],
        lambda c: c.name == "kept",
    ),
    "pytree node": (
        lambda x: Bag(1, x),
        lambda c: c.items[1],
        lambda c: c.items[0] == 1,
    ),
    "pytree node with names": (Named, lambda c: c.x, bool),
}
every_container = pytest.mark.parametrize(
    ("make", "find", "is_kept"), CONTAINERS.values(), ids=CONTAINERS.keys()
)


@every_container
def test_a_changed_leaf_is_replaced_in_a_copy(make, find, is_kept):
    container = make(X)

    mapped = tree_map(lambda x: NEW if x is X else x, container)

    assert type(mapped) is type(container)
    assert find(mapped) is NEW
    assert is_kept(mapped)
    assert find(container) is X
    assert is_kept(container)


@every_container
def test_nothing_to_change_gives_the_same_container(make, find, is_kept):
    container = make(X)

    assert tree_map(lambda x: x, container) is container
    assert find(container) is X
    assert is_kept(container)


@every_container
def test_a_decorated_method_moves_what_a_container_holds(make, find, is_kept):
    container = make(X)

    moved = OnMeta().moved(container)

    assert type(moved) is type(container)
    assert find(moved).is_meta
    assert is_kept(moved)
    assert find(container) is X


@every_container
def test_a_container_in_place_is_the_methods_own(make, find, is_kept):
    container = make(X.to("meta"))

    moved = OnMeta().moved(container)

    assert moved is container


@every_container
def test_results_in_a_container_become_arrays(make, find, is_kept):
    result = InPlace().arrays(make(X))

    assert isinstance(find(result), np.ndarray)
    assert is_kept(result)


# --- what is particular to one of them ---------------------------------------------


def test_a_copied_ordered_dictionary_can_be_reordered():
    mapped = tree_map(str, OrderedDict(a=1, b=2))

    mapped.move_to_end("a")

    assert [*mapped] == ["b", "a"]


def test_a_copied_attribute_dictionary_stays_one():
    mapped = tree_map(str, Attributes(a=1))

    mapped.b = 2

    assert mapped == {"a": "1", "b": 2}


def test_items_of_a_dictionary_and_its_other_attributes_stay_apart():
    container = Noted(a=1)
    container.a, container.b = "another", 1

    mapped = tree_map(str, container)

    assert (mapped, mapped.a, mapped.b) == ({"a": "1"}, "another", 1)


def test_a_user_dictionary_keeps_what_it_stores_in():
    container = UserDict()
    container.data = OrderedDict(a=1, b=2)

    mapped = tree_map(str, container)

    assert mapped.data == OrderedDict(a="1", b="2")
    assert type(mapped.data) is OrderedDict


def test_hidden_fields_of_a_struct_sequence_are_kept():
    time = gmtime(0)

    mapped = tree_map(lambda x: x + 1, time)

    assert (mapped.tm_year, mapped.tm_zone) == (1971, time.tm_zone)


def test_a_field_outside_the_constructor_moves_too():
    record = NotInInit(2.0)

    moved = OnMeta().moved(record)

    assert moved.x.is_meta
    assert moved.scale == 2.0


def test_a_field_that_was_never_set_is_no_child():
    assert list(tree_leaves(Unset(1))) == [1]


def test_a_field_that_is_only_given_to_the_constructor_is_no_child():
    record = WithInitVar(X, factor=3.0)

    moved = OnMeta().moved(record)

    assert moved.x.is_meta
    assert list(tree_leaves(record)) == [record.x]


@pytest.mark.parametrize("kind", [Cached, CachedDefined])
def test_a_cached_property_is_computed_anew_for_a_changed_copy(kind):
    record = kind(torch.ones(2))
    assert record.double.tolist() == [2, 2]

    mapped = tree_map(lambda x: x + 1, record)

    assert mapped.double.tolist() == [4, 4]
    assert record.double.tolist() == [2, 2]


def test_an_attribute_of_a_dataclass_that_is_no_field_is_kept():
    record = Record(X)
    record.note = note = [X]

    moved = OnMeta().moved(record)

    assert moved.note is note


def test_private_slots_are_copied():
    class Private(dict):
        __slots__ = ("__hidden",)

        def __init__(self, **items):
            super().__init__(items)
            self.__hidden = "kept"

        def hidden(self):
            return self.__hidden

    mapped = tree_map(str, Private(a=1))

    assert mapped == {"a": "1"}
    assert mapped.hidden() == "kept"


# --- mappings that are hard to rebuild ---------------------------------------------


class WriteThrough(MutableMapping):
    """A view of something else, which a copy would share."""

    def __init__(self, target):
        self.target = target

    def __getitem__(self, key):
        return self.target.rows[key]

    def __setitem__(self, key, value):
        self.target.rows[key] = value

    def __delitem__(self, key):
        del self.target.rows[key]

    def __iter__(self):
        return iter(self.target.rows)

    def __len__(self):
        return len(self.target.rows)


class Table:
    def __init__(self, **rows):
        self.rows = rows


class Forgetful(Lookup):
    """Makes something else of what its constructor is given."""

    def __init__(self, items):
        self._pairs = [*items.items()]

    def __getitem__(self, key):
        return dict(self._pairs)[key]

    def __iter__(self):
        return iter(dict(self._pairs))

    def __len__(self):
        return len(self._pairs)


class Emptied(Forgetful):
    def __init__(self, items, *, empty=True):
        super().__init__({} if empty else items)


class Elsewhere(Forgetful):
    """Makes an object of another type than its own."""

    def __new__(cls, items, *, real=False):
        return super().__new__(cls) if real else dict(items)

    def __init__(self, items, *, real=False):
        super().__init__(items)


class Repeated(Forgetful):
    """Has one key twice, which a dictionary has not."""

    def __iter__(self):
        return (key for key, _ in self._pairs)

    @classmethod
    def of_pairs(cls, *pairs):
        repeated = cls({})
        repeated._pairs = list(pairs)
        return repeated


class Demanding(Forgetful):
    """Takes more than the items."""

    def __init__(self, items, more):
        super().__init__({**items, **more})


HARD = {
    "one that wants more arguments": lambda: Demanding({"a": 1}, {}),
    "a view": lambda: WriteThrough(Table(a=1)),
    "one that its constructor empties": lambda: Emptied({"a": 1}, empty=False),
    "one whose constructor makes another": lambda: Elsewhere({"a": 1}, real=True),
    "one with a key twice": lambda: Repeated.of_pairs(("a", 2), ("a", 1)),
}


@pytest.mark.parametrize("make", HARD.values(), ids=HARD.keys())
def test_a_mapping_that_cannot_be_rebuilt_is_refused_and_left_alone(make):
    mapping = make()
    kind = type(mapping).__name__

    with pytest.raises(
        TreeError, match=rf"a {kind} cannot .* unfussy.register\({kind}"
    ):
        tree_map(str, {"in": mapping})

    assert mapping["a"] == 1


def test_the_error_for_such_a_mapping_says_where_it_is():
    with pytest.raises(TreeError, match=r"(?s)rebuilt.*\nat tree\['in'\]\[0\]$"):
        tree_map(str, {"in": [WriteThrough(Table(a=1))]})


def test_a_decorated_method_refuses_such_a_mapping_by_its_path():
    view = WriteThrough(Table(a=X))

    with pytest.raises(TreeError, match=r"moved\(\): argument x\[0\]: a WriteThrough"):
        OnMeta().moved([view])

    assert view["a"] is X


def test_such_a_mapping_comes_back_if_nothing_changes():
    view = WriteThrough(Table(a=1))

    assert tree_map(lambda x: x, view) is view


def test_a_mapping_is_made_by_its_constructor_if_that_gives_the_same_items():
    mapped = tree_map(str, Forgetful({"a": 1, "b": 2}))

    assert dict(mapped) == {"a": "1", "b": "2"}


# --- PyTorch's own -----------------------------------------------------------------


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_the_lengths_of_a_packed_sequence_stay_on_the_cpu(enforce_sorted):
    parts = [torch.ones(3, 2), torch.ones(2, 2)]
    packed = pack_sequence(parts, enforce_sorted=enforce_sorted)

    moved = OnMeta().moved({"x": packed})["x"]

    assert type(moved) is type(packed)
    assert moved.data.is_meta
    assert moved.batch_sizes is packed.batch_sizes
    assert (moved.sorted_indices is None) == enforce_sorted
    assert packed.data.is_cpu


def test_a_packed_sequence_holds_tensors_only():
    packed = pack_padded_sequence(X, torch.tensor([3, 2]), batch_first=True)

    assert [path for path, _ in tree_paths(packed)] == [".data"]
    assert all(isinstance(x, torch.Tensor) for x in InPlace().arrays(packed)[:2])


LAYOUTS = {
    "COO": lambda: X.to_sparse_coo(),
    "CSR": lambda: X.to_sparse_csr(),
    "jagged": lambda: torch.nested.nested_tensor([X, X[:1]], layout=torch.jagged),
    "Parameter": lambda: nn.Parameter(X.clone(), requires_grad=False),
    "Buffer": lambda: nn.Buffer(X.clone()),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_tensor_of_any_layout_is_one_leaf_and_moves(make):
    tensor = make()

    moved = OnMeta().moved([tensor])[0]

    assert next(tree_leaves([tensor])) is tensor
    assert moved.device.type == "meta"
    assert (type(moved), moved.layout) == (type(tensor), tensor.layout)


# --- a stand-in for TensorDict, which has tests of its own in `tests/containers` ------


class Collection:
    """Has a device, which its constructor forgets, and a lock."""

    def __init__(self, device=None, **items):
        self.device, self.items, self.is_locked = device, items, False

    def lock_(self):
        self.is_locked = True
        return self

    def values(self, **options):
        return self.items.values()

    def to(self, device):
        return type(self)(device, **self.items)


class SubCollection(Collection):
    """Not registered itself."""


class Fields(Collection):
    """Its items are fields."""


def flatten_with_keys(collection):
    keys = [_pytree.MappingKey(key) for key in collection.items]
    return [*zip(keys, collection.items.values())], (type(collection), keys)


for kind in (Collection, Fields):
    _pytree.register_pytree_node(
        kind,
        lambda collection: ([*collection.items.values()], None),
        lambda children, context: context[0](
            **{entry.key: child for entry, child in zip(context[1], children)}
        ),
        flatten_with_keys_fn=flatten_with_keys,
    )


@pytest.fixture
def tensordict(monkeypatch):
    module = SimpleNamespace(
        is_tensor_collection=lambda kind: issubclass(kind, (Collection, Unknown)),
        is_tensorclass=lambda kind: kind is Fields,
    )
    monkeypatch.setitem(sys.modules, "tensordict", module)
    monkeypatch.setattr(_visit, "_NODES", {})
    monkeypatch.setattr(_visit, "_VISITORS", {})


class Unknown:
    """A collection that is registered nowhere."""


@pytest.mark.usefixtures("tensordict")
@pytest.mark.parametrize("kind", [Collection, SubCollection])
def test_a_collection_of_one_device_keeps_device_and_lock(kind):
    before = kind(torch.device("cpu"), a=X, b=X).lock_()

    moved = OnMeta().moved(before)

    assert type(moved) is kind
    assert moved.device == torch.device("meta")
    assert moved.is_locked
    assert [path for path, _ in tree_paths(before)] == ["['a']", "['b']"]


@pytest.mark.usefixtures("tensordict")
def test_a_collection_of_two_devices_claims_none():
    before = Collection(torch.device("cpu"), a=X, b=X + 1)

    mapped = tree_map(lambda x: x.to("meta") if x is X else x, before)

    assert mapped.device is None
    assert not mapped.is_locked


@pytest.mark.usefixtures("tensordict")
def test_a_collection_without_a_device_gets_none():
    mapped = tree_map(torch.clone, Fields(a=X))

    assert mapped.device is None
    assert [path for path, _ in tree_paths(mapped)] == [".a"]


@pytest.mark.usefixtures("tensordict")
def test_a_collection_that_is_not_registered_is_a_leaf():
    unknown = Unknown()

    assert tree_map(lambda x: x, [unknown])[0] is unknown


# --- leaves ------------------------------------------------------------------------


class ToNothing:
    def to(self, *args):
        return None


class ToFile:
    def to(self, path):
        raise AssertionError("another `to`")


class Colour(tuple, enum.Enum):  # noqa: SLOT001
    RED = (255, 0)


@dataclass
class Mixed(Exception):  # noqa: N818
    x: Any


@dataclass(eq=False)
class Block(nn.Module):
    x: Any

    def __post_init__(self):
        super().__init__()


LEAVES = {
    "str": "text",
    "bytes": b"text",
    "None": None,
    "int": 3,
    "range": range(3),
    "slice": slice(1, 2),
    "set": {1, 2},
    "frozen set": frozenset({1}),
    "generator": (i for i in range(3)),
    "NumPy scalar": np.float32(2),
    "size": X.shape,
    "type": int,
    "dataclass itself": Record,
    "enumeration": Colour.RED,
    "exception with fields": Mixed(X),
    "module with fields": Block(1),
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "to() gives None": ToNothing(),
    "to() means something else": ToFile(),
    "labels": np.array(["a", "b"]),
}


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES.keys())
def test_everything_else_is_a_leaf_and_stays_as_it_is(leaf):
    assert next(tree_leaves([leaf])) is leaf
    assert OnMeta().moved([leaf])[0] is leaf


def test_a_pair_of_numbers_is_no_tensor():
    assert OnMeta().moved((3, 4)) == (3, 4)


def test_a_generator_is_not_consumed():
    numbers = (i for i in range(3))

    OnMeta().moved([numbers])

    assert [*numbers] == [0, 1, 2]


def test_a_tensor_in_two_places_stays_one_object_when_moved():
    moved = OnMeta().moved({"query": X, "key": [X]})

    assert moved["query"] is moved["key"][0]


def test_a_container_in_two_places_is_mapped_in_both():
    shared = [1]

    mapped = tree_map(str, [shared, shared])

    assert mapped == [["1"], ["1"]]


def test_a_deep_copy_of_the_input_stays_equal_to_it():
    record = Record(OrderedDict(a=deque([1, 2], maxlen=3)))
    twin = copy.deepcopy(record)

    tree_map(str, record)

    assert record == twin
