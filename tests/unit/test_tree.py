"""The functions over trees: paths, errors, what cannot be followed, and `register`."""

import functools
import sys
import threading
from collections import deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils import _pytree

from unfussy import _visit, auto_device, register, tree_leaves, tree_map, tree_paths
from unfussy._traced_tree import visit_traced
from unfussy._tree import too_deep, visit
from unfussy.errors import TreeError, UnfussyError

Point = namedtuple("Point", "x y")  # noqa: PYI024


class OnMeta(nn.Linear):
    def __init__(self):
        super().__init__(1, 1, device="meta")

    @auto_device
    def moved(self, x):
        return x


@dataclass
class Record:
    x: Any


def nested(depth, leaf=1):
    tree = leaf
    for _ in range(depth):
        tree = [tree]
    return tree


# --- paths and errors --------------------------------------------------------------


def test_a_bare_leaf_has_an_empty_path():
    assert list(tree_paths(3)) == [("", 3)]


def test_paths_are_written_as_python_would_reach_the_leaf():
    tree = {"a": [1, Point(2, SimpleNamespace(b=3))], ("k", 1): deque([Record(4)])}

    assert dict(tree_paths(tree)) == {
        "['a'][0]": 1,
        "['a'][1].x": 2,
        "['a'][1].y.b": 3,
        "[('k', 1)][0].x": 4,
    }


def test_an_empty_container_has_no_leaves():
    assert list(tree_leaves([[], {}, ()])) == []


def test_an_error_in_a_bare_leaf_gets_no_note():
    with pytest.raises(ZeroDivisionError) as caught:
        tree_map(lambda x: x / 0, 1)

    assert not hasattr(caught.value, "__notes__")


def test_an_error_keeps_no_trace_of_the_path_but_its_note():
    with pytest.raises(ZeroDivisionError) as caught:
        tree_map(lambda x: 1 / x, {"a": [1, 0]})

    assert vars(caught.value) == {"__notes__": ["at tree['a'][1]"]}


def test_an_error_that_is_raised_again_gets_the_path_of_the_second_place():
    error = ValueError("always the same")

    def fail(_):
        raise error

    for tree in ({"a": 1}, [{"b": 1}]):
        with pytest.raises(ValueError, match="always"):
            tree_map(fail, tree)

    assert error.__notes__ == ["at tree['a']", "at tree[0]['b']"]


def test_an_error_of_a_tree_that_the_function_maps_is_not_mixed_up():
    def inner(x):
        return visit({"inner": torch.tensor(x)}, lambda x: 1 / 0)

    with pytest.raises(ZeroDivisionError) as caught:
        tree_map(inner, {"outer": [1]})

    assert caught.value.__notes__ == ["at tree['outer'][0]"]


def test_an_error_while_a_container_is_opened_names_the_container():
    class Broken:
        pass

    register(Broken, children=lambda _: 1 / 0, rebuild=lambda old, new: old)

    with pytest.raises(ZeroDivisionError) as caught:
        tree_map(str, {"a": Broken()})

    assert caught.value.__notes__ == ["at tree['a']"]


def test_a_keyboard_interrupt_passes_through():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tree_map(interrupt, [1])


# --- trees that cannot be followed -------------------------------------------------


def cyclic_list():
    tree = [1]
    tree.append({"again": tree})
    return tree


def cyclic_dict():
    tree = {"a": 1}
    tree["b"] = (tree,)
    return tree


def cyclic_record():
    tree = Record(None)
    tree.x = [tree]
    return tree


CYCLES = {
    "list": (cyclic_list, r"the list at tree\[1\]\['again'\] holds itself"),
    "dict": (cyclic_dict, r"the dict at tree\['b'\]\[0\] holds itself"),
    "dataclass": (cyclic_record, r"the Record at tree\.x\[0\] holds itself"),
}
every_cycle = pytest.mark.parametrize(
    ("make", "message"), CYCLES.values(), ids=CYCLES.keys()
)


@every_cycle
def test_mapping_a_cycle_is_refused_with_the_path(make, message):
    with pytest.raises(TreeError, match=message) as caught:
        tree_map(lambda x: x, make())

    assert isinstance(caught.value, UnfussyError)
    assert isinstance(caught.value, ValueError)


@every_cycle
@pytest.mark.parametrize("walk", [tree_leaves, tree_paths])
def test_walking_a_cycle_is_refused_with_the_path(walk, make, message):
    with pytest.raises(TreeError, match=message):
        list(walk(make()))


@every_cycle
def test_a_decorated_method_refuses_a_cycle_with_the_path(make, message):
    with pytest.raises(TreeError, match=rf"OnMeta\.moved\(\): argument x: {message}"):
        OnMeta().moved(make())


def test_the_same_container_twice_is_no_cycle():
    shared = [1]

    assert list(tree_leaves([shared, [shared]])) == [1, 1]


def test_a_tree_deeper_than_the_recursion_limit_is_refused():
    tree = nested(sys.getrecursionlimit())

    with pytest.raises(TreeError, match=r"nested deeper .* here \d+; flatten it"):
        tree_map(str, tree)


def test_a_decorated_method_refuses_a_tree_that_is_too_deep():
    tree = nested(sys.getrecursionlimit())

    with pytest.raises(TreeError, match=r"moved\(\): argument x: .* nested deeper"):
        OnMeta().moved(tree)


def test_walking_has_no_greatest_depth():
    tree = nested(10 * sys.getrecursionlimit())

    assert list(tree_leaves(tree)) == [1]


def test_a_deep_tree_of_shared_containers_is_refused_at_once():
    tree = [1]
    for _ in range(2 * sys.getrecursionlimit()):
        tree = [tree, tree]  # as a tree it has more leaves than there are atoms

    assert "nested deeper" in str(too_deep(tree))


def test_a_function_that_recurses_for_ever_is_not_blamed_on_the_tree():
    def recurse(x):
        return recurse(x)

    with pytest.raises(RecursionError) as caught:
        tree_map(recurse, {"a": [1]})

    assert caught.value.__notes__ == ["at tree['a'][0]"]


# --- register ----------------------------------------------------------------------


def make_box():
    class Box:
        def __init__(self, item):
            self.item = item

    return Box


def teach(kind):
    register(
        kind,
        children=lambda box: {"item": box.item},
        rebuild=lambda box, new: type(box)(new["item"]),
    )


def test_a_registered_type_is_a_container_everywhere():
    kind = make_box()
    teach(kind)

    box = kind([torch.ones(1)])

    assert list(tree_paths(box)) == [(".item[0]", box.item[0])]
    assert tree_map(lambda x: x + 1, box).item == [2]
    assert OnMeta().moved(box).item[0].is_meta
    assert tree_map(lambda x: x, box) is box


def test_a_type_that_was_a_leaf_can_be_registered():
    kind = make_box()
    box = kind(1)
    assert list(tree_leaves([box])) == [box]

    teach(kind)

    assert list(tree_leaves([box])) == [1]
    assert tree_map(str, box).item == "1"


def test_subclasses_of_a_registered_type_are_containers():
    kind = make_box()
    child = type("Child", (kind,), {})
    tree_map(str, child(1))

    teach(kind)

    mapped = tree_map(str, child(1))
    assert type(mapped) is child
    assert mapped.item == "1"


def test_the_nearest_registered_type_decides():
    kind = make_box()
    child = type("Child", (kind,), {})
    teach(kind)
    register(child, children=lambda box: {}, rebuild=lambda box, new: box)

    assert list(tree_leaves(child(1))) == []
    assert list(tree_leaves(kind(1))) == [1]


def test_registering_again_replaces():
    kind = make_box()
    teach(kind)
    assert list(tree_leaves(kind([1]))) == [1]

    register(
        kind,
        children=lambda box: dict(enumerate(box.item)),
        rebuild=lambda box, new: kind([*new.values()]),
    )

    assert list(tree_paths(kind([1, 2]))) == [("[0]", 1), ("[1]", 2)]
    assert tree_map(str, kind([1, 2])).item == ["1", "2"]


def test_rebuild_gets_all_children_with_those_that_changed():
    kind, given = make_box(), []
    register(
        kind,
        children=lambda box: {"item": box.item, "other": 0},
        rebuild=lambda box, new: given.append(new),
    )

    tree_map(lambda x: x + 1 if x else x, kind(1))

    assert given == [{"item": 2, "other": 0}]


@pytest.mark.parametrize("kind", [list, dict, tuple, deque, Record])
def test_a_built_in_container_can_be_registered(kind, monkeypatch):
    monkeypatch.setattr(_visit, "_NODES", {})
    monkeypatch.setattr(_visit, "_VISITORS", {})
    monkeypatch.setattr("unfussy._nodes.registry._REGISTERED", {})
    tree = kind({"a": 1})
    assert list(tree_leaves(tree))

    register(kind, children=lambda _: {"size": 7}, rebuild=lambda _, new: new["size"])

    assert list(tree_leaves(tree)) == [7]
    assert tree_map(lambda x: x + 1, tree) == 8


# --- what is remembered of types ---------------------------------------------------


def test_types_without_end_do_not_grow_the_tables_without_end(monkeypatch):
    monkeypatch.setattr(_visit, "_MOST_TYPES", 100)

    for i in range(500):
        record = dataclass(type("Made", (), {"__annotations__": {"x": int}}))(i)
        assert tree_map(str, [record])[0].x == str(i)
        assert list(tree_leaves(record)) == [i]

    assert len(_visit._VISITORS) <= 100
    assert len(_visit._NODES) <= 100


def test_threads_may_meet_new_types_while_others_register(monkeypatch):
    monkeypatch.setattr(_visit, "_MOST_TYPES", 50)
    failures, switch = [], sys.getswitchinterval()

    def meet():
        try:
            for i in range(200):
                kind = make_box()
                teach(kind)
                assert tree_map(str, [kind(i), (i,), {"a": i}])[0].item == str(i)
                assert list(tree_leaves(kind([i, Record(i)]))) == [i, i]
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=meet) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)

    assert failures == []


# --- under torch.compile -----------------------------------------------------------


@pytest.fixture
def compiled():
    torch.compiler.reset()

    def double(x):
        return x * 2 if isinstance(x, torch.Tensor) else x

    yield lambda **how: torch.compile(
        lambda tree: tree_map(double, tree), backend="eager", **how
    )
    torch.compiler.reset()


SIMPLE = {
    "tensor": lambda x: x,
    "list": lambda x: [x, 1],
    "tuple": lambda x: (x, "a"),
    "dict": lambda x: {"a": [x, None]},
    "namedtuple": lambda x: Point(x, (x,)),
}


@pytest.mark.parametrize("make", SIMPLE.values(), ids=SIMPLE.keys())
def test_common_containers_are_mapped_inside_a_compiled_program(make, compiled):
    x = torch.ones(2)

    mapped = compiled(fullgraph=True)(make(x))

    assert type(mapped) is type(make(x))
    assert [x.tolist() for x in tree_leaves(mapped) if isinstance(x, torch.Tensor)] == [
        [2, 2] for x in tree_leaves(make(x)) if isinstance(x, torch.Tensor)
    ]


class Named(dict):
    """A subclass of dict."""


OTHERS = {
    "dataclass": lambda x: Record(x),
    "dict subclass": lambda x: Named(a=x),
    "deque": lambda x: deque([x], maxlen=1),
    "distribution": lambda x: torch.distributions.Normal(x, x),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_other_containers_are_mapped_outside_a_compiled_program(make, compiled):
    x = torch.ones(2)

    mapped = compiled()(make(x))

    assert type(mapped) is type(make(x))
    assert all(leaf.tolist() == [2, 2] for leaf in tree_leaves(mapped))


def test_a_compiled_program_is_not_compiled_anew_when_a_type_is_met(compiled):
    program, x = compiled(fullgraph=True), torch.ones(2)
    program({"a": [x]})

    tree_map(str, make_box()(1))

    with torch._dynamo.config.patch(error_on_recompile=True):
        assert program({"a": [x]})["a"][0].tolist() == [2, 2]


def test_tree_map_takes_the_form_that_is_traced_while_dynamo_traces(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: True)

    # It may build anew what has not changed.
    assert tree_map(lambda x: x, tree := [1, (2,)]) == tree
    assert tree_map(lambda x: x, tree) is not tree


def test_the_form_that_is_traced_leaves_what_is_no_tensor():
    tree = [1, "a", (None, Point(torch.ones(1), 2.0))]

    assert visit_traced(tree, lambda x: "a tensor") == [
        1,
        "a",
        (None, Point("a tensor", 2.0)),
    ]


@dataclass
class Cached:
    x: Any

    @functools.cached_property
    def double(self):
        return self.x * 2


@dataclass(slots=True)
class Slotted(Record):
    y: Any = None


@dataclass
class Registered:
    x: Any
    y: Any


_pytree.register_pytree_node(
    Registered, lambda tree: ([tree.x], tree.y), lambda x, y: Registered(*x, y)
)


def with_note(tree):
    tree.note = "kept"
    return tree


CAREFUL = {
    "cached property": lambda x: [tree := Cached(x), tree.double][0],
    "slots and attributes": lambda x: with_note(Slotted(x, x)),
    "registered with PyTorch": lambda x: Registered(x, x),
    "attributes": lambda x: with_note(Record(x)),
    "packed sequence": lambda x: pack_sequence([x, x]),
}


@pytest.mark.parametrize("make", CAREFUL.values(), ids=CAREFUL.keys())
def test_the_form_that_is_traced_opens_containers_as_the_other_does(make):
    def double(x):
        return x * 2

    tree = make(torch.ones(2))

    traced, mapped = visit_traced(tree, double), visit(tree, double)

    for name in ("x", "y", "double", "note", "data", "batch_sizes"):
        assert str(getattr(traced, name, None)) == str(getattr(mapped, name, None))
