"""
The general path of a planned call: any arguments, any plan.

The order is always: read numbers, eval mode, gradients off, autocast, cut into
chunks, convert and move, the author's method, join; then the form of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import torch

from unfussy._batching import drop_frames, is_out_of_memory
from unfussy._cast_once import CastOnce
from unfussy._chunks import Chunker
from unfussy._devices import Place, place_of
from unfussy._drivers import Driven
from unfussy._fitting import make_glance
from unfussy._inputs import (
    INPUT_ERRORS,
    Arguments,
    InputReader,
    check_subject,
    subject_first,
    subject_of,
)
from unfussy._lease import EvalLease, needs_lease
from unfussy._method import Method
from unfussy._modes import NoGrad, grad_context, inference_guard, normal
from unfussy._nonfinite import guarded
from unfussy._outputs import finish_output, form_of
from unfussy._plan import OVERRIDES, Plan
from unfussy._precision import (
    Autocast,
    Precision,
    Target,
    autocast_for,
    is_any_autocast_enabled,
    kept_in_float32,
    needs_switch,
    to_float32,
)
from unfussy._recording import CONVERT, OUTPUT, RUN, as_run
from unfussy._underway import Call

__all__ = ["Planner", "is_low"]

# In torch.jit.trace, where lengths are no numbers.
_is_tracing: Final[Callable[[], bool]] = torch.jit.is_tracing  # type: ignore[attr-defined]


class Planner:
    """
    A plan made ready for the calls of one function.

    Attributes:
        plan: The plan.
        method: The function's name and parameters.
        reader: What brings inputs to the module, or None.
        chunker: What runs calls in chunks, or None.
    """

    __slots__ = (
        "_fn",
        "_glance",
        "_look",
        "_places",
        "_targets",
        "chunker",
        "method",
        "plan",
        "reader",
    )

    def __init__(self, fn: Callable[..., Any], plan: Plan, method: Method) -> None:
        self.plan, self.method = plan, method
        self._fn, self._look = guarded(fn, plan.precision, method)
        self.reader = None
        if plan.move is not None:
            rows = plan.batch is not None  # of lists that are cut by item
            self.reader = InputReader(plan.move, method, rows=rows)
        self._targets: dict[tuple[str, torch.dtype | None], Target] = {}
        self._places = plan.move is not None or plan.precision is not None
        self.chunker = None if plan.batch is None else Chunker(plan, method)
        self._glance = None if plan.batch is None else make_glance(plan.batch, method)

    def run(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], refusal: str | None = None
    ) -> Any:
        """Run one call of a plain function, in chunks if all at once was refused."""
        call = self.begin(args, kwargs)
        call.refusal = refusal
        result = _within(self._contexts(call), self._inner, call)
        return self._finish(result, call)

    def run_ready(self, subject: Any, x: Any) -> Any:
        """Run a call, with a precision, of a module and one input that is ready."""
        call = Call((subject, x), {})
        call.module = subject
        call.place = place_of(subject, subject)
        call.target = self.target(call.place)
        result = _within(self._contexts(call), self._run_raw, call)
        return self._finish(result, call)

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Find out which module is called, where it lives and what it was given."""
        args, kwargs = subject_first(args, kwargs, self.method)
        call = Call(args, kwargs)
        subject, call.module, call.start = subject_of(args, self.method)
        if self._places:
            call.place = place_of(call.module, subject)
        if self.plan.precision is not None:
            call.target = self.target(call.place)
        output = self.plan.output
        if output is not None and (output.kind == "mirror" or output.device == "input"):
            call.form = form_of([args[call.start :], kwargs])
        if self.reader is not None:
            check_subject(subject, self.method)
            if self.reader.reads:
                read = self.reader.read
                if call.frame is not None:
                    read = partial(call.frame.timed, CONVERT, read)
                call.args, call.kwargs = read(args, kwargs, call.start)
        if call.frame is not None:
            call.frame.device = call.place.device or call.frame.device
        return call

    def driven(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Driven:
        """Get a call of a generator or coroutine function ready."""
        call = self.begin(args, kwargs)
        args, kwargs = self._arrived(call.args, call.kwargs, call)
        make = partial(self._fn, *args, **kwargs)
        return Driven(make, partial(self._step, call), partial(self._hand_out, call))

    def _step(self, call: Call, fn: Callable[..., Any], *args: Any) -> Any:
        token = OVERRIDES.set(None)  # what it calls in turn follows its own plan
        try:
            return _within(self._contexts(call), fn, *args)
        finally:
            OVERRIDES.reset(token)

    def _hand_out(self, call: Call, result: Any) -> Any:
        return self._finish(self._raised(self._look(result), call), call)

    def _finish(self, result: Any, call: Call) -> Any:
        modes, output = self.plan.modes, self.plan.output
        if output is not None:
            finish = finish_output
            if call.frame is not None:
                finish = partial(call.frame.timed, OUTPUT, finish)
            result = finish(result, output, call.form, self.method.name)
        if modes is None or modes.mode != "inference" or modes.result == "keep":
            return result
        return result if torch.is_inference_mode_enabled() else normal(result)

    # --- contexts ------------------------------------------------------------------

    def _contexts(self, call: Call) -> list[AbstractContextManager[Any]]:
        """Return the contexts that this call needs, outermost first."""
        contexts: list[AbstractContextManager[Any]] = []
        modes, precision, module = self.plan.modes, self.plan.precision, call.module
        if modes is not None:
            if modes.eval and module is not None and needs_lease(module):
                contexts.append(EvalLease(module))
            # Autocast casts a weight once for all chunks, but not in inference mode.
            casts = isinstance(call.target, torch.dtype)
            shares = casts and self.plan.batch is not None
            grad = grad_context("no_grad" if shares else modes.mode)
            if grad is not None:
                contexts.append(grad)
                call.infers = not isinstance(grad, NoGrad)
        if precision is not None and (call.target is not None or precision.keep_fp32):
            contexts.extend(_autocast(precision, call))
        if module is not None and self._casts_once(call):
            contexts.append(CastOnce(module, call.place.type, self.method.name))
        return contexts

    def _casts_once(self, call: Call) -> bool:
        precision = self.plan.precision
        if precision is None or precision.weights != "cast_once":
            return False
        return is_low(call.target, call.place.type)

    def target(self, place: Place) -> Target:
        """Return what autocast does for a module that lives at *place*."""
        key = place.type, place.dtype
        if key not in self._targets and self.plan.precision is not None:
            self._targets[key] = autocast_for(self.plan.precision.precision, *key)
        return self._targets[key]

    def _run_raw(self, call: Call) -> Any:
        fn = self._fn if call.frame is None else as_run(self._fn)
        return self._raised(fn(*call.args), call)

    def _raised(self, result: Any, call: Call) -> Any:
        return to_float32(result) if self._casts_back(call) else result

    def _casts_back(self, call: Call) -> bool:
        precision = self.plan.precision
        if precision is None or precision.outputs == "keep":
            return False
        inherits = precision.precision == "inherit"
        return not inherits and is_low(call.target, call.place.type)

    # --- chunks --------------------------------------------------------------------

    def _inner(self, call: Call) -> Any:
        chunker, glance = self.chunker, self._glance
        if chunker is None or glance is None or _is_tracing():
            return self._run_body(call)
        if call.refusal is None and not chunker.learnt.tight and glance(call):
            try:
                return self._run_body(call)
            except (RuntimeError, MemoryError) as error:
                if chunker.batch.on_oom == "raise" or not is_out_of_memory(error):
                    raise
                call.refusal = f"{type(error).__name__}: {error}"
                drop_frames(error)
        # Outside the except block, so that nothing of the attempt is alive.
        return self._raised(self._in_chunks(call, chunker), call)

    def _run_body(self, call: Call) -> Any:
        return self._raised(self._body(call.args, call.kwargs, call), call)

    def _in_chunks(self, call: Call, chunker: Chunker) -> Any:
        def body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                return self._body(args, kwargs, call)
            except INPUT_ERRORS:
                if chunker.batch.on_error == "raise":
                    # Of a chunk; among all items its path is another one.
                    self._arrived(call.args, call.kwargs, call)
                raise

        def arrive(
            args: tuple[Any, ...], kwargs: dict[str, Any], leave: frozenset[str]
        ) -> Arguments:
            return self._arrived(args, kwargs, call, leave)

        return chunker.run(call, body, arrive)

    def _body(self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call) -> Any:
        args, kwargs = self._arrived(args, kwargs, call)
        if call.frame is None:
            return self._fn(*args, **kwargs)
        return call.frame.timed(RUN, self._fn, *args, **kwargs)

    def _arrived(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Call,
        leave: frozenset[str] = frozenset(),
    ) -> Arguments:
        if self.reader is None:
            return args, kwargs
        move = self.reader.move
        if call.frame is not None:
            move = partial(call.frame.timed, CONVERT, move)
        if not call.infers:
            return move(args, kwargs, call.start, call.place, leave)
        with inference_guard(False):  # noqa: FBT003 - inputs are normal tensors
            return move(args, kwargs, call.start, call.place, leave)


def _autocast(
    precision: Precision, call: Call
) -> Iterator[AbstractContextManager[Any]]:
    target, kind = call.target, call.place.type
    automatic = precision.precision == "auto"
    if target is not None and needs_switch(target, kind, automatic=automatic):
        yield Autocast(kind, target)
    if precision.keep_fp32 and call.module is not None and is_low(target, kind):
        yield kept_in_float32(call.module, precision.keep_fp32, kind)


def is_low(target: Target, kind: str) -> bool:
    """Tell whether autocast is on in a call that makes it *target*."""
    if target is None:  # what the caller set
        return is_any_autocast_enabled() and torch.is_autocast_enabled(kind)
    return target is not False


def _within(
    contexts: list[AbstractContextManager[Any]], fn: Callable[..., Any], *args: Any
) -> Any:
    if not contexts:
        return fn(*args)
    with contexts[0]:
        return _within(contexts[1:], fn, *args)
