"""Half the bits: mixed precision, weights cast once for it, or a module cast whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

import torch
from torch import Tensor, nn

from unfussy._cores import cpu_info
from unfussy._optimizing.candidate import Candidate, Level, Trial, Undo
from unfussy._optimizing.candidates.compiling import is_compiled
from unfussy._precision import Precision, autocast_for, to_float32
from unfussy._tree import tree_map

_Kinds: TypeAlias = tuple[type[nn.Module], ...]
_NORMS: Final[_Kinds] = (nn.modules.batchnorm._BatchNorm,)  # noqa: SLF001 - all kinds

__all__ = ["Autocast", "CastOnce", "LowPrecisionWeights", "set_options"]


def set_options(trial: Trial, **options: Any) -> Undo:
    """Put *options* into the settings of *trial*, and return what undoes that."""
    before = dict(trial.settings)
    trial.settings.update(options)

    def undo() -> None:
        trial.settings.clear()
        trial.settings.update(before)

    return undo


def native_low_precision(device: torch.device) -> torch.dtype | None:
    """Return the half precision in which *device* computes itself; None if in none."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu":
        return torch.bfloat16 if cpu_info().native_bf16 else None
    return torch.float16 if device.type in {"mps", "xpu"} else None


def _asked_for(trial: Trial) -> str:
    plan = trial.plan.precision or Precision("inherit")
    return str(trial.settings.get("precision", plan.precision))


def _in_force(trial: Trial) -> torch.dtype | None:
    """Return the precision to which calls of *trial* switch; None if to none."""
    name: Any = _asked_for(trial)
    return autocast_for(name, trial.device.type, trial.dtype) or None


def _obstacle(trial: Trial) -> str | None:
    if trial.dtype is not torch.float32:
        return f"the module is of {trial.dtype}, not of float32"
    if native_low_precision(trial.device) is None:
        return f"the {trial.device.type} does not compute in bfloat16 itself"
    if "precision" not in trial.settings and _asked_for(trial) == "fp32":
        return "the method asks for fp32"
    return None


class Autocast(Candidate):
    """Mixed precision, with results in float32."""

    name: ClassVar[str] = "autocast"
    summary: ClassVar[str] = "compute in mixed precision"
    level: ClassVar[Level] = "aggressive"
    low_precision: ClassVar[bool] = True

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if _in_force(trial) is not None:
            return "the method computes in mixed precision already"
        return _obstacle(trial)

    def apply(self, trial: Trial, /) -> Undo:
        """Switch mixed precision on."""
        low = native_low_precision(trial.device)
        name = "bf16" if low is torch.bfloat16 else "fp16"
        return set_options(trial, precision=name)


class CastOnce(Candidate):
    """Weights cast once for mixed precision and not at each call."""

    name: ClassVar[str] = "cast_once"
    summary: ClassVar[str] = "keep the weights that mixed precision casts"

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if is_compiled(trial):
            return "the method is compiled"
        if _in_force(trial) is None:
            return "the method does not compute in mixed precision"
        own = getattr(trial.plan.precision, "weights", "per_call")
        if trial.settings.get("weights", own) == "cast_once":
            return "weights are cast once already"
        return None

    def apply(self, trial: Trial, /) -> Undo:
        """Have weights cast once."""
        return set_options(trial, weights="cast_once")


@dataclass(frozen=True)
class LowPrecisionWeights(Candidate):
    """
    The whole module cast to half precision, with results in float32.

    Attributes:
        keep_norms: Whether batch norms stay in float32, in which their statistics are
            more exact. Not every module can have two precisions.
    """

    name: ClassVar[str] = "low_precision_weights"
    summary: ClassVar[str] = "cast the module to half precision"
    level: ClassVar[Level] = "aggressive"
    low_precision: ClassVar[bool] = True
    keep_norms: bool = True

    @classmethod
    def variants(cls, trial: Trial, /) -> tuple[LowPrecisionWeights, ...]:
        """Return it with batch norms kept, and without if there are any."""
        has_norms = any(isinstance(m, _NORMS) for m in trial.module.modules())
        return (cls(), cls(keep_norms=False)) if has_norms else (cls(),)

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        return "the method is compiled" if is_compiled(trial) else _obstacle(trial)

    def apply(self, trial: Trial, /) -> Undo:
        """Replace the module's tensors, and cast what goes in and what comes out."""
        low = native_low_precision(trial.device) or torch.bfloat16
        undo_options = set_options(trial, precision="fp32")
        kept = _NORMS if self.keep_norms else ()
        undo_weights = _replace(trial.module, low, kept)
        wrapper = _Casting(low)
        trial.wrappers.insert(0, wrapper)

        def undo() -> None:
            trial.wrappers.remove(wrapper)
            undo_weights()
            undo_options()

        return undo


class _Casting:
    """What is put around a function that computes in half precision."""

    def __init__(self, low: torch.dtype) -> None:
        self.low = low

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function* with float32 going in and coming out."""
        low = self.low

        def lowered(leaf: Any) -> Any:
            is_single = isinstance(leaf, Tensor) and leaf.dtype is torch.float32
            return leaf.to(low) if is_single else leaf

        @functools.wraps(function)
        def call(module: Any, /, *args: Any, **kwargs: Any) -> Any:
            args, kwargs = tree_map(lowered, args), tree_map(lowered, kwargs)
            return to_float32(function(module, *args, **kwargs))

        return call


def _replace(module: nn.Module, low: torch.dtype, kept: _Kinds) -> Undo:
    """Replace float32 tensors but those of *kept*; return what puts them back."""
    before = list(_slots(module, kept))
    lows: dict[int, Tensor] = {}  # tied weights stay tied
    for slots, name, tensor in before:
        if id(tensor) not in lows:
            lows[id(tensor)] = _lowered(tensor, low)
        slots[name] = lows[id(tensor)]

    def undo() -> None:
        for slots, name, tensor in before:
            slots[name] = tensor

    return undo


def _slots(
    module: nn.Module, kept: _Kinds
) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    for part in module.modules():
        if isinstance(part, kept):
            continue
        for slots in (part._parameters, part._buffers):  # noqa: SLF001
            for name, tensor in slots.items():
                if tensor is not None and tensor.dtype is torch.float32:
                    yield slots, name, tensor


def _lowered(tensor: Tensor, low: torch.dtype) -> Tensor:
    cast = tensor.detach().to(low)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(cast, requires_grad=tensor.requires_grad)
    return cast
