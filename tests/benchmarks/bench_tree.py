"""
What mapping over a tree costs beside the mappings of other packages.

Every row maps one function over one structure, with `unfussy.tree_map` and with a
peer: a function that gives back what it gets, and one that gives another tensor.
Peers that leave a structure's tensors alone, or change its type, are not compared
there. A peer that is not installed is named as missing.
"""

from __future__ import annotations

import argparse
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch.distributions import Normal

from tests.benchmarks.harness import Case, compare, surroundings, table
from unfussy import tree_leaves, tree_map

TARGET = 1.05
X, OTHER = torch.ones(2, 3), torch.zeros(2, 3)
FUNCTIONS = {"kept": lambda x: x, "changed": lambda x: OTHER}
Map = Callable[[Callable[[Any], Any], Any], Any]
Pair = namedtuple("Pair", "first second")  # noqa: PYI024


@dataclass
class Record:
    first: Any
    second: Any
    third: Any


class Named(dict[str, Any]):
    """A subclass of dict, as packages define for their results."""


def structures() -> Iterator[tuple[str, Any]]:
    three = dict.fromkeys(("first", "second", "third"), X)
    part = {"a": [X, X, X], "b": (X, {"c": X}), "d": Pair(X, X)}
    yield "tensor", X
    yield "dict of 4", dict.fromkeys("abcd", X)
    yield "nested, 20 leaves", [part, {"e": part, "f": [X, X]}, (X, [X, X, X])]
    yield "list of 100", [X] * 100
    yield "tuple of 3", (X, X, X)
    yield "named tuple of 2", Pair(X, X)
    yield "dataclass of 3", Record(**three)
    yield "dict subclass of 3", Named(three)
    yield "Normal", Normal(X, X + 1)
    try:
        outputs = import_module("transformers.modeling_outputs")
    except ImportError:
        print("missing: ModelOutput of 3: transformers is not installed")
    else:
        yield "ModelOutput of 3", outputs.BaseModelOutputWithPooling(X, X, (X,))


def _pytree(module: Any) -> Map:
    return module.tree_map


def _lightning(module: Any) -> Map:
    apply = module.apply_to_collection
    return lambda fn, tree: apply(tree, torch.Tensor, fn)


def _accelerate(module: Any) -> Map:
    return module.recursively_apply


PEERS: dict[str, tuple[str, Callable[[Any], Map]]] = {
    "torch pytree": ("torch.utils._pytree", _pytree),
    "optree": ("optree", _pytree),
    "lightning-utilities": ("lightning_utilities.core.apply_func", _lightning),
    "accelerate": ("accelerate.utils.operations", _accelerate),
}


def peers() -> Iterator[tuple[str, Map]]:
    for name, (module, find) in PEERS.items():
        try:
            yield name, find(import_module(module))
        except ImportError:
            print(f"missing: {name} is not installed")


def cases() -> Iterator[Case]:
    known = list(peers())
    for structure, tree in structures():
        able = [(peer, map_) for peer, map_ in known if does_the_same(map_, tree)]
        others = {peer for peer, _ in known} - {peer for peer, _ in able}
        if others:
            print(f"not compared: {structure}: {', '.join(sorted(others))}")
        for peer, peer_map in able or [("the constructor", by_hand)]:
            for what, fn in FUNCTIONS.items():
                row = f"{structure}, {what}: unfussy to {peer}"
                yield Case(f"{row}, base", partial(peer_map, fn, tree))
                yield Case(row, partial(tree_map, fn, tree), f"{row}, base", TARGET)


def by_hand(fn: Callable[[Any], Any], normal: Normal) -> Normal:
    """Map over the distribution as one would who knows it."""
    return Normal(fn(normal.loc), fn(normal.scale), validate_args=False)


def does_the_same(peer_map: Map, tree: Any) -> bool:
    """Tell whether a peer changes every leaf of *tree* and keeps its type."""
    try:
        mapped = peer_map(FUNCTIONS["changed"], tree)
    except Exception:  # noqa: BLE001 - a peer may refuse in any way
        return False
    kept = type(mapped) is type(tree)
    return kept and all(leaf is OTHER for leaf in tree_leaves(mapped))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=150)
    asked = parser.parse_args()
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    results = compare(list(cases()), asked.rounds)
    print("\n" + table([result for result in results if result.base is not None]))


if __name__ == "__main__":
    main()
