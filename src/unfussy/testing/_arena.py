"""
Memory of a given size, in which whatever is still alive takes room.

`Arena` refuses a call not for its size alone, but for all that is held when it
begins: results that wait, inputs that nobody let go, and failed attempts that an
error keeps.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, TypeVar

import torch
from torch import nn
from torch.multiprocessing import reductions

from unfussy._tree import tree_leaves
from unfussy.errors import InputValueError
from unfussy.testing._oom_errors import (
    OOM_ERRORS,
    OOM_LOOKALIKES,
    OOM_SUSPECTS,
)

__all__ = ["Arena"]

F = TypeVar("F", bound=Callable[..., Any])

# Outlives what it refers to, so that its number is not used again.
_WEAK_REF: Final[Any] = reductions.StorageWeakRef


class Arena:
    """
    A device with room for so many bytes, for tests of what recovers when it is full.

    Decorate a function with it, below `batched`, or limit the calls of a module with
    `limit`. A call asks for room for copies of the tensors that it is given, and for
    scratch memory. It holds them in its frame, and what it returns counts for as long
    as the memory behind it lives. When there is no room left, the call fails with an
    error of a real backend. Its traceback then keeps its frame, and what it asked
    for: a retry while the error is alive finds the arena full.

    Inputs that calls returned before count once, and results that are views of an
    input, not at all. Nor do weights, or anything that was not given or returned.
    Safe with threads.

    Args:
        capacity: How many bytes there are.
        kind: The error to raise: a name from `OOM_ERRORS`, `OOM_SUSPECTS` or
            `OOM_LOOKALIKES`.
        scratch: How many bytes a call needs besides, while it runs, for each byte
            that it is given.

    Attributes:
        peak: The most bytes that were held at once.
        sizes: The leading size of the inputs of each call, in order.
        n_refused: How many calls found no room.

    Raises:
        InputValueError: If *kind* is unknown.

    Examples:
        >>> arena = Arena(100)
        >>> double = arena(lambda x: 2 * x)
        >>> y = double(torch.ones(10))  # 40 bytes in, 40 bytes out
        >>> arena.live, arena.peak
        (40, 80)
        >>> try:
        ...     double(torch.ones(20))
        ... except torch.OutOfMemoryError as error:
        ...     print(str(error).partition(".")[0])
        CUDA out of memory
    """

    def __init__(
        self, capacity: int, /, *, kind: str = "cuda", scratch: float = 0.0
    ) -> None:
        known = {**OOM_ERRORS, **OOM_SUSPECTS, **OOM_LOOKALIKES}
        if kind not in known:
            raise InputValueError(
                f"Arena() knows no error {kind!r}; one of {', '.join(known)}"
            )
        self.capacity = capacity
        self.peak = 0
        self.sizes: list[int] = []
        self.n_refused = 0
        self._error = known[kind]
        self._scratch = scratch
        self._blocks: weakref.WeakSet[_Block] = weakref.WeakSet()
        self._results: dict[int, tuple[Any, int]] = {}
        self._lock = threading.RLock()

    @property
    def live(self) -> int:
        """The bytes that are held now."""
        with self._lock:
            for key, (ref, _) in [*self._results.items()]:
                if ref.expired():
                    del self._results[key]
            running = sum(block.n_bytes for block in [*self._blocks])
            return running + sum(n_bytes for _, n_bytes in self._results.values())

    def __call__(self, fn: F, /) -> F:
        """Return *fn* with what its calls are given and return held here."""

        @wraps(fn)
        def limited(*args: Any, **kwargs: Any) -> Any:
            given = list(_tensors((args, kwargs)))
            block = self._enter(given)  # noqa: F841 - held by the frame
            result = fn(*args, **kwargs)
            self._leave(list(_tensors(result)), given)
            return result

        return limited  # type: ignore[return-value]

    @contextmanager
    def limit(self, module: nn.Module, /) -> Iterator[Arena]:
        """
        Limit the calls of *module* in a ``with`` block.

        Its ``forward`` is replaced, on this one object, and put back at the end.
        """
        own = module.__dict__.get("forward")
        module.__dict__["forward"] = self(module.forward)
        try:
            yield self
        finally:
            del module.__dict__["forward"]
            if own is not None:
                module.__dict__["forward"] = own

    def _enter(self, given: list[torch.Tensor]) -> _Block:
        new = [each for each in given if _storage(each).cdata not in self._results]
        scratch = int(self._scratch * sum(map(_size, given)))
        block = _Block(sum(map(_size, new)) + scratch)
        with self._lock:
            self.sizes.append(max((t.shape[0] for t in given if t.ndim), default=0))
            self._blocks.add(block)
            self._check()
        return block

    def _leave(self, results: list[torch.Tensor], given: list[torch.Tensor]) -> None:
        known = {_storage(each).cdata for each in given}
        with self._lock:
            for tensor in results:
                ref = _storage(tensor)
                if ref.cdata not in known:
                    n_bytes = tensor.untyped_storage().nbytes()
                    self._results[ref.cdata] = ref, n_bytes
            self._check()

    def _check(self) -> None:
        live = self.live
        if live > self.capacity:
            self.n_refused += 1
            raise self._error.make()
        self.peak = max(self.peak, live)


class _Block:
    """What a call holds while it runs, or while its error is kept."""

    __slots__ = ("__weakref__", "n_bytes")

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _storage(tensor: torch.Tensor) -> Any:
    return _WEAK_REF(tensor.untyped_storage())


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
