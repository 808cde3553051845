"""
Decorators: each fills one entry of the plan of the function below it.

They are written bare or with arguments, in any order, on methods, ``forward``, class
and static methods (ours underneath), free functions whose first argument is a
module, generators and coroutines. What comes back is a plain function with the
signature, the documentation and the type of the one that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from unfussy._decorating import bare_or_called
from unfussy._modes import GradMode, Modes
from unfussy._moving import Float64, Move
from unfussy._outputs import Output, OutputKind
from unfussy._plan import Plan, check_setting, names_of
from unfussy._precision import OnNonFinite, Precision, PrecisionName, Weights

__all__ = ["auto_device", "autocast_policy", "inference", "returns"]

F = TypeVar("F", bound=Callable[..., Any])


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
    return bare_or_called(fn, Plan(move=move))


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
    return bare_or_called(fn, Plan(modes=modes))


@overload
def autocast_policy(fn: F, /) -> F: ...
@overload
def autocast_policy(
    *,
    precision: PrecisionName | str | Any = "auto",
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
    weights: Weights = "per_call",
    on_nonfinite: OnNonFinite = "ignore",
) -> Callable[[F], F]: ...
@overload
def autocast_policy(
    precision: PrecisionName | str,
    /,
    *,
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
    weights: Weights = "per_call",
    on_nonfinite: OnNonFinite = "ignore",
) -> Callable[[F], F]: ...
def autocast_policy(
    fn: Any = None,
    /,
    *,
    precision: Any = "auto",
    outputs: Literal["float32", "keep"] = "float32",
    keep_fp32: str | Iterable[str] = (),
    weights: Weights = "per_call",
    on_nonfinite: OnNonFinite = "ignore",
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
        weights: ``"cast_once"`` keeps a low-precision copy of the weights that
            autocast casts, where that saves more than it costs: the results are the
            same bits. A copy is renewed when its weight changes. Not while gradients
            are wanted, nor in compiled programs. On an accelerator an edit in place
            through ``.data`` is not seen: call `forget_cast_weights` after it.
        on_nonfinite: What becomes of results, computed in low precision, that hold
            infinities or NaN: ``"ignore"`` hands them out, ``"warn"`` says once for a
            method where they are, ``"retry"`` runs the call, or the chunk, again in
            float32. Inputs that hold some are no reason for that.

    Raises:
        PlanError: If there is no such precision, or no such submodule at a call; if
            a generator or coroutine is to be run again.

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
        check_setting("weights", weights),
        check_setting("on_nonfinite", on_nonfinite),
    )
    return bare_or_called(fn, Plan(precision=policy))


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
    return bare_or_called(fn, Plan(output=output))
