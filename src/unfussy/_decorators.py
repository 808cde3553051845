"""
The decorators: each fills one entry of the plan of the function below it.

They are written bare or with arguments, in any order, on methods, ``forward``, class
and static methods (ours underneath), free functions whose first argument is a
module, generators and coroutines. What comes back is a plain function with the
signature, the documentation and the type of the one that was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from torch import nn

from unfussy._batching import Batch, OnError, Pack, Pad, Ragged, Size
from unfussy._compile import compile_plan, planned
from unfussy._modes import GradMode, Modes
from unfussy._moving import Float64, Move
from unfussy._outputs import Output, OutputKind
from unfussy._plan import Plan, check_setting, names_of
from unfussy._precision import Precision, PrecisionName
from unfussy._progress import Progress
from unfussy.errors import PlanError

__all__ = [
    "auto_device",
    "autocast_policy",
    "batched",
    "decorate",
    "inference",
    "returns",
]

F = TypeVar("F", bound=Callable[..., Any])


def decorate(fn: F, plan: Plan, /) -> F:
    """
    Return *fn* with the entries of *plan* added to its own.

    Raises:
        PlanError: If *fn* is no function, or its plan says otherwise already.
    """
    _check_function(fn)
    record = planned(fn)
    raw = fn if record is None else record.raw
    if record is not None:
        plan = record.plan.merge(plan, record.planner.method.name)
    _check_names(raw, plan)
    return compile_plan(raw, plan)  # type: ignore[return-value]


def _check_function(fn: object) -> None:
    if isinstance(fn, (classmethod, staticmethod, property)):
        kind = type(fn).__name__
        raise PlanError(f"put the decorator below @{kind}, next to the function")
    if isinstance(fn, (type, nn.Module)):
        kind = "class" if isinstance(fn, type) else "module"
        raise PlanError(
            f"this is a {kind}; decorate its methods, or use unfuss(module)"
        )
    if not callable(fn):
        raise PlanError(f"decorators go on functions, got {fn!r}")


def _check_names(raw: Callable[..., Any], plan: Plan) -> None:
    skip = plan.move.skip if plan.move is not None else ()
    over = plan.batch.over if plan.batch is not None else ()
    beside = () if plan.batch is None else tuple(plan.batch.injected())
    parameters = inspect.signature(raw).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    settings = (("skip", skip), ("over", over or ()), ("pad or pack", beside))
    for setting, names in settings:
        for name in names:
            if name.partition("[")[0] not in parameters:
                known = ", ".join(parameters)
                raise PlanError(
                    f"{setting} names {name!r}, which is no parameter of "
                    f"{raw.__qualname__}({known})"
                )


@overload
def auto_device(fn: F, /) -> F: ...
@overload
def auto_device(
    *,
    skip: str | Iterable[str] = (),
    float64: Float64 = "follow",
    non_blocking: bool | Literal["auto"] = "auto",
    copy: bool = False,
) -> Callable[[F], F]: ...
def auto_device(
    fn: Any = None,
    /,
    *,
    skip: str | Iterable[str] = (),
    float64: Float64 = "follow",
    non_blocking: bool | Literal["auto"] = "auto",
    copy: bool = False,
) -> Any:
    """
    Bring inputs to where the module lives.

    Every tensor and numeric NumPy array in the arguments, at any depth of lists,
    tuples, mappings, records and the like, arrives as a tensor on the module's
    device. The device is that of the module's first parameter at the time of the
    call. Numbers, strings and other objects pass unchanged; lists of numbers become
    tensors where the parameter is annotated `TensorLike` or ``torch.Tensor``.

    An array shares its memory with the tensor where that is safe, so a method that
    works in place writes into a CPU caller's array; *copy* prevents that.

    Args:
        fn: The function, if the decorator is written bare.
        skip: Names of parameters whose arguments are left alone.
        float64: What becomes of double precision. ``"follow"``: it takes the module's
            precision, so that NumPy's default dtype just works and double modules
            stay double. ``"keep"`` leaves it, ``"float32"`` always casts.
        non_blocking: Whether copies from the host to an accelerator run beside the
            program; ``"auto"`` on CUDA and XPU. Never towards the host or MPS, where
            that is a known source of garbage.
        copy: Give the method copies even of inputs that need no conversion.

    Raises:
        InputTypeError: At a call, for what cannot become a tensor: arrays of objects
            or strings, masked arrays. The message names the argument.
        PlanError: At decoration, if *skip* names no parameter.

    Examples:
        >>> import numpy, torch
        >>> class Scale(torch.nn.Linear):
        ...     @auto_device
        ...     def scale(self, x):
        ...         return self.weight * x["pose"]
        >>> Scale(1, 1).scale({"pose": numpy.zeros((2, 1))}).dtype
        torch.float32
    """
    move = Move(
        names_of(skip, "skip") or (),
        check_setting("float64", float64),
        check_setting("non_blocking", non_blocking),
        check_setting("copy", copy),
    )
    return _bare_or_called(fn, Plan(move=move))


@overload
def inference(fn: F, /) -> F: ...
@overload
def inference(
    *,
    mode: GradMode = "no_grad",
    eval: bool = True,
    result: Literal["normal", "keep"] = "normal",
) -> Callable[[F], F]: ...
def inference(
    fn: Any = None,
    /,
    *,
    mode: GradMode = "no_grad",
    eval: bool = True,  # noqa: A002 - the field's own word
    result: Literal["normal", "keep"] = "normal",
) -> Any:
    """
    Run in eval mode and without gradients, and put everything back.

    Every submodule has its own training flag back afterwards, also after an error,
    and also when calls overlap in threads. A module that is in eval mode already is
    not touched, so a child left in training mode on purpose stays in it. Generators
    and coroutines hold the modes only while their own code runs.

    Args:
        fn: The function, if the decorator is written bare.
        mode: ``"no_grad"`` leaves nothing behind. ``"inference"`` is
            ``torch.inference_mode()``: a little less overhead, for modules that keep
            no tensor of a call, because such tensors cannot be used in training.
        eval: Whether to switch the module to eval mode.
        result: With ``mode="inference"``, whether results are handed out as
            ``"normal"`` tensors, usable in training, or kept as they are.

    Examples:
        >>> import torch
        >>> class Noise(torch.nn.Dropout):
        ...     @inference
        ...     def clean(self, x):
        ...         return self(x)
        >>> noise = Noise()
        >>> noise.clean(torch.ones(3)), noise.training
        (tensor([1., 1., 1.]), True)
    """
    modes = Modes(
        check_setting("mode", mode),
        check_setting("eval", eval),
        check_setting("result", result),
    )
    return _bare_or_called(fn, Plan(modes=modes))


@overload
def autocast_policy(fn: F, /) -> F: ...
@overload
def autocast_policy(
    *,
    precision: PrecisionName | str | Any = "auto",
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
) -> Callable[[F], F]: ...
@overload
def autocast_policy(
    precision: PrecisionName | str,
    /,
    *,
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
) -> Callable[[F], F]: ...
def autocast_policy(
    fn: Any = None,
    /,
    *,
    precision: Any = "auto",
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
) -> Any:
    """
    Run in mixed precision where that pays.

    Args:
        fn: The function, if the decorator is written bare; or the precision.
        precision: ``"auto"``: off on a CPU; on CUDA bfloat16 where the device has
            it, else float16; a caller's own autocast is respected. ``"fp32"`` switches
            autocast off, a caller's too. ``"fp16"`` and ``"bf16"`` switch it on,
            ``"inherit"`` touches nothing. Long names and torch dtypes are understood.
            Modules in double precision are left alone.
        outputs: Whether floating results that autocast left in low precision come
            back as ``"float32"``, or are kept.
        keep_fp32: Names of submodules, as in ``get_submodule``, that run in float32
            all the same. They are reached by hooks, so only where they are called.

    Raises:
        PlanError: If there is no such precision, or no such submodule at a call.

    Examples:
        >>> import torch
        >>> class Net(torch.nn.Linear):
        ...     @autocast_policy(precision="bf16")
        ...     def embed(self, x):
        ...         return self(x)
        >>> Net(4, 2).embed(torch.zeros(1, 4)).dtype
        torch.float32
    """
    if fn is not None and not callable(fn):
        fn, precision = None, fn
    policy = Precision(
        check_setting("precision", precision),
        check_setting("outputs", outputs),
        names_of(keep_fp32, "keep_fp32") or (),
    )
    return _bare_or_called(fn, Plan(precision=policy))


@overload
def batched(fn: F, /) -> F: ...
@overload
def batched(
    size: Size = "auto",
    /,
    *,
    over: str | Iterable[str] | None = None,
    cost: Callable[..., float] | None = None,
    budget: float | None = None,
    ragged: Ragged | None = None,
    pad: Pad | None = None,
    pack: Pack | None = None,
    join: Literal["auto", "items"] = "auto",
    item: int | type | tuple[type, ...] | None = None,
    on_oom: Literal["split", "raise"] = "split",
    on_error: OnError = "raise",
    min_size: int = 1,
    keep: Literal["device", "cpu"] = "device",
    progress: Progress = None,
) -> Callable[[F], F]: ...
@overload
def batched(
    *,
    size: Size = "auto",
    over: str | Iterable[str] | None = None,
    cost: Callable[..., float] | None = None,
    budget: float | None = None,
    ragged: Ragged | None = None,
    pad: Pad | None = None,
    pack: Pack | None = None,
    join: Literal["auto", "items"] = "auto",
    item: int | type | tuple[type, ...] | None = None,
    on_oom: Literal["split", "raise"] = "split",
    on_error: OnError = "raise",
    min_size: int = 1,
    keep: Literal["device", "cpu"] = "device",
    progress: Progress = None,
) -> Callable[[F], F]: ...
def batched(
    fn: Any = None,
    /,
    *,
    size: Size = "auto",
    over: str | Iterable[str] | None = None,
    cost: Callable[..., float] | None = None,
    budget: float | None = None,
    ragged: Ragged | None = None,
    pad: Pad | None = None,
    pack: Pack | None = None,
    join: Literal["auto", "items"] = "auto",
    item: int | type | tuple[type, ...] | None = None,
    on_oom: Literal["split", "raise"] = "split",
    on_error: OnError = "raise",
    min_size: int = 1,
    keep: Literal["device", "cpu"] = "device",
    progress: Progress = None,
) -> Any:
    """
    Cut large inputs into chunks and join the results in the caller's order.

    Tensors and arrays are cut along their first dimension, lists by item, tuples,
    mappings and records leaf by leaf. Results of any nesting are joined likewise;
    what is the same for every chunk is kept once. A chunk that runs out of memory is
    cut and tried again, smaller; nothing that is done is done again, and what fits is
    remembered for the next call, until the module changes.

    The items of a list become one tensor where the parameter is annotated
    `TensorLike`, `ImageLike` or ``torch.Tensor``, and wherever there is a *pad* or a
    *pack*; else the method gets a list. Either way only items of equal shape share a
    chunk, unless *ragged* says otherwise.

    Args:
        fn: The function, if the decorator is written bare; or the size.
        size: Most items in a chunk. ``"auto"`` starts with what is small, and grows
            while larger chunks fit and, on a CPU, are faster by the item. ``"all"``
            runs all at once while that fits.
        over: Names of the parameters that carry the batch. By default all inputs
            that can be cut do, and must have equal lengths.
        cost: Gives the length of one item (of each parameter that carries the batch),
            such as its tokens or pixels. Chunks are planned by it.
        budget: Most length of a chunk, padding included.
        ragged: How items of different shapes share a chunk. ``"equal"``: they do not,
            which is always exact. ``"pad"`` and ``"pack"`` make one tensor of them,
            and the method must tell what is real. ``"list"``: the method gets a list
            of any shapes.
        pad: How items are padded; means ``ragged="pad"``.
        pack: How items are concatenated; means ``ragged="pack"``.
        join: ``"items"`` returns a list with the result of each item.
        item: What one item looks like: its number of dimensions, or its type. One
            item then is taken too, and gives one result.
        on_oom: ``"split"`` a chunk that does not fit, or ``"raise"`` the error.
        on_error: What becomes of an item that raises. ``"raise"``: its error.
            ``"skip"``: the result is that of the others, and an `ItemsFailedWarning`
            names who is missing. ``"return"``: the call returns an `Outcome`.
        min_size: The smallest chunk to try.
        keep: Whether results of chunks wait on the ``"device"`` or the ``"cpu"``.
        progress: True for a bar (extra ``progress``), False for none, or a function
            that is called with the number of items just finished. By default a bar
            appears after one second, where a terminal and tqdm are.

    Raises:
        AmbiguousBatchError: At a call, if the lengths of arguments differ or results
            cannot be joined.
        AllItemsFailedError: At a call with ``on_error="skip"``, if no item is left.
        DoesNotFitError: At a call, if the smallest chunk does not fit.
        PlanError: At decoration, of generators and coroutines, and if settings
            contradict each other. At a call of a module in training mode whose batch
            norm would see chunks.

    Examples:
        >>> import torch
        >>> class Net(torch.nn.Linear):
        ...     @batched(size=2)
        ...     def embed(self, x):
        ...         print(len(x), end=" ")
        ...         return self(x)
        >>> Net(4, 2).embed(torch.zeros(5, 4)).shape
        2 2 1 torch.Size([5, 2])
    """
    if fn is not None and not callable(fn):
        fn, size = None, fn
    kind = _ragged(ragged, pad, pack)
    batch = Batch(
        size=check_setting("batch_size", size, name="size"),
        over=names_of(over, "over"),
        on_oom=check_setting("on_oom", on_oom),
        min_size=check_setting("min_size", min_size),
        keep=check_setting("keep", keep),
        progress=progress,
        on_error=check_setting("on_error", on_error),
        cost=cost,
        budget=check_setting("budget", budget),
        ragged=kind,
        pad=pad or (Pad() if kind == "pad" else None),
        pack=pack or (Pack() if kind == "pack" else None),
        join=check_setting("join", join),
        item=item,
    )
    return _bare_or_called(fn, Plan(batch=batch))


def _ragged(ragged: Ragged | None, pad: Pad | None, pack: Pack | None) -> Ragged:
    given = {"pad": pad, "pack": pack}
    kinds = [kind for kind, setting in given.items() if setting is not None]
    kind = ragged or (kinds[0] if kinds else "equal")
    if any(other != kind for other in kinds):
        raise PlanError(
            f"ragged={kind!r} does not go with {' and '.join(kinds)}; keep one"
        )
    found: Ragged = check_setting("ragged", kind)
    return found


@overload
def returns(fn: F, /) -> F: ...
@overload
def returns(
    kind: OutputKind = "tensor",
    /,
    *,
    device: Literal["keep", "cpu", "input"] = "keep",
) -> Callable[[F], F]: ...
@overload
def returns(
    *,
    kind: OutputKind = "tensor",
    device: Literal["keep", "cpu", "input"] = "keep",
) -> Callable[[F], F]: ...
def returns(
    fn: Any = None,
    /,
    *,
    kind: OutputKind = "tensor",
    device: Literal["keep", "cpu", "input"] = "keep",
) -> Any:
    """
    Hand out results in one form, whatever their nesting.

    Args:
        fn: The function, if the decorator is written bare; or the kind.
        kind: ``"tensor"``; ``"numpy"`` arrays, in which bfloat16 becomes float32; or
            ``"mirror"``: arrays if the first input was an array, else tensors.
            Distributions stay distributions.
        device: Whether results stay where they are, come to the ``"cpu"``, or go to
            where the first ``"input"`` was. Arrays are always on the CPU.

    Raises:
        InputTypeError: At a call, if NumPy has no form for a result.

    Examples:
        >>> import torch
        >>> class Net(torch.nn.Linear):
        ...     @returns("numpy")
        ...     def embed(self, x):
        ...         return {"z": self(x)}
        >>> Net(4, 2).embed(torch.zeros(1, 4))["z"].shape
        (1, 2)
    """
    given, fn = (fn, None) if isinstance(fn, str) else (kind, fn)
    output = Output(
        check_setting("out", given, name="kind"),
        check_setting("out_device", device, name="device"),
    )
    return _bare_or_called(fn, Plan(output=output))


def _bare_or_called(fn: Any, plan: Plan) -> Any:
    return (lambda fn: decorate(fn, plan)) if fn is None else decorate(fn, plan)
