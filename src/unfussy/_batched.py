"""The decorator that cuts large inputs into chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from unfussy._batching import (
    Batch,
    CostOf,
    GroupOf,
    OnError,
    Pack,
    Pad,
    Ragged,
    Size,
)
from unfussy._decorating import bare_or_called
from unfussy._plan import Plan, check_setting, names_of
from unfussy._progress import Progress
from unfussy.errors import PlanError

__all__ = ["batched"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def batched(fn: F, /) -> F: ...
@overload
def batched(
    size: Size = "auto",
    /,
    *,
    over: str | Iterable[str] | None = None,
    cost: CostOf | None = None,
    budget: float | None = None,
    group: GroupOf | None = None,
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
    cost: CostOf | None = None,
    budget: float | None = None,
    group: GroupOf | None = None,
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
    cost: CostOf | None = None,
    budget: float | None = None,
    group: GroupOf | None = None,
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
            such as its tokens or pixels. Chunks are planned by it. A function, or the
            name of a method of what is called, which can look at its settings.
        budget: Most length of a chunk, padding included.
        group: Gives what the items of one chunk must have in common, such as the size
            of a canvas: only items of equal groups share a chunk. A function or the
            name of a method, as for *cost*. Both are asked about all items before any
            runs; where items may fail, one that they cannot look at runs alone.
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
        cost=check_setting("cost", cost),
        budget=check_setting("budget", budget),
        group=check_setting("group", group),
        ragged=kind,
        pad=pad or (Pad() if kind == "pad" else None),
        pack=pack or (Pack() if kind == "pack" else None),
        join=check_setting("join", join),
        item=item,
    )
    return bare_or_called(fn, Plan(batch=batch))


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
