"""
Memory that runs out on command.

`simulate_oom` refuses inputs that are too large, with the errors of real backends.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from unfussy._tree import tree_leaves
from unfussy.errors import InputValueError, PlanError
from unfussy.testing._oom_errors import (
    OOM_ERRORS,
    OOM_LOOKALIKES,
    OOM_SUSPECTS,
    ErrorText,
)

__all__ = ["Attempt", "SimulatedOom", "simulate_oom"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One call that `simulate_oom` saw.

    Attributes:
        index: How many attempts came before.
        n_items: The largest leading size among the tensors it was given.
        n_bytes: The bytes of all tensors it was given.
        n_held: How many refused attempts of the same thread were still alive when
            this one began, as when a retry runs inside the ``except`` block. On a
            real device their memory would be missing now.
    """

    index: int
    n_items: int
    n_bytes: int
    n_held: int


class SimulatedOom:
    """
    What `simulate_oom` returns: a context manager for a module, else a decorator.

    Attributes:
        attempts: Every call so far, refused ones included, in order.
        refused: The attempts that ended in the simulated error.
    """

    def __init__(
        self,
        module: nn.Module | None,
        too_much: Callable[[Attempt], bool],
        error: ErrorText,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.refused: list[Attempt] = []
        self._module = module
        self._too_much = too_much
        self._error = error
        self._hooks: list[RemovableHandle] = []
        self._lock = threading.Lock()
        self._failed: defaultdict[int, weakref.WeakSet[_Memory]]
        self._failed = defaultdict(weakref.WeakSet)

    @property
    def sizes(self) -> list[int]:
        """The leading size of each attempt, in order."""
        return [attempt.n_items for attempt in self.attempts]

    def __enter__(self) -> Self:
        if self._module is None:
            raise PlanError(
                "simulate_oom() without a module decorates a function; for a with "
                "block write simulate_oom(module, ...)"
            )
        if self._hooks:
            raise PlanError("this simulate_oom() is open already; make another one")
        hook = self._module.register_forward_pre_hook(
            lambda _, args, kwargs: self._attempt(args, kwargs),
            prepend=True,
            with_kwargs=True,
        )
        self._hooks.append(hook)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.pop().remove()
        if error is None and not self.attempts:
            name = type(self._module).__name__
            raise AssertionError(
                f"simulate_oom() never saw a call of {name}: only module(...) runs "
                "its hooks, other methods do not; give it the submodule they call"
            )

    def __call__(self, fn: F, /) -> F:
        """Return *fn* with the limit in front of it."""
        if self._module is not None:
            raise PlanError(
                "simulate_oom(module, ...) opens a with block; to decorate a function "
                "leave the module out"
            )

        @wraps(fn)
        def limited(*args: Any, **kwargs: Any) -> Any:
            self._attempt(args, kwargs)
            return fn(*args, **kwargs)

        return limited  # type: ignore[return-value]

    def _attempt(self, args: Any, kwargs: Any) -> None:
        tensors = list(_tensors((args, kwargs)))
        n_items = max((t.shape[0] for t in tensors if t.ndim), default=0)
        n_bytes = sum(t.numel() * t.element_size() for t in tensors)
        with self._lock:
            failed = self._failed[threading.get_ident()]
            attempt = Attempt(len(self.attempts), n_items, n_bytes, len(failed))
            self.attempts.append(attempt)
            refuse = self._too_much(attempt)
            if refuse:
                self.refused.append(attempt)
        if refuse:
            # Lives as long as this frame, which the traceback of the error holds.
            memory = _Memory()
            failed.add(memory)
            raise self._error.make()


class _Memory:
    """Stands for the tensors of a failed attempt."""

    __slots__ = ("__weakref__",)


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def simulate_oom(
    module: nn.Module | None = None,
    /,
    *,
    max_items: int | None = None,
    max_bytes: int | None = None,
    when: Callable[[Attempt], bool] | None = None,
    kind: str = "cuda",
) -> SimulatedOom:
    """
    Run out of memory whenever a call gets more than it may.

    With a *module*, use it in a ``with`` block: a hook refuses calls of the module
    before its ``forward`` runs, and is gone afterwards. Without, decorate a function
    with it, below `batched`. Both are safe with threads, and both record every
    attempt.

    Args:
        module: The module whose calls are limited. A method other than ``forward``
            does not run hooks: give the submodule that it calls.
        max_items: Refuse tensors with a larger leading size.
        max_bytes: Refuse more bytes of tensors than this, all arguments together.
        when: Refuse the attempts for which this is true.
        kind: The error to raise: a name from `OOM_ERRORS`, `OOM_SUSPECTS` or
            `OOM_LOOKALIKES`.

    Returns:
        The context manager or decorator, which holds ``attempts`` and ``refused``.

    Raises:
        AssertionError: At the end of the block, if the module was never called, since
            the test would have tested nothing.
        InputValueError: If *kind* is unknown.
        PlanError: If no limit is given.

    Examples:
        >>> layer = nn.Linear(3, 2)
        >>> with simulate_oom(layer, max_items=4) as oom:
        ...     y = layer(torch.zeros(4, 3))
        ...     try:
        ...         layer(torch.zeros(8, 3))
        ...     except torch.OutOfMemoryError as error:
        ...         print(str(error).partition(".")[0])
        CUDA out of memory
        >>> oom.sizes, len(oom.refused)
        ([4, 8], 1)
    """
    if max_items is None and max_bytes is None and when is None:
        raise PlanError("simulate_oom() needs a limit: max_items, max_bytes or when")
    known = {**OOM_ERRORS, **OOM_SUSPECTS, **OOM_LOOKALIKES}
    if kind not in known:
        raise InputValueError(
            f"simulate_oom() knows no error {kind!r}; one of {', '.join(known)}"
        )

    def too_much(attempt: Attempt) -> bool:
        return (
            (max_items is not None and attempt.n_items > max_items)
            or (max_bytes is not None and attempt.n_bytes > max_bytes)
            or (when is not None and when(attempt))
        )

    return SimulatedOom(module, too_much, known[kind])
