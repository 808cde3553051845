"""
Global random generators: seeded for calls that are compared, and put back.

Only generators that are in use are touched. `torch.manual_seed` also makes a note for
each kind of device that the program may come to use, and keeps all of these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from unfussy._optimizing.examples import Example
from unfussy._optimizing.trials import Build

__all__ = ["kept_generators", "seeded"]


def seeded(tried: Build, example: Example) -> Any:
    """Call *tried* with all global generators at their start."""
    args = example.fresh()
    torch.default_generator.manual_seed(0)
    for backend in _backends():
        backend.manual_seed_all(0)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the generator that methods may use
    random.seed(0)
    return tried.call(*args)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Put the global generators back after a block that seeds them."""
    with ExitStack() as stack:
        for get, put in _generators():
            stack.callback(put, get())
        yield


def _generators() -> Iterator[tuple[Callable[[], Any], Callable[[Any], object]]]:
    yield random.getstate, random.setstate
    yield np.random.get_state, np.random.set_state
    yield torch.get_rng_state, torch.set_rng_state
    for backend in _backends():
        yield backend.get_rng_state_all, backend.set_rng_state_all
    if torch.backends.mps.is_available():
        yield torch.mps.get_rng_state, torch.mps.set_rng_state


def _backends() -> Iterator[Any]:
    backends: tuple[Any, ...] = (torch.cuda, torch.xpu)
    yield from (backend for backend in backends if backend.is_initialized())
