"""What a call would do, said before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unfussy._batching import ChunkPlan
from unfussy._call import Planner
from unfussy._compile import Planned, planned
from unfussy._inputs import named_inputs
from unfussy._lease import needs_lease
from unfussy._low_copies import cast_once_memory, is_worth_keeping
from unfussy._options import Configured
from unfussy._plan import OVERRIDES, Overrides
from unfussy._tree import tree_paths
from unfussy._underway import Call
from unfussy.errors import InputTypeError, PlanError

__all__ = ["Explanation", "InputStep", "explain"]


@dataclass(frozen=True, slots=True)
class InputStep:
    """
    What becomes of one tensor or array of the inputs.

    Attributes:
        path: The argument and where in it.
        came: What came.
        becomes: What the method gets.
        done: What is done for that, such as ``("convert", "cast", "move")``.
    """

    path: str
    came: str
    becomes: str
    done: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    What a call would do; prints as a short report.

    Attributes:
        method: The method.
        place: Where the module lives.
        inputs: What becomes of each input.
        modes: Eval mode and gradients.
        precision: What autocast does.
        batch: How the inputs are cut.
        result: The form of the result.
        chunks: The chunks, as far as is known before they run; None if there are none.
    """

    method: str
    place: str
    inputs: tuple[InputStep, ...]
    modes: str
    precision: str
    batch: str
    result: str
    chunks: ChunkPlan | None = None

    def __str__(self) -> str:
        lines = [f"{self.method} on {self.place}"]
        for step in self.inputs:
            done = ", ".join(step.done) or "as it is"
            lines.append(f"  {step.path}: {step.came} -> {step.becomes} ({done})")
        lines += [
            f"  modes: {self.modes}",
            f"  precision: {self.precision}",
            f"  batch: {self.batch}",
            f"  result: {self.result}",
        ]
        return "\n".join(lines)


def explain(method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Explanation:
    """
    Tell what ``method(*args, **kwargs)`` would do, without doing it.

    Args:
        method: A decorated method, bound, or a configured one.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Raises:
        PlanError: If *method* is not decorated.
        InputTypeError: If an argument cannot become a tensor, as the call would.

    Examples:
        >>> import numpy, torch
        >>> from unfussy import auto_device, inference
        >>> class Net(torch.nn.Linear):
        ...     @auto_device
        ...     @inference
        ...     def embed(self, x):
        ...         return self(x)
        >>> print(explain(Net(4, 2).eval().embed, numpy.zeros((3, 4))))
        Net.embed() on cpu, float32
          x: array (3, 4) float64 -> tensor (3, 4) float32 on cpu (convert, cast)
          modes: eval mode already, gradients off (no_grad)
          precision: as the caller set it
          batch: not cut
          result: as the method returns it
    """
    planner, bound = _planner_of(method)
    call = planner.begin((*bound, *args), kwargs)
    batch, chunks = _describe_batch(planner, call)
    return Explanation(
        method=planner.method.name,
        place=_describe_place(call),
        inputs=tuple(_steps(planner, call)),
        modes=_describe_modes(planner, call),
        precision=_describe_precision(planner, call),
        batch=batch,
        result=_describe_result(planner),
        chunks=chunks,
    )


def _planner_of(method: Any) -> tuple[Planner, tuple[Any, ...]]:
    if isinstance(method, Configured):
        return _overridden(method.record, method.overrides), method.bound
    record = planned(method)
    if record is None:
        raise PlanError(f"explain() takes a decorated method, got {method!r}")
    bound = (method.__self__,) if hasattr(method, "__self__") else ()
    return _overridden(record, OVERRIDES.get()), bound


def _overridden(record: Planned, overrides: Overrides | None) -> Planner:
    if not overrides:
        return record.planner
    plan = record.plan.override(overrides)
    return Planner(record.raw, plan, record.planner.method)


def _describe_place(call: Call) -> str:
    device = call.place.device or "wherever its inputs are"
    return f"{device}, {_name(call.place.dtype)}" if call.place.dtype else str(device)


def _steps(planner: Planner, call: Call) -> Iterator[InputStep]:
    inputs = named_inputs(call.args, call.kwargs, call.start, planner.method)
    for path, leaf in tree_paths(inputs):
        if isinstance(leaf, (torch.Tensor, np.ndarray)):
            key, _, rest = path[2:].partition("']")
            try:
                yield _step(planner, call, key + rest, leaf, nested=bool(rest))
            except InputTypeError as error:
                name = planner.method.name
                raise InputTypeError(f"{name}: argument {key}{rest}: {error}") from None


def _step(
    planner: Planner, call: Call, path: str, leaf: Any, *, nested: bool
) -> InputStep:
    kind = "array" if isinstance(leaf, np.ndarray) else "tensor"
    came = f"{kind} {tuple(leaf.shape)} {_name(leaf.dtype)}"
    if planner.reader is None or planner.reader.skips(path.partition(".")[0]):
        return InputStep(path, came, came, ())
    sample = leaf[:0] if leaf.ndim else leaf  # of no size: nothing is really moved
    mover = planner.reader.mover(call.place)
    moved = mover([sample], {})[0] if nested else mover(sample, {})
    if not isinstance(moved, torch.Tensor):
        return InputStep(path, came, came, ())
    becomes = f"tensor {tuple(leaf.shape)} {_name(moved.dtype)} on {moved.device}"
    device = leaf.device if isinstance(leaf, torch.Tensor) else torch.device("cpu")
    done = {
        "convert": kind == "array",
        "cast": _name(moved.dtype) != _name(leaf.dtype),
        "move": moved.device != device,
        "copy": planner.plan.move is not None and planner.plan.move.copy,
    }
    return InputStep(path, came, becomes, tuple(key for key in done if done[key]))


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _describe_modes(planner: Planner, call: Call) -> str:
    modes = planner.plan.modes
    if modes is None:
        return "as the caller set them"
    if not modes.eval or call.module is None:
        evaluation = "training flags as they are"
    elif not needs_lease(call.module):
        evaluation = "eval mode already"
    else:
        parts = list(call.module.modules())
        switched = sum(part.training for part in parts)
        evaluation = f"eval mode for {switched} of {len(parts)} modules, then back"
    kind = "inference mode" if modes.mode == "inference" else "no_grad"
    return f"{evaluation}, gradients off ({kind})"


def _describe_precision(planner: Planner, call: Call) -> str:
    precision, target = planner.plan.precision, call.target
    if precision is None or precision.precision == "inherit":
        return "as the caller set it"
    if target is None:
        reason = f"{precision.precision} changes nothing on {call.place.type}"
        return f"as the caller set it ({reason})"
    if target is False:
        return "autocast off"
    weights = _describe_weights(planner, call)
    back = ", results back in float32" if precision.outputs == "float32" else ""
    return f"autocast to {_name(target)} ({precision.precision}){weights}{back}"


def _describe_weights(planner: Planner, call: Call) -> str:
    precision, module = planner.plan.precision, call.module
    if precision is None or precision.weights == "per_call" or module is None:
        return ""
    if is_worth_keeping(module, planner.method.name) is False:
        return ", weights cast in every call (keeping them would cost more)"
    kept = cast_once_memory(module) / 1e6
    return f", weights cast once ({kept:.1f} MB kept)"


def _describe_batch(planner: Planner, call: Call) -> tuple[str, ChunkPlan | None]:
    chunker = planner.chunker
    if chunker is None:
        return "not cut", None
    lengths, chunks = chunker.preview(call)
    if not lengths:
        return "no input can be cut", None
    items = f"{next(iter(lengths.values()))} items of {', '.join(lengths)}"
    if chunks is None or len(chunks.chunks) == 1:
        return f"{items} at once", chunks
    size = chunker.batch.size
    known = f" of at most {size}" if isinstance(size, int) else ""
    known += ", each of one group" if chunker.batch.group is not None else ""
    padding = f", {chunks.waste:.1%} of it padding" if chunks.waste else ""
    return f"{items} in {len(chunks.chunks)} chunks{known}{padding}", chunks


def _describe_result(planner: Planner) -> str:
    output = planner.plan.output
    if output is None:
        return "as the method returns it"
    kinds = {"tensor": "tensors", "numpy": "arrays", "mirror": "in the input's form"}
    places = {"keep": "where they are", "cpu": "on the CPU", "input": "at the input"}
    place = "" if output.kind == "numpy" else f", {places[output.device]}"
    return kinds[output.kind] + place
