"""The door to benchmarks: what is asked for, checked, built and measured."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Final, get_args

import torch
from torch import nn

from unfussy._hardware import get_best_device
from unfussy._optimizing.candidate import LEVELS, Level
from unfussy._progress import Progress
from unfussy._types import DeviceLike
from unfussy.bench.families import BenchmarkFamily, find_family, load_class
from unfussy.bench.measuring import Settings, measure
from unfussy.bench.memory import MemoryMethod
from unfussy.bench.results import save_results as save
from unfussy.bench.workload import Workload, make_workload
from unfussy.errors import InputValueError

__all__ = ["run_comprehensive_benchmark"]

_FOLDER: Final = "results"


def run_comprehensive_benchmark(
    model_type: Any = "DeepGaitV2",
    num_sequences: int | None = None,
    save_results: bool | str | PathLike[str] = False,  # noqa: FBT001, FBT002 - the known name
    *,
    model: str | None = None,
    example: Any = None,
    level: Level = "balanced",
    rounds: int | None = None,
    seconds: float = 60.0,
    device: DeviceLike = "auto",
    checkpoint: str | PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    memory: MemoryMethod = "child process",
    progress: Progress = None,
) -> dict[str, Any]:
    """
    Measure a plain loop against batches and against what `optimize` finds.

    All variants do the same work with the same weights, in turn. One that fails, gains
    nothing, or gives other results is left out, with the reason.

    Args:
        model_type: A family such as ``"gait"``, ``"vposer"`` or ``"adaface"``; one of
            its models, such as ``"DeepGaitV2"``; a module; or a method of one.
        num_sequences: How many items a family is measured with; by default as many as
            suit it, 50 sequences of gait.
        save_results: True to write JSON and HTML to the folder ``results``, or another
            folder.
        model: The model of a family, by its name.
        example: The inputs of a module or a method, or a tuple of positional
            arguments: their first dimension, or the entries of a list, are items.
        level: As in `optimize`.
        rounds: How often each variant does all of the work; by default as often as
            fits in *seconds*, three times at least.
        seconds: About how long it may take, half of it to optimise. What is under way
            is finished.
        device: Where a family is measured; ``"auto"`` is `get_best_device`.
        checkpoint: The weights of a family; without, they are random.
        config: Settings of a family's model.
        seed: Of random weights and of inputs.
        memory: ``"child process"``: the peak of a process for each variant, above what
            it was before the model was loaded; ``"PeakMeter"``: that of this process
            above what is in use; ``"none"``.
        progress: As in `batched`.

    Returns:
        A dictionary of the form `unfussy.bench.SCHEMA`. ``improvements`` is about the
        optimised variant or, where that is left out, the batched one, with
        ``speedup_factor``, ``throughput_increase_percent``,
        ``memory_reduction_percent`` and ``numerical_consistency``.

    Raises:
        InputTypeError: If *model_type* is nothing that can be measured.
        InputValueError: If there is no such family, level, number or item.
        Exception: Whatever the plain loop raises.

    Examples:
        >>> results = run_comprehensive_benchmark(
        ...     torch.nn.Linear(8, 4), example=torch.ones(16, 8), rounds=3, seconds=1,
        ...     memory="none", level="conservative",
        ... )
        >>> results["benchmark"], results["variants"]["batched"]["deviation"] < 1e-5
        ('Linear()', True)
    """
    settings = Settings(level, rounds, seconds, memory, progress)
    _check(settings, num_sequences)
    if isinstance(model_type, str):
        family, name = find_family(model_type, model)
        kind = load_class(family.models[name])
        built, weights = _build(kind, checkpoint, config or {}, seed)
        place = get_best_device() if device == "auto" else torch.device(device)
        work = _of_family(family, built.to(place), num_sequences, seed)
        about = {"model_type": name, "items": family.items, "weights": weights}
    else:
        work = _of_method(model_type, example)
        about = {
            "model_type": type(work.module).__name__,
            "items": "items",
            "weights": "weights as given",
        }
    results = measure(work, settings, about)
    if save_results is not False:
        save(results, _FOLDER if save_results is True else save_results)
    return results


def _check(settings: Settings, count: int | None) -> None:
    whole = {"num_sequences": count, "rounds": settings.rounds}
    for name, value in whole.items():
        if value is not None and value < 1:
            raise InputValueError(f"{name} is a whole number from 1, got {value}")
    if not settings.seconds > 0:
        raise InputValueError(f"seconds are above 0, got {settings.seconds}")
    choices = {"level": LEVELS, "memory": get_args(MemoryMethod)}
    for name, known in choices.items():
        if (value := getattr(settings, name)) not in known:
            listed = ", ".join(map(repr, known))
            raise InputValueError(f"{name} is one of {listed}, got {value!r}")


def _build(
    kind: Any,
    checkpoint: str | PathLike[str] | None,
    config: Mapping[str, Any],
    seed: int,
) -> tuple[nn.Module, str]:
    try:
        if checkpoint is not None:
            loaded = kind.from_pretrained(checkpoint, **config)
            return loaded, f"weights of {checkpoint}"
        return kind.from_config(seed=seed, **config), f"random weights from seed {seed}"
    except TypeError as error:
        if not config:
            raise
        listed = ", ".join(map(repr, config))
        raise InputValueError(
            f"{kind.__name__} cannot be built with {listed}: {error}"
        ) from error


def _of_family(
    family: BenchmarkFamily, model: nn.Module, count: int | None, seed: int
) -> Workload:
    count = family.count if count is None else count
    inputs = family.draw(model, count, seed)
    return make_workload(getattr(model, family.method), (inputs,), family.standard)


def _of_method(given: Any, example: Any) -> Workload:
    if example is None:
        raise InputValueError(
            "run_comprehensive_benchmark() of a module or a method takes its inputs "
            "too: example=..."
        )
    return make_workload(given, example)
