"""The settings of batching: frozen records, and the plan's entry of ``@batched``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from unfussy._progress import Progress
from unfussy.errors import PlanError

__all__ = [
    "Batch",
    "CostOf",
    "GroupOf",
    "OnError",
    "Pack",
    "Pad",
    "Ragged",
    "Results",
    "Size",
]

Ragged: TypeAlias = Literal["equal", "pad", "pack", "list"]
Size: TypeAlias = int | Literal["auto", "all"]
OnError: TypeAlias = Literal["raise", "skip", "return"]
Results: TypeAlias = Literal["auto", "ragged", "fixed"]
CostOf: TypeAlias = Callable[..., float] | str
GroupOf: TypeAlias = Callable[..., Hashable] | str


@dataclass(frozen=True, slots=True)
class Pad:
    """
    How items of different lengths become one tensor by padding.

    The longest item of a chunk gives the length. What else differs between items,
    other axes or dtypes, keeps them in different chunks.

    Attributes:
        axis: The axis of one item along which lengths differ.
        value: What is put behind the end of an item.
        mask: Name of the parameter that gets which entries are real: a boolean tensor
            ``(B, L)``. Where every row is full and the parameter's default is None,
            it gets None, and models can take their faster way.
        lengths: Name of the parameter that gets the lengths: ``int64``, ``(B,)``.
        results: Which results are cut back to the length of their item, and returned
            as a list: ``"ragged"`` all whose axis ``1 + axis`` has the padded length,
            ``"fixed"`` none. ``"auto"`` finds out which axes follow the padding, and
            where one call cannot tell runs one item once more, padded by one.

    Examples:
        >>> import torch
        >>> from unfussy import batched
        >>> class Mean(torch.nn.Module):
        ...     @batched(pad=Pad(mask="mask"))
        ...     def mean(self, x, mask=None):
        ...         if mask is None:
        ...             return x.mean(1)
        ...         return (x * mask).sum(1) / mask.sum(1)
        >>> Mean().mean([torch.ones(2), torch.arange(5.0)])
        tensor([1., 2.])
    """

    axis: int = 0
    value: float = 0
    mask: str | None = None
    lengths: str | None = None
    results: Results = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.axis, int) or self.axis < 0:
            raise PlanError(
                f"Pad takes the axis of one item as a number from 0, got {self.axis!r}"
            )


@dataclass(frozen=True, slots=True)
class Pack:
    """
    How items of different lengths become one tensor by concatenation.

    Attributes:
        offsets: Name of the parameter that gets where items begin, and the end of the
            last one: ``int64``, ``(B + 1,)``.
        lengths: Name of the parameter that gets the lengths: ``int64``, ``(B,)``.
        results: Which results are cut into items, and returned as a list: ``"ragged"``
            all that are as long as the concatenation, ``"fixed"`` none. ``"auto"``
            finds out which follow the concatenation, as with `Pad`.

    Examples:
        >>> import torch
        >>> from unfussy import batched
        >>> class Sum(torch.nn.Module):
        ...     @batched(pack=Pack(lengths="lengths"))
        ...     def sum(self, x, lengths):
        ...         return torch.segment_reduce(x, "sum", lengths=lengths)
        >>> Sum().sum([torch.ones(2), torch.arange(5.0)])
        tensor([ 2., 10.])
    """

    offsets: str | None = None
    lengths: str | None = None
    results: Results = "auto"


@dataclass(frozen=True, slots=True)
class Batch:
    """
    How large inputs are cut: the plan's entry of ``@batched``.

    Attributes:
        size: Most items in a chunk; ``"auto"`` finds it out, ``"all"`` runs all at once
            while that fits.
        over: Names of the arguments that carry the batch; None infers them.
        on_oom: Whether a chunk that does not fit is split.
        min_size: The smallest chunk to try.
        keep: Where the results of chunks wait for the others.
        progress: Whether to show a bar, or what to call with the number of items
            that were just finished.
        on_error: What becomes of an item that raises.
        cost: Gives the length of one item, in any unit; or names the method that does.
        budget: Most length of a chunk, padding included.
        group: Gives what items of one chunk have in common; or names the method that
            does.
        ragged: How items of different shapes share a chunk.
        pad: How they are padded.
        pack: How they are concatenated.
        join: Whether results are joined, or returned as a list of items.
        item: What one item looks like: its number of dimensions, or its type.
    """

    size: Size = "auto"
    over: tuple[str, ...] | None = None
    on_oom: Literal["split", "raise"] = "split"
    min_size: int = 1
    keep: Literal["device", "cpu"] = "device"
    progress: Progress = None
    on_error: OnError = "raise"
    cost: CostOf | None = None
    budget: float | None = None
    group: GroupOf | None = None
    ragged: Ragged = "equal"
    pad: Pad | None = None
    pack: Pack | None = None
    join: Literal["auto", "items"] = "auto"
    item: int | type | tuple[type, ...] | None = None

    @property
    def makes_arrays(self) -> bool:
        """Whether lists become tensors whatever their parameter is declared as."""
        return self.ragged in {"pad", "pack"}

    def asking(self, subject: object, method: str) -> Batch:
        """
        Return this with methods of *subject* in place of their names.

        Raises:
            PlanError: If it has no such method.
        """
        named = {
            setting: name
            for setting in ("cost", "group")
            if isinstance(name := getattr(self, setting), str)
        }
        if not named:
            return self
        found: dict[str, Any] = {
            setting: _method_of(subject, name, f"{method}: {setting}={name!r}")
            for setting, name in named.items()
        }
        return replace(self, **found)

    def injected(self) -> Mapping[str, str]:
        """Return what is passed beside the batch, by the names of parameters."""
        source: Any = self.pad if self.ragged == "pad" else self.pack
        if source is None or not self.makes_arrays:
            return {}
        names = {kind: getattr(source, kind, None) for kind in _INJECTED}
        return {name: kind for kind, name in names.items() if name is not None}


def _method_of(subject: object, name: str, where: str) -> Callable[..., Any]:
    found = getattr(subject, name, None)
    if not callable(found):
        raise PlanError(
            f"{where} names a method of what is called, and {type(subject).__name__} "
            "has none"
        )
    return found  # type: ignore[no-any-return]


_INJECTED = ("mask", "lengths", "offsets")
