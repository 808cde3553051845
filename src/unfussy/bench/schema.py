"""The form of the results of a benchmark, and whether some have it."""

from __future__ import annotations

from typing import Any, Final

from unfussy._optimizing.schema import check_schema

__all__ = ["FORMAT", "SCHEMA", "check_results"]

FORMAT: Final = 1
Schema = dict[str, Any]


def _record(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_WHOLE: Final[Schema] = {"type": "integer"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_ESTIMATE: Final = _or_null(_record(value=_NUMBER, low=_NUMBER, high=_NUMBER))
_VARIANT: Final = _record(
    left_out=_or_null(_TEXT),
    seconds=_ESTIMATE,
    seconds_per_item=_or_null(_NUMBER),
    items_per_second=_or_null(_NUMBER),
    speedup=_ESTIMATE,
    throughput_increase_percent=_or_null(_NUMBER),
    peak_memory=_or_null(_WHOLE),
    memory_reduction_percent=_or_null(_NUMBER),
    deviation=_or_null(_NUMBER),
    changes=_TEXTS,
)

SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Results of unfussy.bench",
    **_record(
        format={"const": FORMAT},
        benchmark=_TEXT,
        model_type=_TEXT,
        items=_TEXT,
        num_sequences=_WHOLE,
        weights=_TEXT,
        level={"enum": ["conservative", "balanced", "aggressive"]},
        device=_record(name=_TEXT, model=_TEXT),
        threads=_WHOLE,
        versions={"type": "object", "additionalProperties": _TEXT},
        rounds=_WHOLE,
        seconds=_NUMBER,
        memory_method={"enum": ["child process", "PeakMeter", "none"]},
        variants=_record(standard=_VARIANT, batched=_VARIANT, optimized=_VARIANT),
        improvements=_record(
            variant={"enum": ["standard", "batched", "optimized"]},
            speedup_factor=_NUMBER,
            throughput_increase_percent=_NUMBER,
            memory_reduction_percent=_or_null(_NUMBER),
            numerical_consistency=_NUMBER,
        ),
        notes=_TEXTS,
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
