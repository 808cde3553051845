"""The form of the results of a benchmark, and whether some have it."""

from __future__ import annotations

from typing import Any, Final

from unfussy._schemas import (
    ESTIMATE,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    Schema,
    check_schema,
    or_null,
    record,
)

__all__ = ["FORMAT", "SCHEMA", "check_results"]

FORMAT: Final = 1
_VARIANT: Final = record(
    left_out=or_null(TEXT),
    seconds=ESTIMATE,
    seconds_per_item=or_null(NUMBER),
    items_per_second=or_null(NUMBER),
    speedup=ESTIMATE,
    throughput_increase_percent=or_null(NUMBER),
    peak_memory=or_null(WHOLE),
    memory_reduction_percent=or_null(NUMBER),
    deviation=or_null(NUMBER),
    changes=TEXTS,
)

SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Results of unfussy.bench",
    **record(
        format={"const": FORMAT},
        benchmark=TEXT,
        model_type=TEXT,
        items=TEXT,
        num_sequences=WHOLE,
        weights=TEXT,
        level={"enum": ["conservative", "balanced", "aggressive"]},
        device=record(name=TEXT, model=TEXT),
        threads=WHOLE,
        versions={"type": "object", "additionalProperties": TEXT},
        rounds=WHOLE,
        seconds=NUMBER,
        memory_method={"enum": ["child process", "PeakMeter", "none"]},
        variants=record(standard=_VARIANT, batched=_VARIANT, optimized=_VARIANT),
        improvements=record(
            variant={"enum": ["standard", "batched", "optimized"]},
            speedup_factor=NUMBER,
            throughput_increase_percent=NUMBER,
            memory_reduction_percent=or_null(NUMBER),
            numerical_consistency=NUMBER,
        ),
        notes=TEXTS,
    ),
}
"""The form of what `run_comprehensive_benchmark` returns, as JSON Schema."""


def check_results(results: Any, /) -> None:
    """
    Make sure that *results* follow `SCHEMA`.

    Raises:
        InputValueError: If they do not, saying where.
    """
    check_schema(results, SCHEMA, "results")
