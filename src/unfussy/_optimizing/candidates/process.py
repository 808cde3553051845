"""Settings of the whole process that make computing faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import nn

from unfussy._cores import cpu_info
from unfussy._cpu import allocator_obstacle, keeps_memory, tune_cpu
from unfussy._optimizing.candidate import Candidate, Level, Trial, Undo
from unfussy.errors import PlanError

__all__ = ["TF32", "Allocator", "CudnnBenchmark", "Threads"]

_TF32_SINCE: Final = (8, 0)
_PRODUCTS: Final[tuple[Any, ...]] = (
    torch.backends.cuda.matmul,
    getattr(torch.backends.mkldnn, "matmul", None),
)
_CONVOLUTIONS: Final = (nn.modules.conv._ConvNd,)  # noqa: SLF001 - of all kinds


class TF32(Candidate):
    """Products of float32 numbers rounded to ten bits first, on tensor cores."""

    name: ClassVar[str] = "tf32"
    summary: ClassVar[str] = "multiply float32 matrices on tensor cores"
    level: ClassVar[Level] = "aggressive"
    low_precision: ClassVar[bool] = True
    process_wide: ClassVar[bool] = True

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.device.type != "cuda":
            return "it is for CUDA devices"
        if torch.cuda.get_device_capability(trial.device) < _TF32_SINCE:
            return "the device has no TF32"
        return None

    def apply(self, trial: Trial, /) -> Undo:  # noqa: ARG002 - of the process
        """Allow it; in convolutions it is allowed from the start."""
        before = torch.get_float32_matmul_precision()
        kinds = [k for k in _PRODUCTS if hasattr(k, "fp32_precision")]
        own = [kind.fp32_precision for kind in kinds]
        torch.set_float32_matmul_precision("high")

        def undo() -> None:
            torch.set_float32_matmul_precision(before)
            for kind, precision in zip(kinds, own):
                kind.fp32_precision = precision  # which may be none

        return undo


class CudnnBenchmark(Candidate):
    """Algorithms for convolutions chosen by trying them, for each shape of input."""

    name: ClassVar[str] = "cudnn_benchmark"
    summary: ClassVar[str] = "choose algorithms for convolutions by trying them"
    process_wide: ClassVar[bool] = True

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.device.type != "cuda":
            return "it is for CUDA devices"
        if not any(isinstance(m, _CONVOLUTIONS) for m in trial.module.modules()):
            return "the module has no convolution"
        return None

    def apply(self, trial: Trial, /) -> Undo:  # noqa: ARG002 - of the process
        """Switch it on."""
        return _set(torch.backends.cudnn, benchmark=True)


@dataclass(frozen=True)
class Threads(Candidate):
    """
    Another number of threads for each operation.

    Attributes:
        n: How many.
    """

    name: ClassVar[str] = "threads"
    summary: ClassVar[str] = "use another number of threads"
    process_wide: ClassVar[bool] = True
    n: int = 1

    @classmethod
    def variants(cls, trial: Trial, /) -> Sequence[Threads]:  # noqa: ARG003
        """Return as many as there are usable cores, half of that, and one."""
        cores = cpu_info().usable_cores
        counts = dict.fromkeys((cores, max(1, cores // 2), 1))
        return [cls(n) for n in counts]

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.device.type != "cpu":
            return f"the module is on {trial.device.type}, not on the CPU"
        same = self.n == torch.get_num_threads()
        return "that is the number already" if same else None

    def apply(self, trial: Trial, /) -> Undo:  # noqa: ARG002 - of the process
        """Set the number."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.n)
        return lambda: torch.set_num_threads(before)


class Allocator(Candidate):
    """Memory that is freed kept for the next call, as `tune_cpu` does it."""

    name: ClassVar[str] = "allocator"
    summary: ClassVar[str] = "keep freed memory for the next call"
    process_wide: ClassVar[bool] = True

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried."""
        if trial.device.type != "cpu":
            return f"the module is on {trial.device.type}, not on the CPU"
        return "it is kept already" if keeps_memory() else allocator_obstacle()

    def apply(self, trial: Trial, /) -> Undo:  # noqa: ARG002 - of the process
        """Have memory kept."""
        tuning = tune_cpu()
        if not tuning.allocator:
            raise PlanError(f"memory cannot be kept: {tuning.reason}")
        return tuning.undo


def _set(owner: Any, **values: Any) -> Undo:
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)

    def undo() -> None:
        for name, value in before.items():
            setattr(owner, name, value)

    return undo
