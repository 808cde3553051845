"""
Which calls of a method run in chunks, and what they carry the batch in.

What is learnt about a method, such as how much fits, stays here from call to call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch.nn.modules.batchnorm import _BatchNorm

from unfussy._arrays import is_numbers, is_picture
from unfussy._batching import (
    ChunkPlan,
    Outcome,
    find_batch,
    items_of,
    oom_kind,
    release_memory,
)
from unfussy._chunked import Arrive, Body, Chunked
from unfussy._inputs import apply_to_arguments, named_inputs
from unfussy._learnt import Learnt
from unfussy._method import Method
from unfussy._plan import Plan
from unfussy._underway import Call
from unfussy.errors import AmbiguousBatchError, DoesNotFitError, PlanError

__all__ = ["Chunker"]


class Chunker:
    """
    Runs the calls of one method in chunks.

    Attributes:
        batch: How.
        learnt: What its calls have taught.
    """

    __slots__ = ("_evaluates", "batch", "learnt")

    def __init__(self, plan: Plan, method: Method) -> None:
        assert plan.batch is not None  # noqa: S101 - by the caller
        self.batch, output = plan.batch, plan.output
        to_cpu = output is not None and (
            output.kind == "numpy" or output.device == "cpu"
        )
        self.learnt = Learnt(
            self.batch,
            method,
            on_cpu=to_cpu or self.batch.keep == "cpu",
            mirrors=output is not None and output.kind == "mirror",
        )
        self._evaluates = plan.modes is not None and plan.modes.eval

    def run(self, call: Call, body: Body, arrive: Arrive) -> Any:
        """
        Run one call.

        Raises:
            AmbiguousBatchError: If it cannot be told what to cut or how to join.
            DoesNotFitError: If the smallest chunk does not fit.
            PlanError: If the module is in training mode, and that forbids cutting.
        """
        single = self._wrap_single(call)
        inputs = self._inputs(call)
        lengths = self._find(inputs, call)
        if not lengths:
            return self._at_once(call, body)
        whole = self._not_to_cut(call)
        if whole is not None and call.refusal is not None:
            raise DoesNotFitError(f"{whole}, so it cannot be cut. {call.refusal}")
        result = Chunked(self.learnt, call, inputs, lengths).run(body, arrive, whole)
        if not single:
            return result
        items = result if isinstance(result, Outcome) else items_of(result, 1)
        return next(iter(items))

    def preview(self, call: Call) -> tuple[dict[str, int], ChunkPlan | None]:
        """Return what carries the batch, and how it would be cut."""
        self._wrap_single(call)
        inputs = self._inputs(call)
        lengths = self._find(inputs, call)
        if not lengths or not max(lengths.values()):
            return lengths, None
        return lengths, Chunked(self.learnt, call, inputs, lengths).preview()

    def _at_once(self, call: Call, body: Body) -> Any:
        """Run a call in which nothing can be cut, or no one knows what."""
        if call.refusal is not None:
            release_memory()
            if call.frame is not None:
                call.frame.retries += 1
        try:
            return body(call.args, call.kwargs)
        except (RuntimeError, MemoryError) as error:
            if self.batch.on_oom == "raise" or oom_kind(error) != "definite":
                raise
            call.refusal = f"{type(error).__name__}: {error}"
        inputs, name = self._inputs(call), self.learnt.method.name
        # Says why nothing can be cut.
        find_batch(inputs, self.batch.over, name, call.refusal)
        raise DoesNotFitError(f"{name}: {call.refusal}")

    def _inputs(self, call: Call) -> dict[str, Any]:
        return named_inputs(call.args, call.kwargs, call.start, self.learnt.method)

    def _find(self, inputs: Mapping[str, Any], call: Call) -> dict[str, int]:
        batch, name = self.batch, self.learnt.method.name
        injected = batch.injected()
        found = {k: v for k, v in inputs.items() if v is not None or k not in injected}
        try:
            nested = batch.ragged != "equal"
            return find_batch(found, batch.over, name, nested=nested)
        except AmbiguousBatchError as error:
            if call.refusal is not None:
                raise DoesNotFitError(
                    f"{call.refusal}. The inputs cannot be cut: {error}"
                ) from None
            if isinstance(batch.size, int) or batch.over or batch.makes_arrays:
                raise
            return {}  # all at once, then

    # --- one single item -----------------------------------------------------------

    def _wrap_single(self, call: Call) -> bool:
        """Make a batch of one of a single item, and tell whether there was one."""
        names = self._singles(self._inputs(call))
        if names:
            call.args, call.kwargs = apply_to_arguments(
                lambda label, value: _as_batch(value) if label in names else value,
                call.args,
                call.kwargs,
                self.learnt.method,
            )
        return bool(names)

    def _singles(self, inputs: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the arguments that are one item each."""
        item, over = self.batch.item, self.batch.over
        if item is None:
            return frozenset()
        given = {k: v for k, v in inputs.items() if over is None or k in over}
        names = [name for name, value in given.items() if _is_item(value, item)]
        if any(_is_batch(value, item) for value in given.values()):
            return frozenset()
        if over is None and names and isinstance(given[names[0]], str):
            names = names[:1]  # further strings are options
        return frozenset(names)

    def _not_to_cut(self, call: Call) -> str | None:
        """
        Return why the batch must not be cut; None if it may be.

        Raises:
            PlanError: If items would have to be run again, and may not be.
        """
        module, name = call.module, self.learnt.method.name
        if module is None or not module.training or self._evaluates:
            return None
        if self.batch.on_error != "raise":
            raise PlanError(
                f"{name}: on_error={self.batch.on_error!r} runs items again, which a "
                "module in training mode may not forgive; add @inference or call "
                ".eval()"
            )
        if not any(isinstance(m, _BatchNorm) and m.training for m in module.modules()):
            return None
        return f"{name}: batch norm in training mode makes results depend on the batch"


_Item: TypeAlias = int | type | tuple[type, ...]


def _is_item(value: Any, item: _Item) -> bool:
    if isinstance(item, int):
        return getattr(value, "ndim", None) == item or is_picture(value)
    return isinstance(value, item)


def _is_batch(value: Any, item: _Item) -> bool:
    if isinstance(value, list) and not is_numbers(value):
        return isinstance(item, int) or not isinstance(value, item)
    return isinstance(item, int) and getattr(value, "ndim", None) == item + 1


def _as_batch(value: Any) -> Any:
    return value[None] if hasattr(value, "ndim") else [value]
