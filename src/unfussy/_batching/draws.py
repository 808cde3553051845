"""
Random number generators among the arguments: their draws follow the items.

What a generator gives depends on all that was drawn before. So chunks run in the
caller's order, and an attempt that failed gives its draws back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from unfussy._tree import Tree

__all__ = ["Draws"]


class Draws:
    """
    The generators among *arguments*, and what puts them back.

    Attributes:
        generators: What was found.
    """

    __slots__ = ("generators",)

    def __init__(self, arguments: Iterable[Tree]) -> None:
        near = (each for value in arguments for each in _near(value))
        self.generators = [x for x in near if isinstance(x, _GENERATORS)]

    def __bool__(self) -> bool:
        return bool(self.generators)

    @contextmanager
    def undone(self, *, always: bool = False) -> Iterator[None]:
        """Take back what is drawn in the block, if that fails or *always*."""
        undo = [_undo(generator) for generator in self.generators]
        try:
            yield
        except BaseException:
            always = True
            raise
        finally:
            for each in undo if always else ():
                each()


_MANY = 64


def _near(value: Tree) -> Iterable[Any]:
    """Return *value*, or what it holds if that is not much."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return value if isinstance(value, (list, tuple)) and len(value) < _MANY else [value]


_GENERATORS = (torch.Generator, np.random.Generator)


def _undo(generator: Any) -> Callable[[], object]:
    if isinstance(generator, torch.Generator):
        return partial(generator.set_state, generator.get_state())
    bits, state = generator.bit_generator, generator.bit_generator.state
    return partial(setattr, bits, "state", state)
