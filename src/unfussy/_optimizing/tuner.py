"""
The door to the tuner: what is asked for, and whether it can be.

What tunes is imported when it is needed, so that importing unfussy stays cheap.
"""

from __future__ import annotations

from typing import Any, Final

from unfussy._optimizing.candidate import LEVELS, Level
from unfussy._optimizing.registry import Choices, chosen
from unfussy._optimizing.report import OptimizationReport
from unfussy._progress import Progress
from unfussy.errors import InputValueError

__all__ = ["optimize"]

_TOLERANCES: Final[dict[Level, float]] = {
    "conservative": 1e-5,
    "balanced": 1e-5,
    "aggressive": 2e-2,
}


def optimize(
    model_or_method: Any,
    example: Any,
    /,
    *,
    level: Level = "balanced",
    budget: float = 60.0,
    tolerance: float | None = None,
    candidates: Choices | None = None,
    progress: Progress = None,
) -> OptimizationReport:
    """
    Find out what makes a method faster on this machine, with results that are equal.

    Candidates are tried on copies that share the module's parameters: each is timed in
    turn with the best so far, and its results are held against the plain method in
    float32, on the example and on another batch size. The module itself stays as it
    is, until ``report.apply()``.

    The plain method is the one that was given, in eval mode, without gradients, with
    the precision that it has. Its error is measured too where that is low, and up to
    twice that error is admitted.

    Args:
        model_or_method: A module; a method of one, decorated or not, easy or
            configured; a proxy of `unfuss`; a function whose first argument is a
            module.
        example: An input like those to come, or a tuple of positional arguments.
        level: ``"conservative"``: what is equal within rounding, and is not compiled.
            ``"balanced"``: compilation too; low precision where the method's own plan
            asks for it. ``"aggressive"``: everything.
        budget: About how many seconds it may take. What is under way is finished.
        tolerance: The largest relative error, as an L2 norm of each tensor of the
            results; by default 1e-5, and 2e-2 for the aggressive level.
        candidates: What to try instead of all that are known, whatever the level:
            names, classes of `Candidate`, or candidates.
        progress: As in `batched`.

    Raises:
        InputValueError: If *level*, *budget* or *tolerance* has no such value.
        PlanError: If *model_or_method* is none of these.
        Exception: Whatever the method raises of the example.

    Examples:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()).eval()
        >>> report = optimize(net, torch.zeros(2, 8), budget=1, candidates=())
        >>> report.kept, report.speedup
        ((), None)
    """
    from unfussy._optimizing.tuning import tune  # noqa: PLC0415 - many modules

    allowed = _check(level, budget, tolerance)
    kinds = None if candidates is None else chosen(candidates)
    return tune(
        model_or_method,
        example,
        kinds,
        level=level,
        budget=budget,
        tolerance=allowed,
        progress=progress,
    )


def _check(level: Level, budget: float, tolerance: float | None) -> float:
    if level not in LEVELS:
        listed = ", ".join(map(repr, LEVELS))
        raise InputValueError(f"optimize() takes a level of {listed}, got {level!r}")
    if not budget > 0:
        raise InputValueError(
            f"optimize() takes a budget of seconds above 0, got {budget}"
        )
    if tolerance is not None and not tolerance >= 0:
        raise InputValueError(
            f"optimize() takes a tolerance of at least 0, got {tolerance}"
        )
    return _TOLERANCES[level] if tolerance is None else tolerance
